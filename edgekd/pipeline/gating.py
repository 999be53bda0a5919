"""What `edgekd gate` takes: a run, a benchmark, or any folder of model files."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import store
from edgekd.config import read_table
from edgekd.errors import StoreError
from edgekd.pipeline.folder import OVERRIDES, RECIPE, is_run, open_run
from edgekd.records import BenchmarkSpec, GateSpec, Model, Release, Run
from edgekd.units import METRICS

if TYPE_CHECKING:
    from edgekd.pipeline.baseline import Against
    from edgekd.stages.report import Report

_log = logging.getLogger("edgekd")
# Kept of each test sample, beside the accuracy.
_SAMPLE_BY_SAMPLE = ("recall", "calibration_error")
_SUFFIXES = (".onnx", ".tflite")
# Line breaks, control characters, halves of characters: CI takes what is printed for commands where a line begins so.
_NOT_PRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def open_for_gate(folder: Path, *, without: Collection[str] = (), whole: bool = True) -> Run:
    """Read a run folder, or look for the model files of a folder that is none and take their sizes.

    Args:
        folder: What is below it counts, too; files are named from it.
        without: Metrics of a run that are left out.
        whole: Also read what only a report shows.

    Raises:
        StoreError: Neither a run folder nor one with model files, or damaged, or with names that can't be printed.
        ModelError: A model file that can't be read.
    """
    if is_run(folder):
        run = open_run(folder, without=without, whole=whole)
        check_names(name for each in run.measurements for name in (each.model, each.target))
        return run
    files = sorted(each for each in folder.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    if not files:
        raise StoreError(
            "neither a run folder nor one with .onnx or .tflite files",
            where=str(folder),
            next_step="give the folder that `edgekd run` or `bench` wrote, or one with model files",
        )
    check_names(map(str, files))
    from edgekd.stages.benchmark import benchmark, describe_file

    def describe(file: Path) -> Model:
        return replace(describe_file(file), name=file.relative_to(folder).as_posix())

    with ThreadPoolExecutor(2) as pool:  # threads wait for the children that parse
        models = tuple(pool.map(describe, files))
    return Run(
        name=folder.resolve().name,
        folder=folder,
        recipe="",
        models=models,
        measurements=benchmark(models, targets=()),
    )


def unused_metrics(spec: GateSpec, tolerances: Iterable[str] = ()) -> tuple[str, ...]:
    """Name metrics that nothing limits and of which there are very many numbers.

    >>> from edgekd.records import Budget
    >>> unused_metrics(GateSpec(budgets=(Budget(metric="recall", limit="90 %"),)))
    ('calibration_error',)
    """
    said = [*(budget.metric for budget in spec.budgets), *(spec.regressions or ()), *tolerances]
    # Of a metric itself, or of one that its measurements tell, too, such as `mcc`.
    wanted = {each.told_by or each.name for each in METRICS.values() if any(each.name in text for text in said)}
    return tuple(metric for metric in _SAMPLE_BY_SAMPLE if metric not in wanted)


def judge(
    run: Run, spec: GateSpec, *, strict: bool = True, against: Against | None = None, now: datetime | None = None
) -> Release:
    """Hold a run against budgets, and against the last release if there is one.

    Raises:
        ConfigError: Budgets or waivers that make no sense, or budgets on what the run does not have.
    """
    from edgekd.stages.gate import gate

    release = gate(
        run.measurements,
        budgets=(*spec.budgets, *(against.budgets if against else ())),
        waivers=spec.waivers,
        strict=strict,
        targets=_targets(run, against),
        baseline=against.measurements if against else (),
        comparisons=against.comparisons if against else (),
        now=now,
    )
    return against.explain(release) if against else release


def _targets(run: Run, against: Against | None) -> tuple[str, ...]:
    """Where files were to be measured, now or for the last release, whether they could be or not.

    Nothing where no recipe says it.
    """
    if not run.recipe:
        return ()
    place = run.folder / OVERRIDES
    overrides = store.read_json(place, list[str]) if place.is_file() else []
    benchmark = read_table(run.recipe, overrides, where=RECIPE).get("benchmark", {})
    named = benchmark.get("targets", BenchmarkSpec().targets)
    return (*(Path(name).stem for name in named), *(against.targets if against else ()))


def report_verdict(run: Run, release: Release, folder: Path) -> Report:
    """Write the report of a run, and of what became of it before, with a verdict that is not the run's own."""
    from edgekd.pipeline.history import with_past
    from edgekd.stages.report import report

    with_history, error = with_past(run)
    if error:
        _log.warning("this report has no history: %s", error)
    return report(replace(with_history, release=release), folder=folder)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that CI or a terminal would take for commands.

    Raises:
        StoreError: The first of them.
    """
    for name in names:
        if _NOT_PRINTED.search(name):
            raise StoreError(f"{name!r} is a name that can't be printed", next_step="rename it")
