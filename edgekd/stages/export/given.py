"""Tells what kind of network a user has given, and makes model files of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ConfigError, ModelError
from edgekd.frameworks import keras
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Task
from edgekd.stages.export.bare import export_file
from edgekd.stages.export.keras import export_keras
from edgekd.stages.export.making import Exported
from edgekd.stages.export.transformers import export_transformers

FileFormat = Literal["onnx", "tflite"]
Kind = Literal["recipe", "file", "keras", "transformers"]

_FILES = (".onnx", ".tflite")
_CONFIG = "config.json"
# Owner and name, as the hub writes them.
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def kind_of(source: str) -> Kind:
    """Tell what a user means, by the name and by what lies there; what lies there comes first.

    Args:
        source: A path, the name of a recipe, or a name on the Hugging Face hub.

    Raises:
        ModelError: A folder that holds no network.

    >>> [kind_of(source) for source in ("digits", "a.toml", "b.onnx", "c.keras", "google/mobilenet_v2_1.0_224")]
    ['recipe', 'recipe', 'file', 'keras', 'transformers']
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_dir():
        if (path / keras.GRAPH_FILE).is_file():
            return "keras"
        if (path / _CONFIG).is_file():
            return "transformers"
        if source == path.name:  # a recipe's name comes before a folder that has nothing to do with it
            return "recipe"
        raise ModelError(
            "the folder holds no network",
            where=source,
            allowed=f"{keras.GRAPH_FILE} (SavedModel), or {_CONFIG} (transformers)",
        )
    if suffix in _FILES:
        return "file"
    if suffix in keras.SUFFIXES:
        return "keras"
    known = suffix == ".toml" or path.exists()
    return "transformers" if _HUB_NAME.fullmatch(source) and not known else "recipe"


def channels_first(source: str, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put images' channels first, as edgekd keeps them, where the network itself takes them last.

    Args:
        source: Anything but a recipe.
        samples: As the network takes them.

    >>> channels_first("a.tflite", np.zeros((5, 8, 6, 3), np.float32)).shape
    (5, 3, 8, 6)
    """
    takes_last = kind_of(source) == "keras" or Path(source).suffix.lower() == ".tflite"
    return np.ascontiguousarray(np.moveaxis(samples, -1, 1)) if takes_last and samples.ndim == 4 else samples


def export_given(
    source: str,
    *,
    samples: NDArray[np.float32],
    folder: Path,
    spec: ExportSpec,
    formats: tuple[FileFormat, ...] = (),
    task: Task | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a network of the user's own, whatever it was saved with, as model files.

    Args:
        source: Anything but a recipe.
        samples: As the network takes them.
        folder: Where to.
        spec: Precisions.
        formats: Which ones; empty for a file's own, else for both.
        task: What it predicts; `None` is what it says itself, else single labels.
        progress: Told of each finished file.

    Raises:
        EdgekdError: As of `export_file`, `export_keras` and `export_transformers`.
    """
    kind, path = kind_of(source), Path(source)
    if kind == "file":
        own = path.suffix.lower().removeprefix(".")
        if formats not in ((), (own,)):
            raise ConfigError(f"formats = {list(formats)}", where=source, allowed=f"{own}, its own")
        return export_file(
            path, samples=samples, folder=folder, spec=spec, task=task or "single_label", progress=progress
        )
    if formats:
        spec = replace(spec, formats=formats)
    if kind == "keras":
        return export_keras(
            path, samples=samples, folder=folder, spec=spec, task=task or "single_label", progress=progress
        )
    place = path if path.is_dir() else source
    return export_transformers(place, samples=samples, folder=folder, spec=spec, task=task, progress=progress)
