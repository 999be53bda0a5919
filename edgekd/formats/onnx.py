"""ONNX files, read from their protobuf without running them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from edgekd.errors import ModelError
from edgekd.formats._onnx_nodes import Nodes, dtype_of
from edgekd.inspection import Anatomy, DtypeTotal, Layer, Layout
from edgekd.records import TensorSpec

# Where an operator has its weights.
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = {"MatMul": 1, "Gemm": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
_RECURRENT = {"RNN", "GRU", "LSTM"}
# Between a stored constant and the operator that uses it.
_DECODERS = {"DequantizeLinear", "Cast"}


def read(path: Path) -> Anatomy:
    """Read what is in an ONNX file; run it in a child when the file comes from elsewhere.

    Args:
        path: An `.onnx` file, with its external data beside it or below its folder.

    Raises:
        ModelError: Not an ONNX file, a damaged one, or one whose external data is missing or outside its folder.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "notes.onnx"
    >>> _ = file.write_bytes(b"no model")
    >>> try:
    ...     read(file)
    ... except ModelError as error:
    ...     print(error.what)
    not an ONNX model
    """
    import onnx
    from google.protobuf.message import DecodeError

    content = path.read_bytes()
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError:
        raise ModelError("not an ONNX model", where=str(path)) from None
    # Protobuf takes many byte strings for a message of unknown fields.
    if not model.ir_version or not model.opset_import or not model.graph.output:
        raise ModelError("not an ONNX model", where=str(path))
    _check_external_data(model, path)
    try:
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["damaged"])[0]
        raise ModelError(f"a damaged ONNX model: {reason}", where=str(path)) from None
    return _Reader(model, len(content), path.parent).anatomy()


def _check_external_data(model: Any, path: Path) -> None:
    from onnx import TensorProto

    folder = path.parent.resolve()
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute()
        # Resolved, so that neither '..' nor a symbolic link leads out.
        if not location or absolute or not (folder / location).resolve().is_relative_to(folder):
            raise ModelError(
                f"external data of '{tensor.name}' lies outside the model's folder: '{location}'", where=str(path)
            )
        if not (folder / location).is_file():
            raise ModelError(
                f"external data of '{tensor.name}' is missing: '{location}'",
                where=str(path),
                next_step="put it beside the model",
            )


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _tensors(inner)


def _find_external_data(model: Any) -> str | None:
    """The file that a tensor has its bytes in, in whichever graph, function or attribute the tensor is."""
    from onnx import TensorProto

    messages: list[Any] = [model]
    while messages:
        message = messages.pop()
        if isinstance(message, TensorProto) and message.data_location == TensorProto.EXTERNAL:
            return next((each.value for each in message.external_data if each.key == "location"), "")
        for field, value in message.ListFields():
            if field.message_type:
                messages += [value] if hasattr(value, "ListFields") else value
    return None


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _nodes(inner)


class _Reader:
    def __init__(self, model: Any, size_bytes: int, folder: Path) -> None:
        self.model, self.graph, self.size_bytes, self.folder = model, model.graph, size_bytes, folder
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t
        self.shapes, self.dtypes_of = self.inferred()
        self.decoded: dict[str, str] = {}
        self.used: set[str] = set()

    def anatomy(self) -> Anatomy:
        operators = Counter(node.op_type for node in _nodes(self.graph) if node.op_type != "Constant")
        layers = tuple(layer for index, node in enumerate(self.graph.node) if (layer := self.layer(index, node)))
        inputs = tuple(self.spec(each) for each in self.graph.input if each.name not in self.constants)
        return Anatomy(
            format="onnx",
            inputs=inputs,
            outputs=tuple(self.spec(each) for each in self.graph.output),
            operators=tuple(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
            parameters=sum(layer.parameters for layer in layers),
            macs=sum(layer.macs for layer in layers),
            dtypes=self.dtypes(),
            layers=layers,
            size_bytes=self.size_bytes,
            layout=self.layout(inputs),
            metadata=self.metadata(),
            nodes=tuple(Nodes(self.model, self.constants, self.shapes, self.dtypes_of, self.folder)),
            versions={
                "ir": int(self.model.ir_version),
                **{each.domain or "ai.onnx": int(each.version) for each in self.model.opset_import},
            },
            external=_find_external_data(self.model),
        )

    def inferred(self) -> tuple[dict[str, tuple[int | None, ...]], dict[str, str]]:
        """Shapes at batch 1 (a dynamic first dimension) and dtypes of all values."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for value in model.graph.input:
            dims = value.type.tensor_type.shape.dim
            if dims and not dims[0].HasField("dim_value"):
                dims[0].dim_value = 1
        # What the exporter wrote for other batches would contradict that.
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except (onnx.shape_inference.InferenceError, ValueError):
            model = self.model
        shapes, dtypes = {}, {}
        for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
            shapes[value.name] = _shape(value)
            dtypes[value.name] = dtype_of(value.type.tensor_type.elem_type)
        return shapes, dtypes

    def spec(self, value: Any) -> TensorSpec:
        return TensorSpec(name=value.name, shape=_shape(value), dtype=dtype_of(value.type.tensor_type.elem_type))

    def layer(self, index: int, node: Any) -> Layer | None:
        if node.op_type == "Constant":
            return None
        if node.op_type in _DECODERS and node.input[0] in self.constants:
            self.decoded[node.output[0]] = node.input[0]
            self.used.update(node.input[1:])
            return None
        sources = [self.decoded.get(name, name) for name in node.input]
        constants = [name for name in dict.fromkeys(sources) if name in self.constants]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            constants = []  # a scale and a zero point
        trained = [name for name in constants if self.trained(name)]
        first_used = [name for name in constants if name not in self.used]
        self.used.update(constants)
        rows = self.rows_of(node) if first_used else 0
        largest = max(trained, key=lambda name: math.prod(self.constants[name].dims), default=None)
        return Layer(
            name=node.name or f"#{index}",
            operator=node.op_type,
            output_shape=self.shapes.get(node.output[0], ()) if node.output else (),
            parameters=rows or sum(math.prod(self.constants[name].dims) for name in first_used if name in trained),
            macs=self.macs(node),
            weight_dtype=None if largest is None else dtype_of(self.constants[largest].data_type),
            size_bytes=sum(self.bytes_of(name) for name in first_used),
        )

    @staticmethod
    def rows_of(node: Any) -> int:
        """Numbers in a matrix whose bits are packed, K x N; 0 of all else."""
        if node.op_type != "MatMulNBits":
            return 0
        return math.prod(each.i for each in node.attribute if each.name in ("K", "N"))

    def trained(self, name: str) -> bool:
        """Shapes and axes are int64 (int32 biases come through DequantizeLinear); limits are scalars."""
        tensor = self.constants[name]
        dtype = dtype_of(tensor.data_type)
        if dtype == "int32":
            return name in self.decoded.values()
        return bool(tensor.dims) and dtype.startswith(("float", "bfloat", "int8", "uint8", "int4", "uint4"))

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Dimensions of a value; unknown ones count as 1, as the batch does."""
        source = self.decoded.get(name, name)
        if source in self.constants:
            return tuple(self.constants[source].dims)
        return tuple(1 if size is None else size for size in self.shapes.get(name, ()))

    def macs(self, node: Any) -> int:
        """Output elements times the length of the dot product behind each."""
        elements = math.prod(self.shape_of(node.output[0])) if node.output else 0
        if node.op_type in _CONVOLUTIONS:
            return elements * math.prod(self.shape_of(node.input[_CONVOLUTIONS[node.op_type]])[1:])
        if node.op_type == "ConvTranspose":
            return math.prod(self.shape_of(node.input[0])) * math.prod(self.shape_of(node.input[1])[1:])
        if node.op_type in _PRODUCTS:
            weights = self.shape_of(node.input[_PRODUCTS[node.op_type]])
            transposed = any(each.name == "transB" and each.i for each in node.attribute)
            return elements * (weights[-1 if transposed or len(weights) == 1 else -2] if weights else 1)
        if node.op_type == "MatMulNBits":
            return elements * int(next(each.i for each in node.attribute if each.name == "K"))
        if node.op_type in _RECURRENT:
            steps = math.prod(self.shape_of(node.input[0])[:2])
            return steps * sum(math.prod(self.shape_of(name)) for name in node.input[1:3])
        return 0

    def bytes_of(self, name: str) -> int:
        import onnx

        tensor = self.constants[name]
        if tensor.data_type == onnx.TensorProto.STRING:
            return sum(len(each) for each in tensor.string_data)
        packed = "int4" in dtype_of(tensor.data_type)
        bits = 4 if packed else 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        return (int(math.prod(tensor.dims)) * bits + 7) // 8

    def dtypes(self) -> tuple[DtypeTotal, ...]:
        tensors: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for name, tensor in self.constants.items():
            tensors[dtype_of(tensor.data_type)] += 1
            sizes[dtype_of(tensor.data_type)] += self.bytes_of(name)
        tensors.update(dtype for name, dtype in self.dtypes_of.items() if name not in self.constants)
        return tuple(
            DtypeTotal(dtype=dtype, tensors=count, size_bytes=sizes[dtype]) for dtype, count in sorted(tensors.items())
        )

    def layout(self, inputs: tuple[TensorSpec, ...]) -> Layout:
        if not inputs or len(inputs[0].shape) != 4:
            return "flat"
        for node in self.graph.node:
            if node.op_type == "Transpose" and inputs[0].name in node.input:
                order = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
                return "NHWC" if order == [0, 3, 1, 2] else "NCHW"
        return "NCHW"

    def metadata(self) -> dict[str, str]:
        found = {"ir_version": str(self.model.ir_version)}
        for opset in self.model.opset_import:
            found[f"opset {opset.domain or 'ai.onnx'}"] = str(opset.version)
        if self.model.producer_name:
            found["producer"] = f"{self.model.producer_name} {self.model.producer_version}".strip()
        found.update({each.key: each.value for each in self.model.metadata_props})
        return found


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim)
