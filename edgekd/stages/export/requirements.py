"""What must hold before a conversion is worth starting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.records import PRECISIONS, ExportSpec, IoType, decode_precision

if TYPE_CHECKING:
    from torch import nn

_IO = {"int8": ("int8", "uint8"), "int16": ("int16",)}


def check_spec(spec: ExportSpec, name: str) -> None:
    """Refuse formats and precisions that don't exist, and converters that are not installed.

    Raises:
        ConfigError: Unknown, missing or repeated names.
        MissingExtraError: Says which extra brings the converter.

    >>> check_spec(ExportSpec(formats=("onnx",), precisions=("int3",)), "student")
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: unknown precision 'int3'; allowed: fp32, fp16, ...
    """
    if not name or Path(name).name != name:
        raise ConfigError(f"'{name}' can't begin the name of a file", where="export")
    if spec.calibration.samples < 1:
        raise ConfigError(f"calibration.samples is {spec.calibration.samples}", where="export", allowed="1 or more")
    for key, chosen, known in (
        ("formats", spec.formats, registry.names("exporters")),
        ("precisions", spec.precisions, PRECISIONS),
    ):
        if not chosen or len(set(chosen)) != len(chosen):
            raise ConfigError(
                f"{key} = {list(chosen)}", where="export", allowed=f"one or more of {', '.join(known)}, each once"
            )
    for format_name, precision in spec.pairs():
        check_precision(format_name, precision, spec.io)
    # Importing a converter takes seconds and memory; only its child does that.
    registry.require_all(
        module
        for format_name in spec.formats
        for kind in ("exporters", "quantizers")
        for module in registry.load(kind, format_name).NEEDS
    )


def check_precision(format_name: str, precision: str, io: IoType | None) -> None:
    """Refuse what a format can't do, and say what it can.

    Raises:
        ConfigError: Unknown precision, one that the format does not have, or a type of input that it can't take.

    >>> check_precision("onnx", "static_wi8_ai16", None)
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: onnx has no static_wi8_ai16; allowed: fp32, ...; write 'static_wi8_ai16.tflite' ...
    """
    decoded = decode_precision(precision)
    known: tuple[str, ...] = registry.load("quantizers", format_name).PRECISIONS
    if precision not in known:
        able = [
            each for each in registry.names("quantizers") if precision in registry.load("quantizers", each).PRECISIONS
        ]
        raise ConfigError(
            f"{format_name} has no {precision}",
            allowed=", ".join(known),
            next_step=" or ".join(f"write '{precision}.{each}' for {each} alone" for each in able),
        )
    if io and format_name == "tflite" and decoded.mode == "static" and io not in ("float32", *_IO[decoded.activations]):
        raise ConfigError(
            f"{precision} has no {io} input",
            allowed=", ".join(("float32", *_IO[decoded.activations])),
        )


def check_weights(student: nn.Module) -> None:
    """Refuse a student whose weights or statistics are not finite.

    Raises:
        ModelError: Names the first such tensor.
    """
    import torch

    for name, tensor in student.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"'{name}' holds numbers that are not finite",
                where="export",
                next_step="train again with a lower learning rate, or take an earlier checkpoint",
            )


def check_inputs(what: str, inputs: NDArray[np.float32]) -> None:
    """Refuse inputs that no network takes.

    Args:
        what: Which inputs, for the message.
        inputs: Shape (N, C, H, W) or (N, F), float32.

    Raises:
        DataError: None, not float32, not finite, or of an odd shape.

    >>> check_inputs("check", np.zeros((4, 8), np.uint8))
    Traceback (most recent call last):
        ...
    edgekd.errors.DataError: export: check samples are uint8; allowed: float32, as the network takes them
    """
    if inputs.dtype != np.float32:
        raise DataError(
            f"{what} samples are {inputs.dtype}", where="export", allowed="float32, as the network takes them"
        )
    if inputs.ndim < 2 or not inputs.size:
        raise DataError(
            f"{what} samples have shape {inputs.shape}", where="export", allowed="(N, C, H, W) or (N, F), N above 0"
        )
    if not np.isfinite(inputs).all():
        raise DataError(f"{what} samples hold numbers that are not finite", where="export")


def check_calibration(calibration: NDArray[np.float32], check: NDArray[np.float32]) -> None:
    """Refuse calibration samples from which no ranges can be learnt.

    Raises:
        DataError: As `check_inputs`; or all the same number; or of another shape than the check samples.
    """
    check_inputs("calibration", calibration)
    if calibration.shape[1:] != check.shape[1:]:
        raise DataError(
            f"calibration samples have shape {calibration.shape[1:]}", where="export", allowed=f"{check.shape[1:]}"
        )
    if calibration.min() == calibration.max():
        raise DataError(
            f"all calibration samples are {calibration.flat[0]:g} everywhere",
            where="export",
            next_step="calibrate with samples of the training split",
        )
