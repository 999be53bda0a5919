"""Files of causal language models: a real one makes the text that it makes in transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.records import CorrectionTerm, ExportSpec, Format
from edgekd.stages.export import Exported, export, export_given
from tests.stories import greedy, load_stories, words_of

TOKENS = 200
WEIGHTS = ("fp32", "dynamic_wi8_afp32", "weight_only_wi8_afp32", "weight_only_wi4_afp32")


def generate_with_onnx(path: Path, count: int) -> list[int]:
    session = onnxruntime.InferenceSession(path)
    pasts = {each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), "f") for each in session.get_inputs()[1:]}
    text = [1]
    for _ in range(count):
        logits, *present = session.run(None, {"input": np.array([text[-1:]]), **pasts})
        pasts = dict(zip(pasts, present, strict=True))
        text.append(int(logits[0, -1].argmax()))
    return text


def generate_with_litert(path: Path, count: int, prompt: list[int]) -> list[int]:
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    decode = interpreter.get_signature_runner("decode")
    prefill = interpreter.get_signature_runner("prefill_32")
    caches: dict[str, Any] = {
        name: np.zeros(each["shape"], "f")
        for name, each in decode.get_input_details().items()
        if name.startswith("kv_cache_")
    }
    filled = np.zeros((1, 32), np.int32)
    filled[0, : len(prompt)] = prompt
    given = prefill(tokens=filled, positions=np.arange(32, dtype=np.int32), **caches)
    text = [*prompt, int(given.pop("logits")[0, len(prompt) - 1].argmax())]
    while len(text) <= count:
        numbers = np.array([len(text) - 1], np.int32)
        given = decode(tokens=np.array([text[-1:]], np.int32), positions=numbers, **given)
        text.append(int(given.pop("logits")[0, -1].argmax()))
    return text


@pytest.fixture(scope="module")
def stories(shared_data: Path) -> tuple[Any, list[int]]:
    network = load_stories(shared_data)
    text = greedy(network, TOKENS)
    published = (shared_data / "lm_stories260k/stories260K.md").read_text()
    words = words_of(shared_data)
    made = b"".join(words[each] for each in text[1:]).replace(b"<0x0A>", b"\n").decode().strip()
    # Else there is nothing to be held against.
    assert made[:400] in published
    return network, text


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def exported(
    request: pytest.FixtureRequest, stories: tuple[Any, list[int]], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    network, text = stories
    windows = np.array([text[start : start + 40] for start in range(0, 160, 20)], np.float32)
    formats: tuple[Format, ...] = (request.param,)
    return export(
        network,
        folder=tmp_path_factory.mktemp(request.param),
        spec=ExportSpec(formats=formats, precisions=WEIGHTS, context=256),  # type: ignore[arg-type]  # one of both
        calibration=windows,
        check=windows[:, :32] if request.param == "tflite" else windows,
        task="next_token",
        name="stories",
    )


@pytest.mark.slow
def test_every_file_is_known_to_keep_a_cache(exported: Exported) -> None:
    assert all(each.has_cache for each in exported.models)


@pytest.mark.slow
def test_a_file_makes_the_text_of_transformers(exported: Exported, stories: tuple[Any, list[int]]) -> None:
    network, text = stories
    file = exported.models[0]
    if file.format == "onnx":
        made = generate_with_onnx(file.path, TOKENS)
        names = [each.name for each in (*file.inputs[:2], *file.outputs[:2])]
        assert names == ["input", "past_key_0", "logits", "present_key_0"]
    else:
        made = generate_with_litert(file.path, TOKENS, text[:5])
    assert made == text
    # The student itself is as it was: it still makes its text by its own cache.
    assert greedy(network, 20) == text[:21]


@pytest.mark.slow
def test_weights_of_fewer_bits_are_smaller_and_predict_nearly_the_same(exported: Exported) -> None:
    sizes = {each.precision: each.size_bytes for each in exported.models}
    agreement = {
        each.precision: float(np.mean(each.samples)) for each in exported.measurements if each.metric == "parity"
    }
    assert agreement["fp32"] == 1.0
    for precision, least, share in (
        ("dynamic_wi8_afp32", 0.9, 0.5),
        ("weight_only_wi8_afp32", 0.95, 0.5),
        ("weight_only_wi4_afp32", 0.7, 0.4),
    ):
        assert agreement[precision] >= least
        assert sizes[precision] < share * sizes["fp32"]


@pytest.mark.slow
def test_a_file_alone_becomes_what_the_student_became(
    exported: Exported, stories: tuple[Any, list[int]], tmp_path: Path
) -> None:
    made = export_given(
        str(exported.models[0].path),
        samples=np.array([stories[1][start : start + 24] for start in range(0, 64, 16)], np.float32),
        folder=tmp_path,
        spec=ExportSpec(precisions=("weight_only_wi8_afp32",)),
    )
    (parity,) = (each for each in made.measurements if each.metric == "parity")
    # Of each token.
    assert len(parity.samples) == 4 * 24
    assert float(np.mean(parity.samples)) >= 0.95
    other = next(each for each in exported.models if each.precision == "weight_only_wi8_afp32")
    assert made.models[0].size_bytes == pytest.approx(other.size_bytes, rel=0.02)
    assert [each.name for each in made.models[0].inputs] == [each.name for each in other.inputs]


@pytest.mark.slow
def test_a_folder_of_transformers_becomes_a_file(stories: tuple[Any, list[int]], tmp_path: Path) -> None:
    network, text = stories
    network.save_pretrained(tmp_path / "own")
    made = export_given(
        str(tmp_path / "own"),
        samples=np.array([text[:24]], np.float32),
        folder=tmp_path / "made",
        spec=ExportSpec(formats=("onnx",), precisions=("fp32",)),
        task="next_token",
    )
    assert made.models[0].name == "own.fp32.onnx"
    assert generate_with_onnx(made.models[0].path, 60) == text[:61]
    with pytest.raises(DataError, match="token 512; allowed: 0 to 511"):
        export_given(
            str(tmp_path / "own"),
            samples=np.full((1, 24), 512, np.float32),
            folder=tmp_path,
            spec=ExportSpec(precisions=("fp32",)),
            task="next_token",
        )


LLAMA = transformers.LlamaConfig(
    vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
)


@pytest.mark.parametrize(
    ("network", "spec", "length", "error", "message"),
    [
        (None, ExportSpec(precisions=("static_wi8_ai8",)), 16, ConfigError, r"precisions = \['static_wi8_ai8'"),
        (None, ExportSpec(precisions=("fp32",), head="class"), 16, ConfigError, r"head = \['class'\] of a causal"),
        (
            None,
            ExportSpec(precisions=("fp32",), corrections=(CorrectionTerm(name="rounding"),)),
            16,
            ConfigError,
            r"corrections = \['rounding'\] of a causal",
        ),
        (None, ExportSpec(precisions=("fp32",)), 8, DataError, r"windows of 8 tokens; allowed: more than 8"),
        (nn.Linear(16, 2), ExportSpec(precisions=("fp32",)), 16, ModelError, r"Linear holds no decoder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    network: nn.Module | None, spec: ExportSpec, length: int, error: type[Exception], message: str, tmp_path: Path
) -> None:
    windows = np.ones((2, length), np.float32)
    torch.manual_seed(0)
    student = network or transformers.LlamaForCausalLM(LLAMA)
    with pytest.raises(error, match=message):
        export(student, folder=tmp_path, spec=spec, calibration=windows, check=windows, task="next_token")
    assert not list(tmp_path.iterdir())
