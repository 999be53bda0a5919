"""What optimum writes, held against transformers itself in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from edgekd import child
from edgekd.errors import ModelError
from edgekd.frameworks import optimum
from edgekd.frameworks.transformers import Classifier

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
RANDOM = np.random.default_rng(0)


def vision() -> tuple[Classifier, NDArray[np.float32]]:
    config = transformers.ViTConfig(**SIZES, image_size=8, patch_size=4, num_labels=3)
    network = transformers.ViTForImageClassification(config)
    return Classifier(network, "image", None).eval(), RANDOM.normal(size=(3, 3, 8, 8)).astype(np.float32)


def text(pad: int | None) -> tuple[Classifier, NDArray[np.float32]]:
    # BERT asks for the kinds of tokens, too.
    config = transformers.BertConfig(**SIZES, vocab_size=40, num_labels=3)
    tokens = RANDOM.integers(1, 40, (3, 7)).astype(np.float32)
    tokens[0, 4:] = 0
    return Classifier(transformers.BertForSequenceClassification(config), "text", pad).eval(), tokens


@pytest.mark.slow  # two processes each, that import torch, transformers and optimum
@pytest.mark.parametrize("case", ["image", "text", "text without padding"])
def test_one_input_gives_the_logits_of_transformers_at_any_batch_size(tmp_path: Path, case: str) -> None:
    import onnxruntime

    torch.manual_seed(0)
    classifier, inputs = vision() if case == "image" else text(0 if case == "text" else None)
    child.call("optimum", optimum.write_onnx, classifier, inputs[:1], tmp_path / "a.onnx")
    child.call("optimum", optimum.write_onnx, classifier, inputs[:1], tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    dtype = "tensor(float)" if case == "image" else "tensor(int64)"
    found = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    assert found == [("input", dtype, list(inputs.shape[1:]))]
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(inputs)).numpy()
    ready = inputs if case == "image" else inputs.astype(np.int64)
    for size in (1, 3):
        outputs = session.run(["output"], {"input": ready[:size]})[0]
        np.testing.assert_allclose(outputs, expected[:size], atol=1e-5)


@pytest.mark.slow
def test_texts_of_any_length_give_what_transformers_give(tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    classifier, _ = text(0)
    example = np.ones((1, 7), np.float32)

    def write() -> None:
        optimum.write_onnx(classifier, example, tmp_path / "a.onnx", any_length=True)

    child.call("optimum", write)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    assert session.get_inputs()[0].shape == ["batch_size", "length"]
    for batch, length in ((1, 3), (2, 7), (3, 20)):
        tokens = RANDOM.integers(1, 40, (batch, length))
        tokens[0, 2:] = 0
        with torch.inference_mode():
            expected = classifier(torch.from_numpy(tokens)).numpy()
        np.testing.assert_allclose(session.run(["output"], {"input": tokens})[0], expected, atol=1e-5)


def test_an_architecture_that_it_does_not_know_is_left_to_torch(tmp_path: Path) -> None:
    config = transformers.FNetConfig(hidden_size=16, num_hidden_layers=1, intermediate_size=32, vocab_size=40)
    classifier = Classifier(transformers.FNetForSequenceClassification(config), "text", 0).eval()
    tokens = np.ones((1, 7), np.float32)
    assert not classifier.write_onnx(tokens, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match=r"a\.onnx: optimum does not export fnet"):
        optimum.write_onnx(classifier, tokens, tmp_path / "a.onnx")
