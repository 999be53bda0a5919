"""Quantizers: a float32 model file becomes one of a precision. One plug-in per file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgekd import registry
from edgekd.errors import ConfigError, did_you_mean
from edgekd.records import LAYER_PRECISIONS, ExportSpec, IoType, MixedPrecisionSpec, decode_precision
from edgekd.units import parse_limit, parse_size

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


def check_mixed(spec: ExportSpec) -> None:
    """Refuse a mixed file whose layers would have no choice, or whose budget says nothing.

    Raises:
        ConfigError: Not one of both budgets, a limit that is none, or candidates that no format has.

    >>> check_mixed(ExportSpec(mixed=MixedPrecisionSpec()))
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: neither max_drop nor max_size; allowed: one of them
    """
    mixed = spec.mixed
    if mixed is None:
        return
    _check_limits(mixed)
    unknown = [each for each in mixed.candidates if each not in LAYER_PRECISIONS]
    if unknown:
        raise ConfigError(
            f"unknown candidate '{unknown[0]}'",
            allowed=", ".join(LAYER_PRECISIONS),
            next_step=did_you_mean(unknown[0], LAYER_PRECISIONS),
        )
    if len(set(mixed.candidates)) != len(mixed.candidates):
        raise ConfigError(f"candidates = {list(mixed.candidates)}", allowed="each once")
    able: dict[str, Sequence[str]] = {
        name: registry.load("quantizers", name).LAYER_PRECISIONS for name in registry.names("quantizers")
    }
    for each in mixed.candidates:
        if not any(each in known for known in able.values()):
            raise ConfigError(f"no layer can have {each}", allowed=_listed(able))
    for name in spec.formats:
        common = [each for each in mixed.candidates if each in able[name]]
        if len(common) < 2:
            raise ConfigError(f"{name} has {' and '.join(common) or 'none'} of the candidates", allowed=_listed(able))
    check_precision(spec.formats[0], "static_wi8_ai8", spec.io)


def _check_limits(mixed: MixedPrecisionSpec) -> None:
    given = [name for name in ("max_drop", "max_size") if getattr(mixed, name) is not None]
    if len(given) != 1:
        raise ConfigError(
            "both max_drop and max_size" if given else "neither max_drop nor max_size", allowed="one of them"
        )
    if mixed.max_size is not None:
        parse_size(mixed.max_size)
        return
    drop = mixed.max_drop or ""
    # The task is known with the data: "0.3 pt" of accuracy, "0.02" of an error.
    metric = "mean_squared_error_increase" if drop.strip().replace(".", "").isdigit() else "accuracy_drop"
    parse_limit(metric, drop)


def _listed(able: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name}: {', '.join(known)}" for name, known in able.items())
