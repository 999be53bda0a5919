"""Puts in order what tf2onnx writes: the same network gives the same bytes, with ONNX's own operators only."""

from __future__ import annotations

import re
from typing import Any

# tf2onnx numbers what it makes, in an order that differs from run to run.
_NUMBERED = re.compile(r"__\d+(?=$|:)")
OUTPUT = "output"


def tidy(model: Any) -> list[str]:
    """Order operators and constants by how the output needs them, number names anew, and call the output `output`.

    Erfc, which ONNX lacks, becomes 1 - Erf.

    Args:
        model: `ModelProto` with one output; changed in place.

    Returns:
        Operators that ONNX does not have, with the layers that made them: "Foo of 'network/layer/Foo'".

    >>> import onnx.parser
    >>> text = '<ir_version: 8, opset_import: ["": 18]> g (float[n] x) => (float[n] y__9) { y__9 = Erfc(x) }'
    >>> model = onnx.parser.parse_model(text)
    >>> tidy(model), [node.op_type for node in model.graph.node], model.graph.output[0].name
    ([], ['Erf', 'Sub'], 'output')
    """
    from onnx import defs

    version = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    _replace_erfc(model.graph)
    lacking = [
        f"{node.op_type} of '{node.name or node.output[0]}'"
        for node in model.graph.node
        if node.domain in ("", "ai.onnx") and not defs.has(node.op_type, max_inclusive_version=version)
    ]
    # Bodies of loops use what lies outside of them, in no order that the graph tells.
    if not lacking and not any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        _order(model.graph)
        _rename(model.graph)
    model.ClearField("doc_string")
    del model.metadata_props[:]
    model.graph.ClearField("doc_string")
    del model.graph.value_info[:]
    model.graph.name = "edgekd"
    return lacking


def _replace_erfc(graph: Any) -> None:
    import numpy as np
    from onnx import helper, numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        erf, one = f"{node.output[0]}_erf", f"{node.output[0]}_one"
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
        nodes.append(helper.make_node("Erf", list(node.input), [erf], name=f"{node.name}_erf"))
        nodes.append(helper.make_node("Sub", [one, erf], list(node.output), name=node.name))
    _replace(graph.node, nodes)


def _order(graph: Any) -> None:
    """Put each operator behind those it needs, first those of its first input."""
    producers = {name: node for node in graph.node for name in node.output}
    ordered, seen, left = [], set[int](), [(producers[each.name], False) for each in graph.output]
    while left:
        node, ready = left.pop()
        if ready:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            left.append((node, True))
            left += [(producers[name], False) for name in reversed(node.input) if name in producers]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = dict.fromkeys(name for node in ordered for name in node.input if name in constants)
    _replace(graph.node, ordered)
    _replace(graph.initializer, [constants[name] for name in used])


def _rename(graph: Any) -> None:
    """Number names anew, and call a constant by the operator that is the first to use it.

    Of equal constants tf2onnx keeps one, not always the same.
    """
    constants = {tensor.name for tensor in graph.initializer}
    names: dict[str, str] = {each.name: each.name for each in graph.input}
    names |= {each.name: OUTPUT for each in graph.output}
    for index, node in enumerate(graph.node):
        node.name = _NUMBERED.sub(f"__{index}", node.name)
        for place, name in enumerate(node.input):
            if name in constants and name not in names:
                names[name] = f"{node.name}/constant_{place}"
        names |= {name: _NUMBERED.sub(f"__{index}", name) for name in node.output if name not in names}
    for node in graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                field[place] = names.get(name, name)
    for each in [*graph.initializer, *graph.output]:
        each.name = names.get(each.name, each.name)


def _replace(field: Any, values: list[Any]) -> None:
    # `extend` copies, so the list must be built before it is cleared.
    copies = [type(each).FromString(each.SerializeToString()) for each in values]
    del field[:]
    field.extend(copies)
