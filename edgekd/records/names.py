"""Words that records share, and the one decoder of precision names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from edgekd.errors import ConfigError

# `other`: a teacher's file that edgekd reads but does not make (Keras, transformers, logits).
Format = Literal["torch", "onnx", "tflite", "other"]
# `repeat`: the student once more with another seed; `control`: the student trained without teacher; `simulated`: the
# student with the rounding of a file, in torch.
Role = Literal["teacher", "assistant", "student", "repeat", "control", "simulated"]
Task = Literal["single_label", "multi_label", "regression", "reconstruction", "next_token", "masked_token"]
# Tasks with a prediction at every position of a text.
TOKEN_TASKS: tuple[Task, ...] = ("next_token", "masked_token")
Basis = Literal["measured", "emulated", "estimated"]
Status = Literal["pass", "fail", "inconclusive", "unmeasured"]
Options = Mapping[str, Any]
# Bounds that `edgekd.config` checks and the JSON Schema shows.
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Seed = Annotated[int, Interval(ge=0, lt=2**63)]  # what NumPy and torch both take
Share = Annotated[float, Interval(ge=0, lt=1)]

PRECISIONS = (
    "fp32",
    "fp16",
    "dynamic_wi8_afp32",
    "static_wi8_ai8",
    "static_wi8_ai16",
    "weight_only_wi8_afp32",
    "weight_only_wi4_afp32",
)
# Of single layers in a file whose layers have several.
LAYER_PRECISIONS = (*PRECISIONS, "static_wi4_ai8")
# Such a file's own.
MIXED = "mixed"
# What the numbers of an input are; audio is a spectrogram or another front end's features.
Content = Literal["image", "audio", "text", "features"]
# Between a model file and what calls it.
IoType = Literal["int8", "int16", "uint8", "float32"]
# What a file's last operator gives: `class` is an index.
Head = Literal["logits", "probabilities", "values", "class"]
# By name of an activation: lower and upper end.
Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """A decoded precision name.

    Attributes:
        name: As in recipes and file names.
        mode: `float`; or integers: of weights and activations with ranges found before (`static`) or at each inference
            (`dynamic`), or of stored weights that are decoded before they are used (`weight_only`); or each layer's
            own (`mixed`, of weights and activations too).
        weights: dtype of the weights in the file.
        activations: dtype of what flows between operators.
    """

    name: str
    mode: Literal["float", "static", "dynamic", "weight_only", "mixed"]
    weights: str
    activations: str


def decode_precision(name: str) -> Precision:
    """Decode a precision name; the one place that knows their grammar.

    Raises:
        ConfigError: The name is none that edgekd makes.

    >>> decode_precision("static_wi8_ai8").weights
    'int8'
    """
    if name == MIXED:
        return Precision(name=name, mode="mixed", weights=MIXED, activations=MIXED)
    if name not in LAYER_PRECISIONS:
        raise ConfigError(f"unknown precision '{name}'", allowed=", ".join(PRECISIONS))
    if match := re.fullmatch(r"(static|dynamic|weight_only)_wi(\d+)_a(i|fp)(\d+)", name):
        mode, weight_bits, kind, bits = match.groups()
        activations = f"{'int' if kind == 'i' else 'float'}{bits}"
        return Precision(name=name, mode=mode, weights=f"int{weight_bits}", activations=activations)  # type: ignore[arg-type]  # as the pattern says
    dtype = {"fp32": "float32", "fp16": "float16"}[name]
    return Precision(name=name, mode="float", weights=dtype, activations="float32")
