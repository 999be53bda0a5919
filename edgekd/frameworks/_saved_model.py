"""Looks into a SavedModel, which is a program, for what a network has no business to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgekd.errors import ModelError

# They reach files, the network, other processes or Python; no network that only computes needs them. Tables may be
# read from text files (InitializeTableFromTextFile): the folder's own vocabulary.
_FORBIDDEN = re.compile(
    "ReadFile|WriteFile|MatchingFiles|PyFunc|Summary|Debug|Print|Rpc|Remote|Reader|Dataset|DataService|Collective|Send|Recv"
)
# Every SavedModel has these, to store and restore its variables.
_SAVING = re.compile("Save|Restore|MergeV2Checkpoints|ShardedFilename")


def check(folder: Path) -> None:
    """Refuse a SavedModel with operators that reach beyond it; run it in a child.

    Operators that store variables are let pass where only the saver calls them.

    Raises:
        ModelError: No SavedModel, a damaged one, or one that does more than compute.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except (DecodeError, OSError):
        raise ModelError("a damaged SavedModel", where=str(folder)) from None
    if not saved.meta_graphs or not all(graph.object_graph_def.nodes for graph in saved.meta_graphs):
        raise ModelError(
            "no SavedModel of TensorFlow 2", where=str(folder), next_step="load and save it with TensorFlow 2"
        )
    for graph in saved.meta_graphs:
        library = {each.signature.name: list(each.node_def) for each in graph.graph_def.library.function}
        everything = [*graph.graph_def.node, *(node for nodes in library.values() for node in nodes)]
        _refuse((node.op for node in everything), _FORBIDDEN, folder)
        called = set(graph.object_graph_def.concrete_functions)
        saver = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
        for node in graph.graph_def.node:
            if node.name not in saver:
                called.update(_functions_of(node))
                _refuse([node.op], _SAVING, folder)
        for name in _reached(called, library):
            _refuse((node.op for node in library.get(name, ())), _SAVING, folder)


def _refuse(operators: Iterable[str], forbidden: re.Pattern[str], folder: Path) -> None:
    if bad := sorted({name for name in operators if forbidden.search(name)}):
        raise ModelError(
            f"refused: it does more than compute ({', '.join(bad)})",
            where=str(folder),
            next_step="if you trust it, save the network alone, for serving: model.export(folder)",
        )


def _reached(names: set[str], library: dict[str, list[Any]]) -> set[str]:
    seen: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += [inner for node in library.get(name, ()) for inner in _functions_of(node)]
    return seen


def _functions_of(node: Any) -> Iterator[str]:
    yield node.op  # a function may be called by its name, as an operator
    for value in node.attr.values():
        yield from (each.name for each in [value.func, *value.list.func] if each.name)
