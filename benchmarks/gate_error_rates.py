"""How often the gate refuses a model that did not change, and passes one that got worse.

Noise is measured here: comparisons in turns of a file with its copy and with one that is some 5 % slower (the networks
of `comparison_power`), and latencies of one file in session after session. Gates are then simulated on it: five files,
each with budgets on accuracy and latency, their drop and increase against the last release, and size. Answers are
drawn: 10,000 samples, accuracy 90 %, and 95 % agreement where a file was trained again. The calibration plot holds the
error rate that intervals state against that which they have, each kind of check for itself. Some 50 minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import vl_convert
from comparison_power import network
from numpy.typing import NDArray
from results_file import Results

from edgekd.config import load_target
from edgekd.records import BenchmarkSpec, Budget, Comparison, Conditions, Measurement, Turns
from edgekd.stages.benchmark import benchmark, compare, describe_file
from edgekd.stages.benchmark.comparing import judge
from edgekd.stages.gate import gate
from edgekd.stats import (
    calibration_interval,
    mean_interval,
    mean_sequence,
    paired_drop_interval,
    proportion_interval,
    quantile_interval,
    series_quantile_interval,
)

WORK = Path("runs") / "benchmarks" / "gate-error-rates"
COMPARISONS, SESSIONS = 60, 30
# As people compare: until the ratio is clear of the threshold, or a minute is over, in which some 45 processes fit.
THRESHOLDS, MOST_PROCESSES = {"copy": 0.05, "slower": 0.02}, 45
GATES, BATCH, FILES = 2000, 50, 5
SAMPLES, ACCURACY, AGREEMENT, REGRESSION, SLOWDOWN = 10_000, 0.9, 0.95, 0.005, 0.05
RATES, TRIALS = (0.2, 0.1, 0.05, 0.02, 0.01), 2000
# 0.5 pt of accuracy and 5 % of latency are what a release may lose.
BUDGETS = (
    Budget(metric="accuracy", limit="88 %"),
    Budget(metric="accuracy_drop", reference="baseline", limit="0.5 pt"),
    Budget(metric="latency_increase", limit="5 %"),
    Budget(metric="latency", statistic="p90", limit="1 s"),
    Budget(metric="file_size_increase", limit="2 %"),
)
Answers = NDArray[np.float64]


def main() -> None:
    """Measure, simulate, and state what they show; goes on where it was cut off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four comparisons and sessions, 20 gates of each kind")
    quick = parser.parse_args().quick
    results = Results("gate_error_rates", quick=quick, keep=not quick, fresh=quick)
    measure(results, comparisons=2 if quick else COMPARISONS, sessions=2 if quick else SESSIONS)
    simulate(results, gates=20 if quick else GATES)
    calibrate(results, trials=50 if quick else TRIALS)
    claim(results)


# --- noise, measured -------------------------------------------------------------------------------


