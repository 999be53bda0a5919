"""Python, Kotlin and C++ that use the very file, with its shapes, types, scales and labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.errors import ConfigError, ExportError
from edgekd.packagers._checks import check_ends, check_format
from edgekd.packagers._templates import render
from edgekd.packagers._text import length_of
from edgekd.records import Cargo, TensorSpec

FORMATS = ("tflite", "onnx")
SUITS = "all"
INPUTS = 1

_SUFFIXES = {"python": "py", "kotlin": "kt", "cpp": "cpp"}
# Of each dtype: C++ type, bytes, ONNX Runtime's name in Kotlin, how Kotlin writes it into a buffer and reads it.
_TYPES = {
    "int8": ("int8_t", 1, "INT8", "put(@.toByte())", "output.get()"),
    "uint8": ("uint8_t", 1, "UINT8", "put(@.toByte())", "(output.get().toInt() and 0xFF)"),
    "int16": ("int16_t", 2, "INT16", "putShort(@.toShort())", "output.getShort()"),
    "int32": ("int32_t", 4, "INT32", "putInt(@)", "output.getInt()"),
    "int64": ("int64_t", 8, "INT64", "putLong(@.toLong())", "output.getLong()"),
    "float32": ("float", 4, "FLOAT", "putFloat(@.toFloat())", "output.getFloat()"),
}
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def pack(
    *, cargo: Cargo, folder: Path, languages: tuple[str, ...] = ("python", "kotlin", "cpp"), package: str = "app"
) -> tuple[Path, ...]:
    """Write `{name}_snippet.py`, `.kt` and `.cpp`: raw values in, a label or the outputs out.

    TFLite files run on LiteRT, ONNX files on ONNX Runtime. The Python one is a program, too:
    `python NAME_snippet.py MODEL RAW.npy`. Where it is known what makes tokens of texts, Python takes a text, and needs
    `tokenizer.json` beside it (of packager `tokenizer`) and `tokenizers`; the others take tokens.

    Args:
        cargo: Of a TFLite or ONNX file with one input and one output.
        folder: Made when missing.
        languages: Some of `python`, `kotlin`, `cpp`.
        package: Of the Kotlin file.

    Returns:
        The files.

    Raises:
        ConfigError: A language that there is none for.
        ExportError: Labels of another count than outputs, or a type that apps can't feed.
    """
    if unknown := [each for each in languages if each not in _SUFFIXES]:
        raise ConfigError(f"language '{unknown[0]}'", where="packager snippets", allowed=", ".join(_SUFFIXES))
    check_format(cargo, "snippets", FORMATS)
    check_ends(cargo)
    known = _known(cargo, package)
    if known["tokens"] and length_of(cargo) is None and set(languages) != {"python"}:
        raise ExportError(
            "takes texts of any length",
            where=cargo.model.name,
            allowed="Python alone",
            next_step='name it: { name = "snippets", languages = ["python"] }',
        )
    paths = []
    for language in languages:
        path = folder / f"{cargo.stem}_snippet.{_SUFFIXES[language]}"
        store.write_bytes(path, render(f"{cargo.model.format}_snippet.{_SUFFIXES[language]}", **known).encode())
        paths.append(path)
    return tuple(paths)


def _known(cargo: Cargo, package: str) -> dict[str, Any]:
    channels_first = cargo.model.format == "onnx" and len(cargo.model.inputs[0].shape) == 4
    mean, std = cargo.raw_mean, cargo.raw_std
    count = max(len(mean), len(std))
    shape = _end(cargo, cargo.model.inputs[0])["shape"]
    return {
        "cargo": cargo,
        "package": package,
        "input": _end(cargo, cargo.model.inputs[0]),
        "output": _end(cargo, cargo.model.outputs[0]),
        "mean": [float(each) for each in mean * (count // len(mean))],
        "std": [float(each) for each in std * (count // len(std))],
        # So many values of a channel follow one another.
        "stride": shape[2] * shape[3] if channels_first else 1,
        "channels_first": channels_first,
        "labels": cargo.labels,
        "tokens": cargo.tokens is not None and bool(cargo.tokens.tokenizer),
        "pad": (cargo.tokens.pad if cargo.tokens else None) or 0,
        "raw": f" from {cargo.raw_range[0]:g} to {cargo.raw_range[1]:g}" if cargo.raw_range else "",
    }


def _end(cargo: Cargo, spec: TensorSpec) -> dict[str, Any]:
    if spec.dtype not in _TYPES:
        raise ExportError(f"a {spec.dtype} tensor", where=cargo.model.name, allowed=", ".join(_TYPES))
    c_type, width, kotlin, put, get = _TYPES[spec.dtype]
    # A dynamic batch is one sample here.
    shape = [size or 1 for size in spec.shape]
    low, high = _LIMITS.get(spec.dtype, (0, 0))
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "shape": shape,
        "elements": math.prod(shape),
        "c_type": c_type,
        "bytes": width,
        "kotlin": kotlin,
        "writer": put,
        "reader": get,
        "scale": spec.scale if spec.dtype in _LIMITS else None,
        "zero_point": spec.zero_point or 0,
        "low": low,
        "high": high,
    }
