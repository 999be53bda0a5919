"""Quantizers: a float32 model file becomes one of a precision. One plug-in per file."""

from __future__ import annotations

from edgekd import registry
from edgekd.errors import ConfigError
from edgekd.records import IoType, decode_precision

_IO = {"int8": ("int8", "uint8"), "int16": ("int16",)}


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