def measure(results: Results, *, comparisons: int, sessions: int) -> None:
    """Compare a file with its copy and with a slower one, and measure it in one session after another."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name, blocks in (("old", 50), ("copy", 50), ("slower", 53)):
        onnx.save(network(blocks), WORK / f"{name}.onnx")
    old, host = describe_file(WORK / "old.onnx"), load_target("host")
    for index in range(comparisons):
        for part in ("copy", "slower"):
            if index < len(_runs(results, part)):
                continue
            found = compare(old, describe_file(WORK / f"{part}.onnx"), target=host, threshold=THRESHOLDS[part])
            ratios = [turns.ratio for turns in found.processes]
            results.add(part=part, ratios=ratios, wall_s=found.wall_s, load=_load(found.conditions[0]))
            print(part, index, round(found.ratio, 4), flush=True)
    for index in range(len(_runs(results, "session")), sessions):
        spec = BenchmarkSpec(runs=2000, interval_width=0, time_limit_s=4)
        (taken,) = [each for each in benchmark([old], targets=[host], spec=spec) if each.metric == "latency"]
        results.add(part="session", ns=[round(1e9 * each) for each in taken.samples], load=_load(taken.conditions))
        print("session", index, statistics.median(taken.samples), flush=True)


def _load(conditions: Conditions) -> float | None:
    return conditions.load_before


def _runs(results: Results, part: str) -> list[dict[str, Any]]:
    return [run for run in results.runs if run["part"] == part]


# --- gates, simulated ------------------------------------------------------------------------------


def simulate(results: Results, *, gates: int) -> None:
    """Gate releases of which nothing changed, all files were trained again, or one got worse."""
    noise = _noise(results)
    sessions = [1e-9 * np.array(run["ns"]) for run in _runs(results, "session")]
    for kind in ("unchanged", "trained_again", "less_accurate", "slower"):
        done = sum(run["gates"] for run in _runs(results, "gates") if run["kind"] == kind)
        while done < gates:
            rng = np.random.default_rng([done, *kind.encode()])
            count = min(BATCH, gates - done)
            seen = Counter(_one_gate(kind, noise, sessions, rng) for _ in range(count))
            results.add(
                part="gates",
                kind=kind,
                gates=count,
                **{status: seen[status] for status in ("pass", "fail", "inconclusive")},
            )
            done += count
        print(kind, gates, flush=True)


def _noise(results: Results) -> list[NDArray[np.float64]]:
    """How processes of each comparison scatter around the ratio of a file with its copy, which is 1.

    The mean of the few of one comparison is not: to draw from these would be to compare files that differ by as much.
    """
    logs = [np.log(run["ratios"]) for run in _runs(results, "copy")]
    return [(each - each.mean()) * math.sqrt(each.size / (each.size - 1)) for each in logs]


def _one_gate(
    kind: str, noise: list[NDArray[np.float64]], sessions: list[NDArray[np.float64]], rng: np.random.Generator
) -> str:
    """The status of one release; where one file got worse, that of its check on what it lost."""
    measured: list[Measurement] = []
    baseline: list[Measurement] = []
    comparisons = []
    for number in range(FILES):
        worse = number == 0
        before = rng.uniform(size=SAMPLES) < ACCURACY
        if kind == "unchanged":
            after = before
        else:
            after = _trained_again(before, REGRESSION if worse and kind == "less_accurate" else 0.0, rng)
        slowdown = SLOWDOWN if worse and kind == "slower" else 0.0
        for sha, answers, into in (("old", before, baseline), ("new", after, measured)):
            into += [
                _measured(f"{sha}{number}", number, "accuracy", "1", answers.astype(float)),
                _measured(f"{sha}{number}", number, "latency", "s", sessions[rng.integers(len(sessions))][:1000]),
                _measured(f"{sha}{number}", number, "file_size", "B", np.array([50_000.0])),
            ]
        comparisons.append(_by_turns(number, _compared(noise[rng.integers(len(noise))], slowdown, rng)))
    release = gate(measured, budgets=BUDGETS, baseline=baseline, comparisons=comparisons)
    metric = {"less_accurate": "accuracy_drop", "slower": "latency_increase"}.get(kind)
    if metric is None:
        return release.status
    return next(check.status for check in release.checks if check.budget.metric == metric and check.model == "0")


def _compared(noise: NDArray[np.float64], slowdown: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Logarithms of ratios, one process after another until `edgekd compare` would have its verdict."""
    logs = rng.choice(noise, MOST_PROCESSES) + math.log1p(slowdown)
    for count in range(1, MOST_PROCESSES):
        verdict, _ = judge(np.exp(logs[:count]).tolist(), THRESHOLDS["copy"])
        if verdict in ("faster", "same", "slower"):
            return logs[:count]
    return logs


