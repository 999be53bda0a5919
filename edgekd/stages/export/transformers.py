"""Makes model files of a classifier or a causal language model of transformers, and holds each against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import DataError, ModelError
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Task
from edgekd.stages.export.bare import divide
from edgekd.stages.export.causal import export_causal
from edgekd.stages.export.making import Exported
from edgekd.stages.export.requirements import check_inputs, check_spec, check_tokens
from edgekd.store import sha256_of

WEIGHTS_FILE, PREPROCESSING_FILE = "model.safetensors", "preprocessor_config.json"
_TASKS: dict[str, Task] = {"multi_label_classification": "multi_label", "regression": "regression"}
# By how much of their range samples may go past what the preprocessing gives: interpolation overshoots a little.
_SPAN = 0.1


def export_transformers(
    place: str | Path,
    *,
    samples: NDArray[np.float32],
    folder: Path,
    spec: ExportSpec,
    task: Task | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a classifier of images, sounds or text, or a causal language model, each file held against transformers.

    It goes the way of a student: into ONNX through optimum, or through torch where optimum does not know the
    architecture, into TFLite through torch. Of text, the files take tokens: int64 in ONNX, int32 in TFLite.

    Args:
        place: A folder that `save_pretrained` wrote, as a path; a name on the hub, as a text.
        samples: As the network takes them: images (N, C, H, W), sounds (N, T) or (N, T, F), token numbers (N, T). Some
            calibrate, the others (all where there are none) check.
        folder: Made when missing; files are called as the folder or the last part of the name, with the precision.
        spec: Formats and precisions.
        task: What it predicts; `None` is what its configuration says of a classifier. With `next_token` it is a causal
            language model (`edgekd.stages.export.causal`).
        progress: Told of each finished file.

    Returns:
        The files' records, and how each agrees with the network.

    Raises:
        ModelError: Not a classifier, damaged, or with weights that are not finite.
        DataError: Samples of another shape or range, or from which no ranges can be learnt.
        ConfigError: A precision that a format does not have.
        ExportError: A file can't be made, or is not what it claims.
        MissingExtraError: transformers or optimum is not installed.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> try:
    ...     export_transformers(folder, samples=np.zeros((9, 4), "f"), folder=folder, spec=ExportSpec())
    ... except ModelError as error:
    ...     print(error.what)
    the folder holds no config.json
    """
    from edgekd.frameworks import optimum
    from edgekd.frameworks.language_models import open_language_model
    from edgekd.frameworks.transformers import find_beside, open_classifier, try_out
    from edgekd.stages.export import export

    where, name = str(place), Path(place).resolve().name if isinstance(place, Path) else place.rpartition("/")[2]
    check_spec(spec, name)
    if task == "next_token":
        language_model = open_language_model(place, task)
        inputs = samples.astype(np.float32, copy=False)
        check_tokens("calibration", inputs)
        _check_vocabulary(int(language_model.config.vocab_size), inputs)
        weights = find_beside(place, WEIGHTS_FILE)
        parent = sha256_of(weights) if weights else None
        return export_causal(
            language_model, folder=folder, spec=spec, check=inputs, parent_sha256=parent, name=name, progress=progress
        )
    classifier = open_classifier(place)
    inputs = samples.astype(np.float32, copy=False)
    check_inputs("calibration", inputs)
    if classifier.kind == "text":
        check_tokens("calibration", inputs)
        _check_vocabulary(int(classifier.config.vocab_size), inputs)
    try_out(classifier, inputs.shape[1:], where)
    if classifier.kind == "image" and (beside := find_beside(place, PREPROCESSING_FILE)):
        _check_range(inputs, beside)
    chosen, check = divide(inputs, spec, tokens=classifier.kind == "text")
    by_optimum = "onnx" in spec.formats and optimum.knows(classifier)
    weights = find_beside(place, WEIGHTS_FILE)
    return export(
        classifier,
        folder=folder,
        spec=spec,
        calibration=inputs[chosen.numbers],
        check=check,
        parent_sha256=sha256_of(weights) if weights else None,
        task=task or _TASKS.get(str(classifier.config.problem_type), "single_label"),
        name=name,
        converters={**_exporters(spec), "onnx": optimum.TOOLS} if by_optimum else None,
        progress=progress,
    )


def _exporters(spec: ExportSpec) -> dict[str, tuple[str, ...]]:
    return {name: registry.load("exporters", name).TOOLS for name in spec.formats}


def _check_vocabulary(known: int, tokens: NDArray[np.float32]) -> None:
    if tokens.max() >= known:
        raise DataError(
            f"token {tokens.max():g}",
            where="calibration",
            allowed=f"0 to {known - 1}",
            next_step="take the tokenizer that lies beside the network",
        )


def _check_range(inputs: NDArray[np.float32], preprocessing: Path) -> None:
    """Refuse images that are not as the preprocessing leaves them: ranges learnt from bytes fit no network."""
    limits = _limits(preprocessing)
    if limits is None:
        return
    low, high, formula = limits
    slack = _SPAN * (high - low)
    if inputs.min() < low - slack or inputs.max() > high + slack:
        raise DataError(
            f"samples go from {inputs.min():.3g} to {inputs.max():.3g}",
            where="calibration",
            allowed=f"{low:.3g} to {high:.3g}, as {preprocessing.name} says",
            next_step=f"give {formula}, as the network takes them",
        )


def _limits(preprocessing: Path) -> tuple[float, float, str] | None:
    """Smallest and largest value after an image processor, and what it computes; `None` where it does not say."""
    try:
        settings: dict[str, Any] = json.loads(preprocessing.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("not a table")  # noqa: TRY004, TRY301 - as every other damage
        scale = float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
        means, deviations = np.zeros(1), np.ones(1)
        if settings.get("do_normalize"):
            means = np.atleast_1d(np.asarray(settings["image_mean"], np.float64))
            deviations = np.atleast_1d(np.asarray(settings["image_std"], np.float64))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"not the settings of an image processor: {error}", where=str(preprocessing)) from None
    if not (deviations > 0).all():
        raise ModelError(f"image_std = {deviations.tolist()}", where=str(preprocessing), allowed="above 0")
    low, high = float((-means / deviations).min()), float(((255 * scale - means) / deviations).max())
    return low, high, f"(value * {scale:.6g} - {np.round(means, 4).tolist()}) / {np.round(deviations, 4).tolist()}"
