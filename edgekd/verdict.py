"""The answer of the gate in words."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.errors import ConfigError
from edgekd.formulas import is_formula, metric_of
from edgekd.records import Budget, Check, Run, Status

_WORSE = ("fail", "unmeasured", "inconclusive")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer of the gate, in words.

    Attributes:
        why: One sentence.
        next_step: What would change it; empty on a pass.
    """

    status: Status
    why: str
    next_step: str


def verdict_of(run: Run) -> Verdict:
    """Say in one sentence why the release stands or falls, and what to do next.

    >>> from pathlib import Path
    >>> verdict_of(Run(name="empty", folder=Path(), recipe="")).status
    'unmeasured'
    """
    if run.release is None:
        if not run.models and not run.measurements:
            return Verdict(
                status="unmeasured",
                why="The run has not come as far as a model file, so nothing is proven.",
                next_step="run the same command again: it goes on where it was",
            )
        return Verdict(
            status="unmeasured",
            why="No budgets were checked, so nothing is proven.",
            next_step="write budgets into the recipe and run it again: what is done is not done twice",
        )
    checks = [check for check in run.release.checks if check.waiver is None]
    waived = len(run.release.checks) - len(checks)
    if not checks:
        return Verdict(
            status="unmeasured",
            why=f"{'Every check is waived' if waived else 'There are no budgets'}, so nothing is proven.",
            next_step="write at least one budget that is met, for instance a file_size",
        )
    total = f"{len(checks)} checks" if len(checks) > 1 else "one check"
    besides = f" {waived} more {'are' if waived > 1 else 'is'} waived." if waived else ""
    for status in _WORSE:
        found = [check for check in checks if check.status == status]
        if not found:
            continue
        first = found[0]
        count = f"{len(found)} of {total}" if len(checks) > 1 else "The only check"
        words = _MANY[status] if len(found) > 1 else _ONE[status]
        name = f", first {describe_budget(first.budget)}" if len(found) > 1 else f": {describe_budget(first.budget)}"
        why = f"{count} {words}{name}{_place(first)}.{besides}"
        if not run.release.is_refused:
            why += " That keeps no release back here (lenient)."
        return Verdict(status=first.status, why=why, next_step=_remedy(first) if status == "fail" else first.reason)
    return Verdict(status="pass", why=f"All budgets hold ({total}).{besides}", next_step="")


_ONE = {"fail": "failed", "unmeasured": "has no measurement", "inconclusive": "is not proven yet"}
_MANY = {"fail": "failed", "unmeasured": "have no measurement", "inconclusive": "are not proven yet"}


# What people who shipped such files do first, by the beginning of the metric's name; the first that fits counts.
_REMEDIES = (
    (
        ("latency", "sustained_latency", "window_latency", "energy"),
        "see which operators take the time: edgekd bench {file} --target {target} --profile",
    ),
    (
        ("load_time", "first_inference"),
        "see what lint says of it (edgekd lint {file} --target {target}), or make it smaller",
    ),
    (
        ("arena_size", "peak_memory", "sram_size", "dram_size"),
        "make the largest activations smaller: fewer channels or a stride in the first layers (edgekd inspect {file})",
    ),
    (("npu_share", "operators", "lint"), "change what lint names (edgekd lint {file} --target {target})"),
    (
        ("file_size", "compressed_size", "zstd_size", "flash_size"),
        "make it smaller: a narrower student, integer weights, or [export.mixed] with max_size",
    ),
    (("agreement",), "see which kernels differ on {target} (edgekd lint {file} --target {target})"),
)
_ROUNDED = (
    "see in the report in which layer {file} parts from the float32 file; then another [export.calibration], "
    "[export.mixed] with max_drop, or [distill.quantization]"
)
_LEARNT = "see in the report whether training had ended; then more epochs, a wider student, or another teacher"


def _remedy(check: Check) -> str:
    if check.budget.reference == "baseline" and "changed since" in check.reason:
        return f"undo or mend what changed: {check.reason.partition('changed since: ')[2]}"
    metric = check.budget.metric
    text = next((words for names, words in _REMEDIES if metric.startswith(names)), "")
    if not text:
        text = _LEARNT if "fp32" in check.model or not check.model.endswith((".onnx", ".tflite")) else _ROUNDED
    return text.format(file=check.model, target=check.target)


def _place(check: Check) -> str:
    return (f" for {check.model}" if check.model else "") + (f" on {check.target}" if check.target else "")


def metric_text(budget: Budget) -> str:
    """Name what a budget limits.

    >>> metric_text(Budget(metric="recall", part="cat", limit="90 %"))
    'recall of cat'
    """
    text = f"{budget.metric} {budget.statistic}" if budget.statistic else budget.metric
    return f"{text} of {budget.part}" if budget.part else text


def limit_text(budget: Budget) -> str:
    """Write a limit with its direction.

    >>> limit_text(Budget(metric="accuracy", limit="98 %"))
    '≥ 98 %'
    """
    return f"{'≤' if metric_of(budget).bound == 'at most' else '≥'} {budget.limit}"


def describe_budget(budget: Budget) -> str:
    """Write a budget as people say it.

    >>> describe_budget(Budget(metric="latency", statistic="p90", limit="10 ms"))
    'latency p90 at most 10 ms'
    >>> describe_budget(Budget(metric="latency.p99 / latency.p50", limit="2"))
    'latency.p99 / latency.p50 at most 2'
    """
    words = [metric_text(budget)]
    if not is_formula(budget.metric):
        words[0] = words[0].replace("_", " ")
    if budget.reference:
        words.append(f"against the {'last release' if budget.reference == 'baseline' else budget.reference}")
    try:
        words.append(metric_of(budget).bound)
    except ConfigError:  # of a report that another version wrote
        words.append("limit")
    return " ".join([*words, budget.limit])


def status_text(check: Check) -> str:
    """The status of a check, or that it is waived.

    >>> check = Check(budget=Budget(metric="latency", limit="1 s"), model="", target="", unit="s", limit=1.0,
    ...               observed=None, low=None, high=None, status="unmeasured", reason="")
    >>> status_text(check)
    'unmeasured'
    """
    return "waived" if check.waiver else check.status
