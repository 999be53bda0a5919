"""Takes needless TRANSPOSEs out of a channels-last TFLite file, changing constants instead of activations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHANNELS_FIRST = (0, 3, 1, 2)
_CHANNELS_LAST = (0, 2, 3, 1)
_REDUCTIONS = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")


def drop_transposes(model: Any) -> int:
    """Drop each TRANSPOSE to channels first whose one reader can do without it.

    Before a mean, sum or extremum over dimensions, its axes change: mean over (2, 3) becomes (1, 2). Before a
    flatten and a FULLY_CONNECTED, the columns of the weights change places: both ways add the same products.

    Args:
        model: `ModelT` of a float32 TFLite file; changed in place.

    Returns:
        How many TRANSPOSE operators are left.
    """
    graph = _Graph(model)
    for transpose in graph.of_kind("TRANSPOSE"):
        if tuple(graph.constant(transpose.inputs[1], "<i4")) != _CHANNELS_FIRST:
            continue
        reader = graph.only_reader(transpose.outputs[0])
        if reader is None:
            continue
        if graph.kind(reader) in _REDUCTIONS:
            dropped = _reduce_channels_last(graph, transpose, reader)
        else:
            dropped = graph.kind(reader) == "RESHAPE" and _flatten_channels_last(graph, transpose, reader)
        if dropped:
            reader.inputs[0] = transpose.inputs[0]
            graph.drop(transpose)
    graph.forget_unused()
    return len(graph.of_kind("TRANSPOSE"))


def pad_with_zeros(model: Any) -> None:
    """Where what is padded with -inf can't be negative, pad it with 0: the maximum that follows is the same.

    Max pooling pads with -inf, which no integer stands for, and which spoils the range of what is padded.

    Args:
        model: `ModelT` of a float32 TFLite file; changed in place.
    """
    graph = _Graph(model)
    for pad in graph.of_kind("PADV2"):
        reader = graph.only_reader(pad.outputs[0])
        if reader is None or graph.kind(reader) != "MAX_POOL_2D" or not graph.is_float_constant(pad.inputs[2]):
            continue
        if np.isneginf(graph.constant(pad.inputs[2], "<f4")).all() and graph.is_rectified(pad.inputs[0]):
            pad.inputs[2] = graph.add_like(pad.inputs[2], np.zeros(graph.shape(pad.inputs[2]), "<f4"))
    graph.forget_unused()


def _reduce_channels_last(graph: _Graph, transpose: Any, reduction: Any) -> bool:
    before = graph.shape(transpose.outputs[0])
    axes = sorted({int(axis) % len(before) for axis in graph.constant(reduction.inputs[1], "<i4").ravel()})
    # Only what leaves at most one dimension beside the batch can't be left in another order.
    if reduction.builtinOptions.keepDims or not {2, 3} <= set(axes):
        return False
    moved = np.array(sorted(_CHANNELS_FIRST[axis] for axis in axes), "<i4")
    reduction.inputs[1] = graph.add_like(reduction.inputs[1], moved)
    return True


def _flatten_channels_last(graph: _Graph, transpose: Any, reshape: Any) -> bool:
    connected = graph.only_reader(reshape.outputs[0])
    if connected is None or graph.kind(connected) != "FULLY_CONNECTED" or connected.inputs[0] != reshape.outputs[0]:
        return False
    channels_first = graph.shape(transpose.outputs[0])[1:]
    weights = connected.inputs[1]
    if graph.shape(reshape.outputs[0]) != (1, int(np.prod(channels_first))) or not graph.is_float_constant(weights):
        return False
    table = graph.constant(weights, "<f4").reshape(-1, *channels_first).transpose(_CHANNELS_LAST)
    connected.inputs[1] = graph.add_like(weights, np.ascontiguousarray(table).reshape(graph.shape(weights)))
    return True


class _Graph:
    """The main graph of a model."""

    def __init__(self, model: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        self._names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}

    def kind(self, operator: Any) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return str(self._names[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def of_kind(self, kind: str) -> list[Any]:
        return [operator for operator in self.graph.operators if self.kind(operator) == kind]

    def only_reader(self, tensor: int) -> Any:
        readers = [operator for operator in self.graph.operators if tensor in operator.inputs]
        return readers[0] if len(readers) == 1 and tensor not in self.graph.outputs else None

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(size) for size in self.graph.tensors[tensor].shape)

    def constant(self, tensor: int, dtype: str) -> NDArray[Any]:
        data = self.model.buffers[self.graph.tensors[tensor].buffer].data
        return np.frombuffer(b"" if data is None else bytes(data), dtype)

    def is_rectified(self, tensor: int) -> bool:
        """Whether no number of a tensor can be below 0."""
        makers = [each for each in self.graph.operators if tensor in each.outputs]
        if len(makers) != 1:
            return False
        fused = getattr(makers[0].builtinOptions, "fusedActivationFunction", None)
        kinds = self.schema.ActivationFunctionType
        return self.kind(makers[0]) in ("RELU", "RELU6", "RELU_0_TO_1") or fused in (kinds.RELU, kinds.RELU6)

    def is_float_constant(self, tensor: int) -> bool:
        is_float = self.graph.tensors[tensor].type == self.schema.TensorType.FLOAT32
        return is_float and len(self.constant(tensor, "<f4")) > 0

    def add_like(self, tensor: int, values: NDArray[Any]) -> int:
        """Add a constant that differs from another in its values; the other may have more readers."""
        old = self.graph.tensors[tensor]
        new = self.schema.TensorT()
        vars(new).update(vars(old))
        new.name = old.name + b"_channels_last"
        new.buffer = len(self.model.buffers)
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def drop(self, operator: Any) -> None:
        self.graph.operators = [each for each in self.graph.operators if each is not operator]

    def forget_unused(self) -> None:
        """Drop tensors that no operator reads or writes, and what they stored."""
        graph, model = self.graph, self.model
        used = {int(each) for each in [*graph.inputs, *graph.outputs]}
        for operator in graph.operators:
            used.update(int(each) for each in [*operator.inputs, *operator.outputs] if each >= 0)
        place = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
        graph.tensors = [graph.tensors[each] for each in sorted(used)]
        graph.inputs, graph.outputs = ([place[each] for each in ends] for ends in (graph.inputs, graph.outputs))
        for operator in graph.operators:
            operator.inputs = [place[each] for each in operator.inputs]
            operator.outputs = [place[each] for each in operator.outputs]
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == 0:
                for end in [*signature.inputs, *signature.outputs]:
                    end.tensorIndex = place[end.tensorIndex]
        read = {each.buffer for subgraph in model.subgraphs for each in subgraph.tensors}
        read.update(each.buffer for each in model.metadata or [])
        for index, buffer in enumerate(model.buffers):
            if index not in read:
                buffer.data = None
