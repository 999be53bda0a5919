"""A model file of one's own, packaged without a recipe."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from edgekd.config import load_target
from edgekd.errors import DataError, ModelError
from edgekd.pipeline import FileFacts, package_file
from edgekd.records import PackagerTerm, PackageSpec

MODELS = "models"
CARD = PackageSpec(packagers=(PackagerTerm(name="model_card"),))


def test_what_the_file_does_not_say_is_taken_from_the_user(shared_data: Path, tmp_path: Path) -> None:
    facts = FileFacts(scale=1 / 255, mean=(0.5,), std=(0.25,), raw_range=(0, 255), head="probabilities")
    spec = PackageSpec(packagers=CARD.packagers, title="ResNet-8", content="image")
    path = shared_data / MODELS / "mlperf_tiny/image_classification/pretrainedResnet.tflite"
    made = package_file(path, folder=tmp_path, spec=spec, facts=facts)
    assert [file.path for file in made.files] == ["README.md"]
    card = (tmp_path / "README.md").read_text()
    # ((x / 255) - 0.5) / 0.25, in raw values
    assert "Normalization: (x - 127.5) / 63.75." in card
    assert "Content: image, raw values from 0 to 255." in card


def test_a_file_that_the_chip_does_not_run_gets_no_sources_and_says_why(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / MODELS / "dtln/model_quant_1.tflite"
    made = package_file(path, folder=tmp_path, spec=PackageSpec(), targets=[load_target("cortex-m4")])
    assert "c_source" not in {file.packager for file in made.files}
    assert "| error | cortex-m4 |" in (tmp_path / "README.md").read_text()
    assert "Nothing was measured" not in (tmp_path / "README.md").read_text()


def test_a_chip_that_is_too_small_is_a_line(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tiny.toml").write_text('description = "2 kB"\nruntimes = ["tflite_micro"]\nram_bytes = 2048\n')
    path = shared_data / MODELS / "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
    with caplog.at_level(logging.WARNING, logger="edgekd"):
        made = package_file(
            path, folder=tmp_path, spec=PackageSpec(), targets=[load_target(str(tmp_path / "tiny.toml"))]
        )
    assert "the target has 2048 bytes of RAM" in caplog.text
    assert {"c_source", "model_card"} <= {file.packager for file in made.files}


def test_samples_that_do_not_fit_are_refused(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / MODELS / "mlperf_tiny/image_classification/pretrainedResnet.tflite"
    for samples, message in (
        (np.zeros((4, 16, 16, 3), np.float32), "one sample is"),
        (np.full((4, 32, 32, 3), np.nan, np.float32), "not finite"),
    ):
        with pytest.raises(DataError, match=message):
            package_file(path, folder=tmp_path, spec=CARD, samples=samples)
    (tmp_path / "no.tflite").write_bytes(b"TFL3 or not")
    with pytest.raises(ModelError):
        package_file(tmp_path / "no.tflite", folder=tmp_path, spec=CARD)
