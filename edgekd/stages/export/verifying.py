"""Holds a model file against the torch student and against what its name claims."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.inspection import Anatomy, Layer
from edgekd.records import Head, IoType, LayerParity, Precision, Task, TensorSpec, decode_precision
from edgekd.stages.export.parting import first_past

_log = logging.getLogger("edgekd")
_WEIGHTED = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger"),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"),
}


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a file may be from the student; all are shares, the first two of the logits' standard deviation.

    Attributes:
        error: Largest error of a logit; `None` is any.
        tie: Where the two best logits of the student are as close as this, either is right.
        agreement: Smallest share of samples with the same prediction.
        rms_error: Where values are predicted, largest root-mean-square error.
    """

    error: float | None
    tie: float
    agreement: float
    rms_error: float


# float32 in another order of additions: 1e-7 of each sum, grown through some hundred layers.
_FLOAT32 = Tolerance(error=1e-3, tie=2e-3, agreement=1.0, rms_error=1e-3)
# float16 has 11 bits: 5e-4 of each weight. A trained ResNet-20 comes to 2e-3 and an untrained MobileNetV1, whose
# logits hardly differ, to 5e-2: above that it is not rounding.
_FLOAT16 = Tolerance(error=1e-1, tie=4e-2, agreement=0.99, rms_error=2e-2)
# int8 costs good networks a point of accuracy, and some more predictions that change without a loss. Below this a
# conversion is broken: ranges from the wrong data or an operator that does not survive. The gate decides the rest.
# Values of good int8 networks have 20 to 40 dB of signal over noise; at 6 dB the noise is half of the signal.
_INT8 = Tolerance(error=None, tie=0.0, agreement=0.9, rms_error=0.5)
# A sample's values agree where their error is a tenth of the values' own spread: 20 dB.
_AGREEING_ERROR = 0.1
# Of 4-bit weights without any correction some networks keep little; half of the predictions is more than chance.
_INT4 = Tolerance(error=None, tie=0.0, agreement=0.5, rms_error=0.8)
# Operators whose weights may need 8 bits where others have 4: depthwise and transposed convolutions.
_WITHOUT_INT4 = {"DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "Conv", "ConvTranspose"}
_OF_VALUES = ("regression", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How a file's outputs differ from the student's.

    Attributes:
        agrees: For each sample whether both predict the same, shape (N,).
        max_error: Largest absolute difference of an output.
        mean_error: Mean absolute difference of the outputs.
        deviation: Standard deviation of the student's outputs.
        margins: How sure the student is of what it predicts, shape (N,): best less second-best logit; of several
            labels the largest distance from 0 of those that differ; 0 where values are predicted.
        rms_error: Root-mean-square error as a share of the deviation; `None` where labels are predicted.
    """

    agrees: NDArray[np.bool_]
    max_error: float
    mean_error: float
    deviation: float
    margins: NDArray[np.float64]
    rms_error: float | None = None


def compare(
    student: NDArray[np.float32], file: NDArray[np.float32], task: Task = "single_label", *, head: Head = "logits"
) -> Parity:
    """Compare outputs of the same samples.

    Two predictions agree when they are the same class, or the same set of labels. Values agree when the
    signal-to-noise ratio of a sample is 20 dB or more: -10 log10 of the mean of (y - y')² / s², with s the standard
    deviation over samples, of each output in a regression and of all together in a reconstruction. Taken from y²
    itself the ratio would depend on where a scale has its zero.

    Args:
        student: From torch, shape (N, outputs).
        file: From the file's runtime, shape (N, outputs).
        task: What they predict.
        head: Files that give a `class`, (N,), are held against the student's likeliest one; errors of numbers are 0.

    Raises:
        ExportError: Another shape.

    >>> compare(np.array([[0.0, 1.0]], "f"), np.array([[0.5, 1.0]], "f")).max_error
    0.5
    >>> compare(np.array([[0.0], [8.0]], "f"), np.array([[0.3], [7.0]], "f"), "regression").agrees.tolist()
    [True, False]
    """
    expected = student.astype(np.float64)
    if head == "class":
        return Parity(
            agrees=file.reshape(-1) == student.argmax(1),
            max_error=0.0,
            mean_error=0.0,
            deviation=float(expected.std()),
            margins=_margins(expected),
        )
    if student.shape != file.shape:
        raise ExportError(f"the file gives outputs of shape {file.shape}", allowed=f"{student.shape}, as torch does")
    errors = np.abs(file.astype(np.float64) - expected)
    rms_error = None
    if task in _OF_VALUES:
        noise = ((errors / spread_of(expected, task)) ** 2).mean(axis=1)
        agrees, margins = noise <= _AGREEING_ERROR**2, np.zeros(len(expected))
        rms_error = float(np.sqrt(noise.mean()))
    elif task == "multi_label":
        differ = (student > 0) != (file > 0)
        agrees, margins = ~differ.any(axis=1), np.where(differ, np.abs(expected), 0.0).max(axis=1)
    else:
        agrees, margins = student.argmax(1) == file.argmax(1), _margins(expected)
    return Parity(
        agrees=agrees,
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        deviation=float(expected.std()),
        margins=margins,
        rms_error=rms_error,
    )


def _margins(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(logits, axis=1)
    return ordered[:, -1] - ordered[:, -2] if logits.shape[1] > 1 else np.zeros(len(logits))


def spread_of(expected: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Give what errors of values are relative to, (1, outputs): their standard deviations over samples."""
    deviations = expected.std(axis=0, keepdims=True)
    together = np.sqrt((deviations**2).mean()) or 1.0
    if task == "reconstruction":
        return np.full_like(deviations, together)
    # An output that is the same for all samples has no spread of its own.
    return np.where(deviations > 0, deviations, together)


def verify_outputs(name: str, precision: str, parity: Parity, layers: Sequence[LayerParity] = ()) -> None:
    """Refuse a file that does not predict what the student predicts.

    Args:
        name: Of the file.
        precision: Decides how much may differ.
        parity: From `compare`.
        layers: Of the file: the first that is past what its precision explains is named.

    Raises:
        ExportError: Names the file, the check, what was observed and what is allowed.

    >>> parity = compare(np.array([[0.0, 1.0]], "f"), np.array([[0.5, 1.0]], "f"))
    >>> verify_outputs("student.fp32.onnx", "fp32", parity)
    Traceback (most recent call last):
        ...
    edgekd.errors.ExportError: student.fp32.onnx: largest error of a logit is 1 of the logits' deviation; ...
    """
    decoded = decode_precision(precision)
    tolerance = {"float32": _FLOAT32, "float16": _FLOAT16, "int4": _INT4}.get(decoded.weights, _INT8)
    # Logits without any deviation leave nothing to be relative to.
    deviation = parity.deviation or 1.0
    if not np.isfinite(parity.max_error):
        step = "look for weights that are not finite, and for samples of another range"
        raise ExportError("outputs that are not finite", where=name, allowed="finite outputs", next_step=step)
    output = "logit" if parity.rms_error is None else "value"
    if tolerance.error is not None and parity.max_error > tolerance.error * deviation:
        raise ExportError(
            f"largest error of a {output} is {parity.max_error / deviation:.3g} of the {output}s' deviation",
            where=name,
            allowed=f"{tolerance.error:g}",
            next_step=_next_step(decoded, layers),
        )
    if parity.rms_error is not None and parity.rms_error > tolerance.rms_error:
        raise ExportError(
            f"root-mean-square error is {parity.rms_error:.3g} of the values' deviation over samples",
            where=name,
            allowed=f"{tolerance.rms_error:g}",
            next_step=_next_step(decoded, layers),
        )
    if parity.rms_error is not None:
        return
    agrees = parity.agrees
    if tolerance.tie:
        agrees = agrees | (parity.margins <= tolerance.tie * deviation)
    if agrees.mean() < tolerance.agreement:
        raise ExportError(
            f"predicts what the student predicts on {agrees.mean():.2%} of {len(agrees)} samples",
            where=name,
            allowed=f"{tolerance.agreement:.0%} or more",
            next_step=_next_step(decoded, layers),
        )


def _next_step(precision: Precision, layers: Sequence[LayerParity]) -> str:
    if parted := first_past(layers):
        return (
            f"look at layer '{parted.layer}' ({parted.operator}), the first past its threshold: {parted.sqnr_db:.1f} dB"
        )
    if precision.mode == "static":
        return "calibrate with more samples of the training split, or train the student longer"
    return "the student may use an operator that the converter gets wrong: report it with the network"


def verify_anatomy(
    name: str,
    precision: str,
    anatomy: Anatomy,
    *,
    float_bytes: int,
    io: IoType | None = None,
    head: Head = "logits",
    layers: Sequence[tuple[str, str]] | None = None,
    tokens: bool = False,
) -> None:
    """Refuse a file that is not what its name claims.

    Args:
        name: Of the file.
        precision: That it claims; of a mixed file, that of all that has no weights.
        anatomy: Of the file.
        float_bytes: Size of the float32 file of the same format.
        io: What input and output were asked to be; `None` is the format's own.
        head: What it gives; the number of a class is no quantized value.
        layers: Of a mixed file: each operator with weights, in the order of the float file, its name (TFLite files have
            none) and the dtype that its weights must have.
        tokens: Whether the float file takes whole numbers, which no precision changes.

    Raises:
        ExportError: Names the file, the check, what was observed and what is allowed.
    """
    decoded = decode_precision(precision)
    weighted = [layer for layer in anatomy.layers if layer.operator in _WEIGHTED and layer.weight_dtype is not None]
    if layers is not None:
        _verify_layers(name, anatomy.format, weighted, layers)
    for layer in weighted if layers is None else ():
        fallback = "int8" if decoded.weights == "int4" and layer.operator in _WITHOUT_INT4 else None
        if layer.weight_dtype not in (decoded.weights, fallback):
            raise ExportError(
                f"weights of {layer.operator} '{layer.name}' are {layer.weight_dtype}",
                where=name,
                allowed=decoded.weights,
            )
    if decoded.mode == "static":
        # Tokens are whole numbers already.
        inputs = [each for each in anatomy.inputs if not (tokens and each.dtype in ("int32", "int64"))]
        ends = inputs if head == "class" else (*inputs, *anatomy.outputs)
        _verify_static(name, decoded, anatomy, ends, io, quantized=bool(weighted))
    if anatomy.layout == "NHWC" and anatomy.count("TRANSPOSE"):
        raise ExportError(f"{anatomy.count('TRANSPOSE')} TRANSPOSE operators", where=name, allowed="none")
    if (layers is not None or decoded.weights.startswith("int")) and anatomy.size_bytes >= float_bytes:
        _no_smaller(name, anatomy.size_bytes, float_bytes, decoded if layers is None else None)


def _no_smaller(name: str, size: int, float_bytes: int, precision: Precision | None) -> None:
    """Refuse a file whose only purpose was to be smaller; integers that flow may still be faster, or all a chip has."""
    what = "mixed precision" if precision is None else precision.name
    if precision is not None and precision.mode != "weight_only":
        _log.warning(
            "%s: %s B, not smaller than the float32 file of %s B: so small a student gains no bytes from %s",
            *(name, f"{size:,}", f"{float_bytes:,}", what),
        )
        return
    raise ExportError(
        f"{size:,} B, not smaller than the float32 file",
        where=name,
        allowed=f"below {float_bytes:,} B",
        next_step=f"so small a student gains nothing from {what}: leave it out",
    )


def _verify_layers(name: str, format_name: str, weighted: Sequence[Layer], expected: Sequence[tuple[str, str]]) -> None:
    """Hold each layer's weights against what it was given: quantizers fall back to another precision in silence."""
    if len(weighted) != len(expected):
        raise ExportError(f"{len(weighted)} operators have weights", where=name, allowed=f"{len(expected)}")
    # ONNX Runtime's quantizer sorts operators; TFLite's keeps their order and has no names.
    named = {layer.name: layer for layer in weighted}
    for number, (operator, dtype) in enumerate(expected):
        layer = named.get(operator) if format_name == "onnx" else weighted[number]
        if layer is None:
            raise ExportError(f"no operator '{operator}'", where=name)
        if layer.weight_dtype != dtype:
            raise ExportError(
                f"weights of {layer.operator} '{layer.name}' are {layer.weight_dtype}", where=name, allowed=dtype
            )


def _verify_static(
    name: str, precision: Precision, anatomy: Anatomy, ends: Sequence[TensorSpec], io: IoType | None, *, quantized: bool
) -> None:
    if not quantized:
        raise ExportError("no operator has weights", where=name, allowed=f"{precision.weights} weights")
    if anatomy.format == "onnx":
        # QDQ files take and give float32.
        if not anatomy.count("QuantizeLinear"):
            raise ExportError("no QuantizeLinear: activations are not quantized", where=name)
        return
    expected = io or precision.activations
    for end in ends:
        if end.dtype != expected or (end.scale is None and expected != "float32"):
            raise ExportError(f"'{end.name}' is {end.dtype}", where=name, allowed=expected)
