"""Finds the layer where a file parts from its float32 file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.records import LayerParity, decode_precision
from edgekd.stages.export.calibrating import MASKED
from edgekd.stages.export.watching import Watched, watch

# What is held of each layer at once, in bytes: samples are taken away until it fits.
_BYTES = 2**26
_SAMPLES = 32
_SAME_DB = 300.0
# Below this a layer is past what its precision explains. Rounding of float32 gives above 100 dB, of float16 60, and
# good int8 networks 15 to 40 from their first to their last layer.
_THRESHOLD_DB = {"float32": 60.0, "float16": 35.0, "int8": 10.0, "int4": 2.0}


def compare_layers(
    format_name: str, source: Path, paths: Mapping[Path, str], inputs: NDArray[np.float32]
) -> list[tuple[LayerParity, ...]]:
    """Compare every activation of files with that of the float file they were made from; run it in a child.

    Args:
        format_name: `onnx` or `tflite`.
        source: The float file, with its names.
        paths: Files, and the precision of each.
        inputs: (N, …), channels first; as many are used as memory allows.

    Returns:
        For each file its layers, in order; those that the file fuses into others are left out.
    """
    reference = watch(format_name, source)
    first = reference.run(inputs[:1])
    count = max(1, min(_SAMPLES, len(inputs), _BYTES // max(sum(each.nbytes for each in first.values()), 1)))
    expected = reference.run(inputs[:count])
    compared = []
    for path, precision in paths.items():
        threshold = _THRESHOLD_DB[decode_precision(precision).weights]
        file = watch(format_name, path)
        found = file.run(inputs[:count])
        pairs = _pairs_of_tflite(reference, file) if format_name == "tflite" else _pairs_of_onnx(reference, file)
        compared.append(
            tuple(
                _parity(
                    _title(reference, name),
                    reference.operators[name],
                    _seen(expected[name], expected[name], reference),
                    _seen(found[twin], expected[name], reference),
                    threshold,
                )
                for name, twin in pairs
                if found[twin].shape == expected[name].shape
            )
        )
    return compared


def first_past(layers: Sequence[LayerParity]) -> LayerParity | None:
    """The first layer whose signal-to-noise ratio is below what its precision explains."""
    return next((layer for layer in layers if layer.past), None)


def _title(file: Watched, name: str) -> str:
    """The module, or the activation, or (where its name is a path through modules) the operator."""
    return file.modules.get(name) or (name if re.fullmatch(r"\w+", name) else file.operators[name].lower())


def _seen(values: NDArray[np.float32], expected: NDArray[np.float32], reference: Watched) -> NDArray[np.float32]:
    """Leave out what a mask hides: it is very low, and how low says nothing."""
    seen = expected > MASKED
    return values[seen] if reference.takes_tokens and seen.any() else values


def _parity(
    layer: str, operator: str, expected: NDArray[np.float32], found: NDArray[np.float32], threshold: float
) -> LayerParity:
    signal = expected.astype(np.float64)
    errors = np.abs(found.astype(np.float64) - signal)
    noise = float((errors**2).mean())
    power = float((signal**2).mean())
    ratio = power / noise if noise else math.inf
    decibels = min(10 * math.log10(ratio), _SAME_DB) if ratio else -_SAME_DB
    return LayerParity(
        layer=layer,
        operator=operator,
        sqnr_db=decibels,
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        past=decibels < threshold,
    )


def _pairs_of_tflite(reference: Watched, file: Watched) -> Iterator[tuple[str, str]]:
    """Quantizers keep the order of the operators that compute."""
    kinds = [list(each.operators.values()) for each in (reference, file)]
    if kinds[0] == kinds[1]:
        yield from zip(reference.operators, file.operators, strict=True)


def _pairs_of_onnx(reference: Watched, file: Watched) -> Iterator[tuple[str, str]]:
    """Quantizers keep the names of activations, and name what they decode after them."""
    for name in reference.operators:
        decoded = f"{name}_DequantizeLinear_Output"
        twin = decoded if decoded in file.operators else name
        if twin in file.operators:
            yield name, twin
