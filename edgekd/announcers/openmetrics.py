"""OpenMetrics, which GitLab shows in merge requests as a metrics report: what was observed, in base units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edgekd.announcers._text import ORDER
from edgekd.formulas import is_formula, metric_of
from edgekd.records import Check, Release
from edgekd.text import printable
from edgekd.verdict import status_text

# Base units as Prometheus calls them; points and shares are ratios.
_UNITS = {"B": "bytes", "s": "seconds", "1": "ratio", "J": "joules", "W": "watts"}
_Labels = tuple[tuple[str, str], ...]


def write(*, release: Release) -> str:
    """Write the verdict, how many checks have each status, and what each check observed.

    Args:
        release: Of the gate.

    Returns:
        OpenMetrics text.
    """
    counts = Counter(status_text(check) for check in release.checks)
    lines = [
        *_family("edgekd_release", "", "1 if nothing keeps it back", {(): float(not release.is_refused)}),
        *_family(
            "edgekd_checks",
            "",
            "checks by status",
            {(("status", each),): float(counts[each]) for each in (*ORDER, "waived")},
        ),
    ]
    for (name, unit, summary), samples in sorted(_observed(release).items()):
        lines += _family(name, unit, summary, samples)
    return "\n".join([*lines, "# EOF", ""])


def _observed(release: Release) -> dict[tuple[str, str, str], dict[_Labels, float]]:
    """What checks observed, by family; of several with the same labels, such as of two teachers, the worst."""
    found: dict[tuple[str, str, str], dict[_Labels, float]] = {}
    for check in release.checks:
        if check.observed is None:
            continue
        unit, metric = _UNITS.get(check.unit, ""), metric_of(check.budget)
        known = ("formula", "a budget on several metrics") if is_formula(metric.name) else (metric.name, metric.summary)
        name = "_".join(part for part in ("edgekd", known[0], unit) if part)
        samples = found.setdefault((name, unit, known[1]), {})
        labels = _labels(check)
        worse = max if metric.bound == "at most" else min
        samples[labels] = worse(samples.get(labels, check.observed), check.observed)
    return found


def _labels(check: Check) -> _Labels:
    budget, is_drop = check.budget, metric_of(check.budget).source is not None
    known = {
        "formula": budget.metric if is_formula(budget.metric) else None,
        "model": check.model,
        "target": check.target,
        "statistic": budget.statistic,
        "part": budget.part,
        "reference": (budget.reference or metric_of(budget).references[0]) if is_drop else None,
        # Points and percent of the reference are both ratios, and not the same.
        "of": "reference" if is_drop and budget.limit.rstrip().endswith("%") else None,
    }
    return tuple((key, value) for key, value in known.items() if value)


def _family(name: str, unit: str, summary: str, samples: dict[_Labels, float]) -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {_escape(summary)}"
    for labels, value in samples.items():
        said = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
        yield f"{name}{{{said}}} {_number(value)}" if said else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _escape(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
