"""The model card, as huggingface_hub reads it."""

import dataclasses
from pathlib import Path

import pytest

from edgekd.packagers.model_card import pack
from edgekd.records import Cargo, Figure
from tests.packagers import texts

FIGURES = (
    Figure(name="accuracy", value="87.00 %", target="host", number=0.87),
    Figure(name="latency p90", value="117.6 µs", target="cortex-m4 | emulated", basis="emulated", number=1.176e-4),
    Figure(name="drop", value="0.4 pt"),
)


def card(cargo: Cargo, folder: Path):  # type: ignore[no-untyped-def]
    hub = pytest.importorskip("huggingface_hub")
    (path,) = pack(cargo=cargo, folder=folder)
    assert path.name == "README.md"
    return hub.ModelCard.load(path)


def test_front_matter_has_licence_library_task_and_measured_results(onnx_cargo: Cargo, tmp_path: Path) -> None:
    found = card(dataclasses.replace(onnx_cargo, figures=FIGURES, dataset="insects", teachers=("resnet56",)), tmp_path)
    assert (found.data.license, found.data.library_name) == ("apache-2.0", "onnx")
    assert found.data.pipeline_tag == "image-classification"
    assert set(found.data.tags) == {"edgekd", "onnx", "fp32", "distillation"}
    # Emulated figures are no results.
    (result,) = found.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", 0.87, "insects")


def test_text_has_figures_with_target_and_basis(onnx_cargo: Cargo, tmp_path: Path) -> None:
    text = card(dataclasses.replace(onnx_cargo, figures=FIGURES, arena_bytes=6800), tmp_path).text
    assert "| accuracy | 87.00 % | host | measured |" in text
    assert r"| latency p90 | 117.6 µs | cortex-m4 \| emulated | emulated |" in text
    assert "| TFLite Micro arena | 6800 B |" in text
    assert "(x - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375), for each channel" in text
    assert onnx_cargo.model.sha256 in text


@pytest.mark.parametrize("title", ['My: "model"', "- item", "{a: b}", "yes", "# no comment", "---"])
def test_no_title_breaks_the_front_matter(title: str, onnx_cargo: Cargo, tmp_path: Path) -> None:
    cargo = dataclasses.replace(onnx_cargo, title=title, licence="LicenseRef: 'mine'", figures=FIGURES, dataset=title)
    found = card(cargo, tmp_path)
    assert found.data.model_name == title
    assert found.data.eval_results[0].dataset_name == title
    assert found.data.license == "licenseref: 'mine'"


def test_what_nobody_stated_is_called_so(onnx_cargo: Cargo, tmp_path: Path) -> None:
    found = card(dataclasses.replace(onnx_cargo, licence=""), tmp_path)
    assert found.data.license is None
    for heading in ("Figures", "Data", "Teachers", "Limits", "Licence"):
        section = found.text.split(f"## {heading}\n")[1].split("##")[0]
        assert "Not stated" in section or "Nothing was measured" in section or "not stated" in section


def test_recipe_front_end_and_limits_are_told(onnx_cargo: Cargo, tmp_path: Path) -> None:
    cargo = dataclasses.replace(
        onnx_cargo, recipe='name = "insects"\n', front_end={"rate": "8000 Hz", "bins": 40}, limits="Not for spiders."
    )
    text = card(cargo, tmp_path).text
    assert '```toml\nname = "insects"\n```' in text
    assert "- Front end, bins: 40.\n- Front end, rate: 8000 Hz." in text
    assert "## Limits\n\nNot for spiders.\n" in text


def test_texts_say_what_makes_tokens_of_them(tmp_path: Path) -> None:
    (path,) = pack(cargo=texts.cargo_of(texts.write_onnx(tmp_path / "m.onnx")), folder=tmp_path)
    card = path.read_text()
    assert 'pipeline_tag: "text-classification"' in card
    assert "- Tokens: 14 tokens, 12 of them, filled up with 0; tokenizer.json (WordPiece) makes them of a text." in card
    assert "none: tokens go in" in card
