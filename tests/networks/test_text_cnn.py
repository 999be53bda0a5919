"""Convolutions over words: against loops in NumPy, and as files for microcontrollers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekd.errors import ConfigError
from edgekd.networks import text_cnn
from edgekd.records import ExportSpec, Tokens
from edgekd.stages.export import export

SMALL: dict[str, Any] = {"classes": 3, "input_shape": (8,), "tokens": Tokens(vocabulary=60, pad=0), "width": 5}
TEXTS = torch.tensor([[5, 7, 59, 3, 1, 2, 8, 9], [9, 8, 7, 0, 0, 0, 0, 0]])


def test_equals_the_formula() -> None:
    network = text_cnn.build(**SMALL, kernels=(1, 3), embedding=4).eval().double()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    table = state["embedding.weight"]
    assert not table[0].any(), "padding says nothing"
    found = []
    for text in TEXTS.numpy():
        words, strongest = table[text], []
        for index, kernel in enumerate((1, 3)):
            weight, bias = state[f"convolutions.{index}.weight"][:, :, 0], state[f"convolutions.{index}.bias"]
            answers = [
                np.maximum(np.einsum("okt,tk->o", weight.transpose(0, 1, 2), words[at : at + kernel]) + bias, 0)
                for at in range(8 - kernel + 1)
            ]
            strongest.append(np.max(answers, axis=0))
        found.append(state["linear.weight"] @ np.concatenate(strongest) + state["linear.bias"])
    np.testing.assert_allclose(network(TEXTS).detach().numpy(), found, rtol=1e-10)


@pytest.mark.parametrize("buckets", [None, 20])
def test_floats_and_integers_are_the_same_tokens(buckets: int | None) -> None:
    network = text_cnn.build(**SMALL, buckets=buckets).eval()
    assert torch.equal(network(TEXTS), network(TEXTS.float()))
    assert torch.equal(network(TEXTS), network(TEXTS.int()))
    assert network.takes_tokens


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernels": ()}, "allowed: one or more, of 1 to 8 tokens"),
        ({"kernels": (9,)}, "allowed: one or more, of 1 to 8 tokens"),
        ({"buckets": 1}, "buckets = 1; allowed: 2 to 16129"),
        ({"dropout": -0.1}, "dropout = -0.1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        text_cnn.build(**{**SMALL, **options})
    assert words in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("vocabulary", "buckets"), [(5000, None), (30_522, 2048)])
def test_its_integer_file_runs_in_tflite_micro(tmp_path: Path, vocabulary: int, buckets: int | None) -> None:
    runtime = pytest.importorskip("tflite_micro").runtime
    from ai_edge_litert.interpreter import Interpreter

    torch.manual_seed(0)
    tokens = Tokens(vocabulary=vocabulary, pad=0)
    network = text_cnn.build(classes=4, input_shape=(32,), tokens=tokens, buckets=buckets).eval()
    texts = np.random.default_rng(0).integers(1, vocabulary, (80, 32)).astype(np.float32)
    texts[::3, 20:] = 0
    spec = ExportSpec(formats=("tflite",), precisions=("static_wi8_ai8",), io="int8")
    (model,) = export(network, folder=tmp_path, spec=spec, calibration=texts[40:], check=texts[:40]).models
    content = model.path.read_bytes()
    assert len(content) <= 256_000
    interpreter = Interpreter(str(model.path))
    interpreter.allocate_tensors()
    given, gives = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    on_micro = runtime.Interpreter.from_bytes(content, arena_size=200_000)
    found, wanted = [], []
    for text in texts.astype(np.int32)[:40, None]:
        interpreter.set_tensor(given["index"], text)
        interpreter.invoke()
        on_micro.set_input(text, 0)
        on_micro.invoke()
        found.append(interpreter.get_tensor(gives["index"])[0].astype(int))
        assert np.abs(found[-1] - on_micro.get_output(0)[0]).max() <= 2
        wanted.append(network(torch.from_numpy(text))[0].detach().numpy())
    # With a wrong row of a table nothing would be alike.
    assert np.corrcoef(np.ravel(found), np.ravel(wanted))[0, 1] > 0.95