def _trained_again(before: NDArray[np.bool_], drop: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Answers of which a share differs, so that accuracy falls by `drop` on average."""
    lost, won = ((1 - AGREEMENT) + drop) / 2 / ACCURACY, ((1 - AGREEMENT) - drop) / 2 / (1 - ACCURACY)
    draws = rng.uniform(size=before.size)
    return np.where(before, draws >= lost, draws < won)


def _measured(sha: str, number: int, metric: str, unit: str, samples: NDArray[np.float64]) -> Measurement:
    return Measurement(
        model_sha256=sha, model=str(number), format="onnx", precision=f"p{number}", role="student", target="host",
        metric=metric, unit=unit, samples=tuple(samples.tolist()),
    )  # fmt: skip


def _by_turns(number: int, logs: NDArray[np.float64]) -> Comparison:
    turns = tuple(Turns(first=(1.0, 1.0), second=(ratio, ratio), first_loaded=True) for ratio in np.exp(logs).tolist())
    return Comparison(
        first="old", second="new", first_sha256=f"old{number}", second_sha256=f"new{number}", target="host",
        threshold=0.01, processes=turns, ratio=float(np.exp(logs.mean())), low=None, high=None, confidence=0.99,
        verdict="inconclusive", needed=None, conditions=(), basis="measured", wall_s=0.0, started_at="",
    )  # fmt: skip


# --- calibration -----------------------------------------------------------------------------------


def calibrate(results: Results, *, trials: int) -> None:
    """Count how often intervals of each kind leave the truth out, at several error rates that they state."""
    for kind, draw in _kinds(results).items():
        for rate in RATES:
            if any(run["kind"] == kind and run["stated"] == rate for run in _runs(results, "calibration")):
                continue
            rng = np.random.default_rng([int(1000 * rate), *kind.encode()])
            missed = sum(draw(rng, 1 - rate) for _ in range(trials))
            results.add(part="calibration", kind=kind, stated=rate, trials=trials, missed=missed)
        print("calibration", kind, flush=True)


def _kinds(results: Results) -> dict[str, Callable[[np.random.Generator, float], bool]]:
    sessions = [1e-9 * np.array(run["ns"]) for run in _runs(results, "session")]
    logs = _noise(results)
    truths = np.sort(np.random.default_rng(0).uniform(0.3, 1, 2000))

    def accuracy(rng: np.random.Generator, confidence: float) -> bool:
        found = proportion_interval(int(rng.binomial(2000, 0.9)), 2000, confidence)
        return not found.low <= 0.9 <= found.high

    def accuracy_drop(rng: np.random.Generator, confidence: float) -> bool:
        before = rng.uniform(size=SAMPLES) < ACCURACY
        after = _trained_again(before, REGRESSION, rng)
        found = paired_drop_interval(before.astype(float), after.astype(float), confidence)
        return not found.low <= REGRESSION <= found.high

    def runs_in_a_row(rng: np.random.Generator, confidence: float) -> bool:
        """The p90 of half a session against that of all of it: what the machine does comes in spells."""
        session = sessions[rng.integers(len(sessions))]
        start = rng.integers(session.size // 2)
        found = series_quantile_interval(session[start : start + session.size // 2], 0.9, confidence)
        return not found.low <= np.quantile(session, 0.9) <= found.high

    def runs_in_a_row_as_if_independent(rng: np.random.Generator, confidence: float) -> bool:
        session = sessions[rng.integers(len(sessions))]
        start = rng.integers(session.size // 2)
        found = quantile_interval(session[start : start + session.size // 2], 0.9, confidence)
        return not found.low <= np.quantile(session, 0.9) <= found.high

    def runs_at_random(rng: np.random.Generator, confidence: float) -> bool:
        session = sessions[rng.integers(len(sessions))]
        found = quantile_interval(rng.choice(session, 500), 0.9, confidence)
        return not found.low <= np.quantile(session, 0.9) <= found.high

    def turns(rng: np.random.Generator, confidence: float) -> bool:
        found = mean_sequence(rng.choice(logs[rng.integers(len(logs))], 12), confidence)
        return found is not None and not found.low <= 0 <= found.high

    def energy(rng: np.random.Generator, confidence: float) -> bool:
        found = mean_interval(rng.gamma(4.0, 1.0, 30), confidence)
        return not found.low <= 4.0 <= found.high

    def calibration_error(rng: np.random.Generator, confidence: float) -> bool:
        right = (rng.uniform(size=truths.size) < truths**1.3).astype(float)
        edges = np.linspace(0, truths.size, 16).astype(int)
        gaps = np.add.reduceat(truths**1.3 - truths, edges[:-1])
        found = calibration_interval(truths, right, confidence)
        return not found.low <= float(np.abs(gaps).sum()) / truths.size <= found.high

    return {
        each.__name__: each
        for each in (
            accuracy,
            accuracy_drop,
            runs_at_random,
            runs_in_a_row,
            runs_in_a_row_as_if_independent,
            turns,
            energy,
            calibration_error,
        )
    }


def draw_plot(runs: list[dict[str, Any]], path: Path) -> None:
    """Stated against true error rates, with what chance allows; on the line they are equal, above it is too often."""
    values = [
        {
            "check": run["kind"].replace("_", " "),
            "stated": run["stated"],
            "true": max(run["missed"], 0.5) / run["trials"],
        }
        for run in runs
    ]
    scale = {"type": "log", "domain": [1e-4, 0.4]}
    spec = {
        "width": 420,
        "height": 420,
        "layer": [
            {
                "data": {"values": [{"x": 1e-3, "y": 1e-3}, {"x": 0.4, "y": 0.4}]},
                "mark": {"type": "line", "color": "#888", "strokeDash": [4, 4]},
                "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "line", "point": True},
                "encoding": {
                    "x": {
                        "field": "stated",
                        "type": "quantitative",
                        "scale": {"type": "log", "domain": [5e-3, 0.4]},
                        "title": "stated error rate",
                    },
                    "y": {
                        "field": "true",
                        "type": "quantitative",
                        "scale": scale,
                        "title": "share of intervals that miss the truth",
                    },
                    "color": {"field": "check", "type": "nominal", "title": "check on"},
                    "shape": {"field": "check", "type": "nominal"},
                },
            },
        ],
    }
    path.write_text(vl_convert.vegalite_to_svg(json.dumps(spec)), encoding="utf-8")


# --- claims ----------------------------------------------------------------------------------------


def claim(results: Results) -> None:
    """State error rates of gates, of real comparisons, and of intervals."""
    totals = {kind: _total(results, kind) for kind in ("unchanged", "trained_again", "less_accurate", "slower")}
    for kind, name, wrong, bound in (
        ("unchanged", "false_refusals", ("fail", "inconclusive"), 0.01),
        ("trained_again", "false_fails_trained_again", ("fail",), 0.01),
        ("less_accurate", "missed_accuracy", ("pass",), 0.05),
        ("slower", "missed_latency", ("pass",), 0.05),
    ):
        _rate(results, name, sum(totals[kind][each] for each in wrong), totals[kind]["gates"], "simulated gates", bound)
    again = totals["trained_again"]
    results.claim(
        "inconclusive_trained_again", again["inconclusive"] / again["gates"], "of gates; more samples would decide"
    )
    copies, slower = (list(_real(results, part)) for part in THRESHOLDS)
    _rate(results, "real_copies_refused", len(copies) - copies.count("pass"), len(copies), "real comparisons", 0.01)
    _rate(results, "real_slower_passed", slower.count("pass"), len(slower), "real comparisons", 0.05)
    for part in THRESHOLDS:
        seconds = sorted(run["wall_s"] for run in _runs(results, part))
        middle = statistics.median(seconds)
        results.claim(f"seconds_{part}", middle, "s a comparison, median", low=seconds[0], high=seconds[-1])
    medians = [statistics.median(run["ns"]) for run in _runs(results, "session")]
    apart = max(medians) / min(medians) - 1
    results.claim("session_to_session", 100 * apart, f"% between medians of one file in {len(medians)} sessions")
    runs = _runs(results, "calibration")
    for kind in dict.fromkeys(run["kind"] for run in runs):
        at = next(run for run in runs if run["kind"] == kind and run["stated"] == 0.05)
        most = None if kind.startswith("runs_in_a_row") else 0.06  # 5 %, and what 2,000 trials add by chance
        _rate(results, f"missed_at_5_percent_{kind}", at["missed"], at["trials"], "intervals", most)
    draw_plot(runs, results.path.with_suffix(".svg"))


def _total(results: Results, kind: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for run in _runs(results, "gates"):
        if run["kind"] == kind:
            total.update({key: run[key] for key in ("gates", "pass", "fail", "inconclusive")})
    return total


def _real(results: Results, part: str) -> Iterator[str]:
    """What the gate says of each real comparison."""
    budget = Budget(metric="latency_increase", limit=f"{100 * THRESHOLDS[part]:g} %")
    for run in _runs(results, part):
        old, new = (_measured(f"{sha}0", 0, "latency", "s", np.array([1e-3])) for sha in ("old", "new"))
        turns = _by_turns(0, np.log(run["ratios"]))
        (check,) = gate([new], budgets=[budget], baseline=[replace(old)], comparisons=[turns]).checks
        yield check.status


def _rate(results: Results, name: str, count: int, of: int, unit: str, bound: float | None) -> None:
    found, share = proportion_interval(count, of), count / of
    bounded = "" if bound is None else f"at most {bound:g}"
    holds = None if bound is None else share <= bound
    results.claim(name, share, f"of {of} {unit}", bound=bounded, holds=holds, low=found.low, high=found.high)


if __name__ == "__main__":
    main()
