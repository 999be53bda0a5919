"""What several rules ask of a graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from edgekd import registry
from edgekd.inspection import Anatomy, Node, Value
from edgekd.records import Finding, Severity, Target

# Where the data is that an operator works on; in all others it comes first.
_DATA = {"TRANSPOSE_CONV": 2, "SPLIT": 1}
_CONVERTERS = {"QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
_INTEGERS = ("int8", "uint8", "int16")
# Another program around the same kernels.
_KERNELS_OF = {
    "benchmark_model": "litert",
    "onnxruntime_perf_test": "onnxruntime",
    "tensorflow": "litert",
    "litert_compiled_model": "litert",
}
Key = tuple[int, str]


def runtime_of(graph: Anatomy, target: Target) -> str | None:
    """Name the runtime whose kernels run a file: the target's first that reads its format, and not only to estimate."""
    loaded = {name: registry.load("runtimes", name) for name in target.runtimes}
    readers = [name for name, runtime in loaded.items() if graph.format in runtime.FORMATS]
    found = next((name for name in readers if not registry.estimates(loaded[name])), next(iter(readers), None))
    return _KERNELS_OF.get(found, found) if found else None


def is_micro(graph: Anatomy, target: Target) -> bool:
    """Whether a microcontroller runs the file."""
    return runtime_of(graph, target) == "tflite_micro"


def producers(graph: Anatomy) -> Mapping[Key, Node]:
    """Which operator makes a value."""
    return {(node.graph, value.key): node for node in graph.nodes for value in node.outputs}


def consumers(graph: Anatomy) -> Mapping[Key, list[Node]]:
    """Which operators take a value."""
    found: dict[Key, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None:
                found[node.graph, value.key].append(node)
    return found


def data_of(node: Node) -> Value | None:
    """Find the input that an operator works on, not its weights or parameters."""
    index = _DATA.get(node.operator, 0)
    return node.inputs[index] if index < len(node.inputs) else None


def is_float(value: Value) -> bool:
    """Whether a value is of a type with a decimal point."""
    return value.dtype.startswith(("float", "bfloat"))


def runs_in_float(node: Node) -> bool:
    """Whether an operator takes and gives floats, and is no mere change of type."""
    if node.operator in _CONVERTERS or not node.outputs:
        return False
    data = data_of(node)
    return is_float(node.outputs[0]) and data is not None and is_float(data)


def runs_in_integers(node: Node) -> bool:
    """Whether an operator takes and gives quantized integers."""
    if node.operator in _CONVERTERS or not node.outputs:
        return False
    data = data_of(node)
    return data is not None and all(each.dtype in _INTEGERS and each.channels > 0 for each in (data, node.outputs[0]))


def is_integer_file(graph: Anatomy) -> bool:
    """Whether most of a TFLite file's operators run in integers."""
    integers = sum(runs_in_integers(node) for node in graph.nodes)
    return integers > sum(runs_in_float(node) for node in graph.nodes)


def finding(
    rule: str, severity: Severity, target: Target, what: str, next_step: str, node: Node | None = None
) -> Finding:
    """Make a finding of a rule, of an operator or of the whole file.

    Args:
        rule: The rule's `__name__`.
        severity: An error where the file does not run, or runs wrongly.
        target: Where it shall run.
        what: In one line, with the values.
        next_step: What to do about it.
        node: Where it is; `None` is the whole file.
    """
    return Finding(
        rule=rule.rpartition(".")[2],
        severity=severity,
        target=target.name,
        operator=node.operator if node else "",
        layer=node.name if node else "",
        what=what,
        next_step=next_step,
    )


def version_of(runtime: str, target: Target, default: str) -> str:
    """Say which version of a runtime a target has."""
    return target.runtime_versions.get(runtime, default)


def parse(version: str) -> tuple[int, ...]:
    """Make versions comparable.

    >>> parse("2.10.0") > parse("2.9.1")
    True
    """
    return tuple(int(part) for part in version.split(".") if part.isdigit())
