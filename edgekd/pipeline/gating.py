"""What `edgekd gate` takes: a run, a benchmark, or any folder of model files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from edgekd.errors import StoreError
from edgekd.pipeline.folder import RECIPE, open_run
from edgekd.records import Model, Run

_SUFFIXES = (".onnx", ".tflite")


def open_for_gate(folder: Path) -> Run:
    """Read a run folder, or look for the model files of a folder that is none and take their sizes.

    Args:
        folder: What is below it counts, too; files are named from it.

    Raises:
        StoreError: Neither a run folder nor one with model files, or damaged.
        ModelError: A model file that can't be read.
    """
    if (folder / RECIPE).is_file() or (folder / "measurements.json").is_file():
        return open_run(folder)
    files = sorted(each for each in folder.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    if not files:
        raise StoreError(
            "neither a run folder nor one with .onnx or .tflite files",
            where=str(folder),
            next_step="give the folder that `edgekd run` or `bench` wrote, or one with model files",
        )
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
