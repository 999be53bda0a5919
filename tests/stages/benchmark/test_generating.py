"""Language models' files on a target: what is measured of them, and where nothing is."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from edgekd.config import load_target
from edgekd.records import BenchmarkSpec, GenerationSpec, Measurement, Model, Target
from edgekd.stages.benchmark import benchmark, describe_file
from tests import causal

SPEC = BenchmarkSpec(
    time_limit_s=0.05,
    runs=20,
    generation=GenerationSpec(prompt_lengths=(3, 8), new_tokens=6, contexts=(8, 32, 200)),
)
RATES = ("time_to_first_token", "prefill_rate", "decode_rate")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("causal") / "m.onnx"
    return describe_file(causal.write_onnx(causal.random_llama(), path, optimum=True))


def test_a_file_with_a_cache_is_measured_by_the_token(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    assert model.has_cache
    with caplog.at_level(logging.WARNING, "edgekd"):
        measured = benchmark([model], targets=[load_target("host")], spec=SPEC)
    found: dict[str, Measurement] = {each.metric: each for each in measured}
    assert {*RATES, "context_memory", "latency", "peak_memory", "load_time"} <= found.keys()
    first, prefill, decode = (found[name] for name in RATES)
    assert set(first.parts) == set(decode.parts) == {"3", "8"}
    assert len(decode.samples) == 5 * len(first.samples), "the first token of each text is apart"
    seconds = np.array(first.parts, dtype=float) / np.array(prefill.samples)
    np.testing.assert_allclose(seconds, first.samples)
    assert found["context_memory"].parts == ("8", "32")
    assert "a context of 200 tokens: " in caplog.text
    assert "; it is not measured" in caplog.text


def test_a_program_that_feeds_no_cache_measures_nothing(
    model: Model, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(name="bare", description="", runtimes=("onnxruntime",))
    monkeypatch.delattr("edgekd.runtimes.onnxruntime.FEEDS_CACHE")
    with caplog.at_level(logging.WARNING, "edgekd"):
        measured = benchmark([model], targets=[target], spec=SPEC)
    assert {each.target for each in measured} == {"file"}
    assert "gives a language model no cache, so that nothing of it is measured there" in caplog.text


def test_other_files_have_no_cache(shared_data: Path) -> None:
    assert not describe_file(shared_data / "models" / "dtln" / "model_1.onnx").has_cache
