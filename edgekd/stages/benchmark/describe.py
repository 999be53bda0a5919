"""The record of a model file that somebody else made."""

from __future__ import annotations

from pathlib import Path

from edgekd.errors import ModelError
from edgekd.inspection import Anatomy, inspect
from edgekd.records import Model
from edgekd.store import sha256_of


def describe_file(path: Path) -> Model:
    """Make the record of a model file that edgekd did not export.

    Args:
        path: An ONNX or TFLite file; its precision is guessed from the dtypes in it.

    Raises:
        ModelError: Not such a file, or one with data in other files: a hash of it would prove nothing of them.

    >>> describe_file(Path("nowhere.onnx"))
    Traceback (most recent call last):
    edgekd.errors.ModelError: nowhere.onnx: no such file
    """
    anatomy = inspect(path)
    if anatomy.external is not None:
        raise ModelError(
            f"part of its data is in another file, '{anatomy.external}'",
            where=str(path),
            allowed="files that hold all their data",
            next_step=f"save it as one file: onnx.save(onnx.load('{path}'), other_path)",
        )
    return Model(
        name=path.name,
        path=path,
        format=anatomy.format,
        precision=_guess_precision(anatomy),
        role="student",
        sha256=sha256_of(path),
        size_bytes=anatomy.size_bytes,
        inputs=anatomy.inputs,
        outputs=anatomy.outputs,
        parameters=anatomy.parameters,
        operators=anatomy.operators,
        signatures=anatomy.ways,
    )


def _guess_precision(anatomy: Anatomy) -> str:
    """The dtype of most weights, by bytes; static where integers also flow between operators."""
    stored: dict[str, int] = {}
    for layer in anatomy.layers:
        if layer.weight_dtype:
            stored[layer.weight_dtype] = stored.get(layer.weight_dtype, 0) + layer.size_bytes
    weights = max(stored, key=lambda dtype: stored[dtype], default="float32")
    bits = weights.removeprefix("u").removeprefix("int")
    if not bits.isdigit():
        return "fp16" if weights == "float16" else "fp32"
    ends = {tensor.dtype for tensor in (*anatomy.inputs, *anatomy.outputs)}
    if anatomy.count("QuantizeLinear") or anatomy.count("QUANTIZE") or ends & {"int8", "uint8", "int16"}:
        return f"static_wi{bits}_ai{'16' if 'int16' in ends else '8'}"
    return f"{'dynamic' if bits == '8' else 'weight_only'}_wi{bits}_afp32"
