"""Language models in the runner: files with a cache, as torch computes them, by the names of several exporters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import causal
from tests.test_runner import one, run

LENGTHS = {"prompt_lengths": [3, 12], "new_tokens": 16, "contexts": [8, 32], "time_limit_s": 0.01}
LLAMA = causal.random_llama()
NAMED = ("edgekd", "optimum", "last")
PROMPT = [1, 9, 4, 20, 3, 3, 17, 2, 11, 30, 5, 8]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("causal")
    return {
        "edgekd": causal.write_onnx(LLAMA, folder / "edgekd.onnx"),
        "optimum": causal.write_onnx(LLAMA, folder / "optimum.onnx", optimum=True),
        "last": causal.write_onnx(LLAMA, folder / "last.onnx", last_only=True),
    }


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal.write_litert(LLAMA, tmp_path_factory.mktemp("causal") / "tiny.tflite", (8,))


def texts(folder: Path, windows: Any) -> Path:
    path = folder / "windows.npy"
    np.save(path, np.asarray(windows, dtype=np.float32))
    return path


def check_generation(events: list[dict[str, Any]]) -> None:
    found = [each for each in events if each["event"] == "generation"]
    assert [each["prompt_length"] for each in found] == [3, 12]
    for each in found:
        assert each["tokens"] == LLAMA.greedy(PROMPT[: each["prompt_length"]], 16)
        assert len(each["ns"]) >= 3
        assert all(len(text) == 16 and min(text) > 0 for text in [each["warmup_ns"], *each["ns"]])


def expected_nats(windows: np.ndarray) -> list[float]:
    """In float64, from logits without any cache."""
    found = []
    for window in torch.tensor(windows):
        with torch.no_grad():
            logits = LLAMA(window[None, :-1])[0].double()
        found.append(float(torch.nn.functional.cross_entropy(logits, window[1:])))
    return found


@pytest.mark.parametrize("name", NAMED)
def test_texts_are_those_of_torch_without_a_cache(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    assert len(set(LLAMA.greedy(PROMPT, 16))) > 3, "a model that says always the same would prove little"
    inputs = texts(tmp_path, [PROMPT])
    code, events = run(tmp_path, engine="onnxruntime", mode="generate", model=files[name], inputs=inputs, **LENGTHS)
    assert code == 0
    check_generation(events)


@pytest.mark.parametrize("name", NAMED)
def test_likelihoods_are_those_of_torch(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 32, (3, 20))
    inputs = texts(tmp_path, windows)
    _, events = run(tmp_path, engine="onnxruntime", mode="likelihood", model=files[name], inputs=inputs)
    told = one(events, "likelihood")
    assert told["counts"] == [19, 19, 19]
    np.testing.assert_allclose(told["nats"], expected_nats(windows), rtol=2e-6)


def test_an_inference_is_one_token_after_a_prompt(files: dict[str, Path], tmp_path: Path) -> None:
    _, events = run(tmp_path, engine="onnxruntime", model=files["optimum"], **LENGTHS)
    assert len(one(events, "samples")["ns"]) == 5
    assert one(events, "first_inference")["ns"] > 0


def test_memory_grows_with_the_cache(files: dict[str, Path], tmp_path: Path) -> None:
    _, events = run(tmp_path, engine="onnxruntime", mode="contexts", model=files["edgekd"], **LENGTHS)
    found = [each for each in events if each["event"] == "context"]
    assert [each["length"] for each in found] == [8, 32]
    assert 0 < found[0]["added_bytes"] <= found[1]["added_bytes"]


def test_a_length_that_a_file_can_not_do_is_said_and_the_others_go_on(files: dict[str, Path], tmp_path: Path) -> None:
    job = {**LENGTHS, "contexts": [8, 200]}  # its positions end at 64, and only its arithmetic knows
    code, events = run(tmp_path, engine="onnxruntime", mode="contexts", model=files["edgekd"], **job)
    assert code == 0
    assert one(events, "context")["length"] == 8
    assert one(events, "warning")["message"].startswith("a context of 200 tokens: ")


@pytest.mark.parametrize(
    ("windows", "words"),
    [([[1, 2, 40]], "tokens past the model's 32"), ([[1]], "texts of shape (1, 1), not (N, tokens), 2 or more")],
)
def test_texts_that_do_not_fit_are_refused(
    files: dict[str, Path], tmp_path: Path, windows: list[list[int]], words: str
) -> None:
    inputs = texts(tmp_path, windows)
    code, events = run(tmp_path, engine="onnxruntime", mode="likelihood", model=files["edgekd"], inputs=inputs)
    assert code == 1
    assert one(events, "error")["kind"] == "inputs_unfit"
    assert words in one(events, "error")["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "cached"), [("litert", True), ("litert", False), ("litert_compiled_model", True), ("tensorflow", True)]
)
def test_litert_gives_the_same(tflite: Path, tmp_path: Path, engine: str, cached: bool) -> None:
    """By buffers that stay where they are, and by an interpreter that copies them."""
    job: dict[str, Any] = {"engine": engine, "cached": cached, "model": tflite, **LENGTHS}
    _, events = run(tmp_path, mode="generate", inputs=texts(tmp_path, [PROMPT]), **job)
    check_generation(events)
    assert ("CompiledModel" in one(events, "load")["delegate"]) == (cached and engine != "tensorflow")
    windows = np.random.default_rng(0).integers(0, 32, (2, 21))
    _, events = run(tmp_path, mode="likelihood", inputs=texts(tmp_path, windows), **job)
    np.testing.assert_allclose(one(events, "likelihood")["nats"], expected_nats(windows), rtol=1e-5)
    _, events = run(tmp_path, mode="contexts", **{**job, "contexts": [8, 64, 65]})
    assert [each["length"] for each in events if each["event"] == "context"] == [8, 64]
    assert "its cache has room for 64" in one(events, "warning")["message"]


def test_stories_are_told_as_they_were_published(shared_data: Path, tmp_path: Path) -> None:
    """Of a model that nobody here trained, token by token as torch does without a cache."""
    llama = causal.read_llama(shared_data / "lm_stories260k" / "stories260K.bin")
    model = causal.write_onnx(llama, tmp_path / "stories.onnx")
    job = {"prompt_lengths": [1], "new_tokens": 200, "time_limit_s": 0.01}
    _, events = run(tmp_path, engine="onnxruntime", mode="generate", model=model, inputs=texts(tmp_path, [[1]]), **job)
    tokens = one(events, "generation")["tokens"]
    assert tokens == llama.greedy([1], 200)
    words = read_vocabulary(shared_data / "lm_stories260k" / "tok512.bin")
    text = "".join(words[each] for each in tokens).lstrip().replace("<0x0A>", "\n")
    published = (shared_data / "lm_stories260k" / "stories260K.md").read_text(encoding="utf-8")
    assert text in published


def read_vocabulary(path: Path) -> list[str]:
    """Of llama2.c: the longest length, then of each token a score, a length, and its text."""
    content, words, at = path.read_bytes(), [], 4
    while at < len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        words.append(content[at + 8 : at + 8 + length].decode("utf-8", "replace"))
        at += 8 + length
    return words
