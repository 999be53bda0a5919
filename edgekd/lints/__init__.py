"""What is wrong with a model file on a target, before anyone flashes it: one rule a file.

Each file has one function `find(*, graph, target)` that yields findings; it reads the anatomy of the file and the
target's facts, and needs no runtime.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgekd import registry
from edgekd.inspection import Anatomy, inspect
from edgekd.lints._processor import with_own_processor as with_own_processor
from edgekd.records import Finding, Target

_ORDER = {"error": 0, "warning": 1}


def lint(model: Path | Anatomy, targets: Sequence[Target]) -> tuple[Finding, ...]:
    """Hold a model file against every rule for every target, without running it.

    Args:
        model: An ONNX or TFLite file, or what `edgekd.inspection.inspect` read from one.
        targets: Where it shall run.

    Returns:
        Errors first; in the order of the targets, then of the rules' names, then of the file.

    Raises:
        ModelError: The file can't be read.

    >>> from edgekd.records import TensorSpec
    >>> image = TensorSpec(name="image", shape=(1, 32, 32, 3), dtype="float32")
    >>> onnx = Anatomy(
    ...     format="onnx", inputs=(image,), outputs=(image,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="NHWC",
    ... )
    >>> chip = Target(name="chip", description="", runtimes=("tflite_micro",))
    >>> [(each.rule, each.what) for each in lint(onnx, [chip])]
    [('no_runtime', 'no runtime of chip reads onnx; it has tflite_micro')]
    """
    graph = inspect(model) if isinstance(model, Path) else model
    name = model.name if isinstance(model, Path) else ""
    rules = {rule: registry.function("lints", rule) for rule in registry.names("lints")}
    found = [
        dataclasses.replace(each, model=name)
        for target in targets
        for find in rules.values()
        for each in find(graph=graph, target=target)
    ]
    return tuple(sorted(found, key=lambda each: _ORDER[each.severity]))


def keeps_from_running(found: Finding) -> bool:
    """Whether a file with this finding does not run on the target at all.

    Warnings never do. Nor do errors of rules that say so by `RUNS = True`: the file runs, and something else is wrong.

    >>> found = Finding(rule="hybrid_operator", severity="error", target="chip", what="", next_step="")
    >>> keeps_from_running(found), keeps_from_running(dataclasses.replace(found, rule="io_type"))
    (True, False)
    """
    return found.severity == "error" and not getattr(registry.load("lints", found.rule), "RUNS", False)
