"""A small classifier of texts as cargo: words in a table, their mean, a product; both files written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import store
from edgekd.inspection import inspect
from edgekd.records import Cargo, Model, Tokens

LABELS, LENGTH = ("bad", "good"), 12
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "bad", "##ly", "act", "##ed", ".")
RANDOM = np.random.default_rng(0)
# What fills up counts for nothing, so that what fills up can't be told from what it says.
TABLE = (RANDOM.normal(size=(len(PIECES), 8)) * (np.arange(len(PIECES)) > 0)[:, None]).astype(np.float32)
MATRIX = RANDOM.normal(size=(2, 8)).astype(np.float32)


def logits_of(tokens: NDArray[Any]) -> NDArray[np.float64]:
    """By definition, (N, 2)."""
    found: NDArray[np.float64] = TABLE.astype(np.float64)[tokens].mean(axis=1) @ MATRIX.astype(np.float64).T
    return found


def tokenizer_json(kind: str = "WordPiece") -> str:
    """A tokenizer as Hugging Face's tokenizers write it: BERT's, or one token for each word."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    model = models.WordPiece(vocabulary, unk_token="[UNK]")  # noqa: S106 - no password
    if kind == "WordLevel":
        model = models.WordLevel(vocabulary, unk_token="[UNK]")  # noqa: S106 - no password
    made = Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    text: str = made.to_str()
    assert json.loads(text)["model"]["type"] == kind
    return text


def cargo_of(path: Path, **known: Any) -> Cargo:
    anatomy = inspect(path)
    model = Model(
        name=path.name,
        path=path,
        format=anatomy.format,
        precision="fp32",
        role="student",
        sha256=store.sha256_of(path),
        size_bytes=anatomy.size_bytes,
        inputs=anatomy.inputs,
        outputs=anatomy.outputs,
    )
    tokens = Tokens(vocabulary=len(PIECES), pad=0, tokenizer=tokenizer_json())
    return Cargo(model=model, **{"labels": LABELS, "content": "text", "tokens": tokens, **known})


def write_onnx(path: Path, *, length: int | str = LENGTH) -> Path:
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["words"]),
        helper.make_node("ReduceMean", ["words", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "matrix"], ["output"]),
    ]
    constants = {"table": TABLE, "axes": np.array([1]), "matrix": np.ascontiguousarray(MATRIX.T)}
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", length])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def write_tflite(path: Path) -> Path:
    graph, buffers = schema.SubGraphT(), [schema.BufferT()]
    graph.tensors = []

    def tensor(name: bytes, shape: Sequence[int], kind: int, data: NDArray[Any] | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), kind, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            buffers.append(buffer)
            made.buffer = len(buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    floats, whole = schema.TensorType.FLOAT32, schema.TensorType.INT32
    tokens = tensor(b"input", (1, LENGTH), whole)
    flat = tensor(b"flat", (LENGTH,), whole)
    shape = tensor(b"shape", (1,), whole, np.array([LENGTH], "<i4"))
    table = tensor(b"table", TABLE.shape, floats, TABLE)
    words = tensor(b"words", (LENGTH, 8), floats)
    axes = tensor(b"axes", (1,), whole, np.array([0], "<i4"))
    mean = tensor(b"mean", (1, 8), floats)
    matrix = tensor(b"matrix", MATRIX.shape, floats, MATRIX)
    output = tensor(b"output", (1, 2), floats)
    kinds, options = schema.BuiltinOperator, schema.BuiltinOptions
    reducing, connected = schema.ReducerOptionsT(), schema.FullyConnectedOptionsT()
    reducing.keepDims = True
    model = schema.ModelT()
    model.operatorCodes, graph.operators = [], []
    for kind, inputs, outputs, option_kind, option in (
        (kinds.RESHAPE, [tokens, shape], [flat], 0, None),
        (kinds.EMBEDDING_LOOKUP, [flat, table], [words], 0, None),
        (kinds.MEAN, [words, axes], [mean], options.ReducerOptions, reducing),
        (kinds.FULLY_CONNECTED, [mean, matrix, -1], [output], options.FullyConnectedOptions, connected),
    ):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        model.operatorCodes.append(code)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = option_kind, option
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [tokens], [output]
    model.version, model.subgraphs, model.buffers = 3, [graph], buffers
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path
