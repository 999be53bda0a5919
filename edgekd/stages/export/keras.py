"""Makes model files of a Keras network or a SavedModel, and holds each against what TensorFlow computes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import child, inspection, registry
from edgekd.errors import ExportError, ModelError
from edgekd.frameworks import keras
from edgekd.progress import Progress
from edgekd.records import ExportSpec, Task
from edgekd.stages.export.bare import check_ends, check_flow, divide, refuse_corrections
from edgekd.stages.export.keras_converting import convert
from edgekd.stages.export.making import Exported, Job, is_static, prepared_source
from edgekd.stages.export.requirements import check_inputs, check_spec
from edgekd.store import fingerprint, sha256_of

# By format, the modules that must be importable and the distributions whose versions decide the bytes.
_NEEDS = {"tflite": ("tensorflow",), "onnx": ("tensorflow", "tf2onnx")}
_WRITES = {"tflite": "TensorFlow's converter", "onnx": "tf2onnx"}
_CHANNELS_FIRST = (0, 3, 1, 2)


def export_keras(
    path: Path,
    *,
    samples: NDArray[np.float32],
    folder: Path,
    spec: ExportSpec,
    signature: str = keras.SIGNATURE,
    task: Task = "single_label",
    progress: Progress | None = None,
) -> Exported:
    """Write a Keras file or a SavedModel in formats and precisions, each held against what TensorFlow gives.

    TFLite is written by TensorFlow's own converter, for batch 1; ONNX by tf2onnx, with images channels first, as all
    ONNX files of edgekd. No code of the file runs.

    Args:
        path: A .keras or .h5 file or a SavedModel folder, with one input and one output, both float32.
        samples: As the network takes them, (N, …): some calibrate, the others (all where there are none) check.
        folder: Made when missing; files are called as this one, with the precision.
        spec: Formats and precisions.
        signature: Which function of a SavedModel.
        task: What the network predicts.
        progress: Told of each finished file.

    Returns:
        The files' records, and how each agrees with the network.

    Raises:
        ModelError: Not a network, or of several inputs, with control flow, or with weights that are not finite.
        DataError: Samples of another shape, or from which no ranges can be learnt.
        ConfigError: A precision that a format does not have.
        ExportError: An operator that a format lacks, a converter that crashed, or a file that is not what it claims.
        MissingExtraError: TensorFlow or tf2onnx is not installed.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "notes.h5"
    >>> _ = file.write_bytes(b"no model")
    >>> try:
    ...     export_keras(file, samples=np.zeros((9, 4), "f"), folder=file.parent, spec=ExportSpec())
    ... except ModelError as error:
    ...     print(error.what)
    not an HDF5 file
    """
    if not path.exists():
        raise ModelError("no such file", where=str(path), allowed=keras.ALLOWED)
    keras.check_kind(path)
    refuse_corrections(spec)
    check_spec(spec, path.stem)
    registry.require_all({module for name in spec.formats for module in _NEEDS[name]})
    inputs = samples.astype(np.float32, copy=False)
    check_inputs("calibration", inputs)
    if inputs.ndim == len(_CHANNELS_FIRST):
        inputs = np.ascontiguousarray(inputs.transpose(_CHANNELS_FIRST))
    chosen, check = divide(inputs, spec)
    job = Job(
        name=path.stem,
        spec=spec,
        check=check,
        outputs=np.empty((0, 0), np.float32),
        task=task,
        parent_sha256=_sha256(path),
        converters=_NEEDS,
    )
    job.clear(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        plain: dict[str, Path] = {name: Path(partial) / f"float.{name}" for name in spec.formats}
        outputs = _convert(path, signature, check, plain)
        sources = [prepared_source(name, plain[name]) for name in spec.formats]
        return replace(job, outputs=outputs).run(sources, chosen if is_static(spec) else None, folder, progress)


def _sha256(path: Path) -> str:
    """Of the file, or of the hashes of the folder's files."""
    if path.is_file():
        return sha256_of(path)
    return fingerprint({str(each.relative_to(path)): sha256_of(each) for each in keras.files_of(path)})


def _convert(path: Path, signature: str, check: NDArray[np.float32], plain: Mapping[str, Path]) -> NDArray[np.float32]:
    where = str(path)
    try:
        outputs = child.call("the Keras converter", convert, path, signature, check, plain)
    except child.ChildCrashError as error:
        raise ExportError(error.what, where=where) from None
    for name, written in plain.items():
        try:
            anatomy = inspection.inspect(written)
        except ModelError as error:
            raise ExportError(f"{_WRITES[name]} wrote {error.what}", where=where) from None
        check_ends(anatomy, path)
        check_flow(anatomy, path, next_step="where it is a recurrent layer: give it unroll=True and save it again")
    return outputs
