"""Files of networks of tokens: whole numbers go in, and masks are such that integers can hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edgekd import child
from edgekd.exporters import onnx as to_onnx
from edgekd.exporters import tflite as to_tflite
from edgekd.exporters._tokens import example_of
from edgekd.inspection import inspect

TOKENS = np.array([[3, 5, 7, 2, 0, 0], [1, 0, 0, 0, 0, 0], [9, 8, 7, 6, 5, 4]], np.float32)


def make_network() -> nn.Module:
    class Attention(nn.Module):
        """One head that sees no pad, which float32's lowest number says."""

        takes_tokens = True

        def __init__(self) -> None:
            super().__init__()
            self.table, self.key = nn.Embedding(11, 16), nn.Linear(16, 16)
            self.linear = nn.Linear(16, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            tokens = (inputs.round() if inputs.is_floating_point() else inputs).long()
            words = self.table(tokens)
            scores = self.key(words) @ words.transpose(1, 2)
            never = (tokens == 0)[:, None, :].float() * torch.finfo(torch.float32).min
            found: Tensor = self.linear((torch.softmax(scores + never, dim=-1) @ words)[:, 0])
            return found

    torch.manual_seed(0)
    return Attention().eval()


def by_hand() -> NDArray[np.float64]:
    weights = {name: value.double().numpy() for name, value in make_network().state_dict().items()}
    rows = []
    for tokens in TOKENS.astype(int):
        words = weights["table.weight"][tokens[tokens > 0]]
        scores = (words @ weights["key.weight"].T + weights["key.bias"]) @ words.T
        shares = np.exp(scores - scores.max(1, keepdims=True))
        seen = (shares / shares.sum(1, keepdims=True)) @ words
        rows.append(weights["linear.weight"] @ seen[0] + weights["linear.bias"])
    return np.stack(rows)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    network, folder = make_network(), tmp_path_factory.mktemp("files")
    paths = {name: folder / name for name in ("fixed.onnx", "free.onnx", "fixed.tflite")}

    def export() -> None:
        example = TOKENS[:1]
        to_onnx.export(network=network, example=example, path=paths["fixed.onnx"])
        to_onnx.export(network=network, example=example, path=paths["free.onnx"], any_length=True)
        to_tflite.export(network=network, example=example, path=paths["fixed.tflite"])

    child.call("the converters", export)
    return paths


def test_an_example_is_whole_where_tokens_are_taken() -> None:
    assert example_of(make_network(), TOKENS, "int32").tolist() == TOKENS.astype(int).tolist()
    assert example_of(make_network(), TOKENS, "int32").dtype == torch.int32
    assert example_of(nn.Linear(6, 1), TOKENS, "int32").dtype == torch.float32


def test_onnx_takes_int64_and_gives_what_the_formula_gives(files: dict[str, Path]) -> None:
    assert [(each.dtype, each.shape) for each in inspect(files["fixed.onnx"]).inputs] == [("int64", (None, 6))]
    session = onnxruntime.InferenceSession(files["fixed.onnx"])
    (found,) = session.run(None, {"input": TOKENS.astype(np.int64)})
    np.testing.assert_allclose(found, by_hand(), atol=1e-5)


def test_onnx_of_any_length_gives_the_same_without_the_pads(files: dict[str, Path]) -> None:
    assert inspect(files["free.onnx"]).inputs[0].shape == (None, None)
    session = onnxruntime.InferenceSession(files["free.onnx"])
    for tokens, expected in zip(TOKENS.astype(np.int64), by_hand(), strict=True):
        for length in {int((tokens > 0).sum()), len(tokens)}:
            (found,) = session.run(None, {"input": tokens[None, :length]})
            np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_tflite_takes_int32_and_gives_what_the_formula_gives(files: dict[str, Path]) -> None:
    interpreter = Interpreter(model_path=str(files["fixed.tflite"]), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], taken["shape"].tolist()) == (np.int32, [1, 6])
    for tokens, expected in zip(TOKENS, by_hand(), strict=True):
        interpreter.set_tensor(taken["index"], tokens[None].astype(np.int32))
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(given["index"])[0], expected, atol=1e-5)


def test_no_constant_is_too_low_for_integers(files: dict[str, Path]) -> None:
    model = onnx.load(str(files["fixed.onnx"]))
    stored = [numpy_helper.to_array(each) for each in model.graph.initializer]
    lowest = [float(each.min()) for each in stored if each.dtype == np.float32]
    tflite = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files["fixed.tflite"].read_bytes(), 0))
    for tensor in tflite.subgraphs[0].tensors:
        data = tflite.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.FLOAT32 and data is not None:
            lowest.append(float(np.frombuffer(bytes(data), "<f4").min()))
    assert sorted(lowest)[:2] == [-1e4, -1e4]
