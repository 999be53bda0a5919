"""Inputs and outputs of another type than the target's apps hand over."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy
from edgekd.lints._graph import finding, is_integer_file, is_micro
from edgekd.records import Finding, Target

RUNS = True  # It runs, and apps hand over something else.
# Nothing else hands over a text, on any target.
_OF_TOKENS = ("int32", "int64")


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Hold the types of inputs and outputs against those that the target names, or that a microcontroller needs.

    Microcontrollers and accelerators hand int8 to int8 files; Android's task libraries take uint8 and float32 only
    (tflite-support's and MediaPipe Tasks' `ImageClassifier`: "Type mismatch ... Requested
    kTfLiteUint8/kTfLiteFloat32, got INT8").

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",), io=("uint8",))
    >>> [each.what for each in find(graph=file, target=target)]
    ["input 'x' is float32; apps of it hand over uint8", "output 'x' is float32; apps of it hand over uint8"]
    """
    ends = [*(("input", each) for each in graph.inputs), *(("output", each) for each in graph.outputs)]
    for kind, end in ends:
        if kind == "input" and end.dtype in _OF_TOKENS and end.scale is None:
            continue
        if target.io:
            if end.dtype not in target.io:
                yield finding(
                    __name__,
                    "error",
                    target,
                    f"{kind} '{end.name}' is {end.dtype}; apps of {target.name} hand over {', '.join(target.io)}",
                    f"export it with {target.io[0]} inputs and outputs",
                )
        elif end.dtype == "float32" and is_micro(graph, target) and is_integer_file(graph):
            yield finding(
                __name__,
                "error",
                target,
                f"{kind} '{end.name}' of an integer file is float32, where a microcontroller hands over int8",
                "export it with int8 inputs and outputs",
            )
