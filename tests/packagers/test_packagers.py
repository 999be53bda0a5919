"""What every packager must do."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edgekd import registry
from edgekd.errors import EdgekdError, ExportError
from edgekd.records import Cargo
from tests.packagers.texts import cargo_of, write_tflite

NAMES = registry.names("packagers")


def pack(name: str, cargo: Cargo, folder: Path, **options: Any) -> tuple[Path, ...]:
    return registry.function("packagers", name)(cargo=cargo, folder=folder, **options)  # type: ignore[no-any-return]


def cargo_for(name: str, onnx_cargo: Cargo, int8_resnet: Cargo, folder: Path) -> Cargo:
    packager = registry.load("packagers", name)
    formats = packager.FORMATS
    if name == "vela":
        pytest.importorskip("ethosu")
    if getattr(packager, "SUITS", None) == "text":
        return cargo_of(write_tflite(folder / "m.tflite"))
    return int8_resnet if "tflite" in formats else onnx_cargo


@pytest.mark.parametrize("name", NAMES)
def test_same_cargo_gives_the_same_files_and_nothing_else(
    name: str, onnx_cargo: Cargo, int8_resnet: Cargo, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cargo = cargo_for(name, onnx_cargo, int8_resnet, tmp_path_factory.mktemp(name))
    if name == "ort" and not registry.load("packagers", "ort")._fixed_addresses():
        pytest.skip("`setarch -R` does not work here, and the converter's order follows addresses")
    first, second = (pack(name, cargo, tmp_path / each) for each in ("first", "second"))
    assert [each.name for each in first] == [each.name for each in second]
    assert [each.read_bytes() for each in first] == [each.read_bytes() for each in second]
    assert sorted((tmp_path / "first").rglob("*")) == sorted(first)
    assert str(tmp_path).encode() not in b"".join(each.read_bytes() for each in first)


@pytest.mark.parametrize("name", NAMES)
def test_file_of_another_format_is_refused(name: str, onnx_cargo: Cargo, tmp_path: Path) -> None:
    cargo = dataclasses.replace(onnx_cargo, model=dataclasses.replace(onnx_cargo.model, format="torch"))
    with pytest.raises(ExportError, match=f"{name} takes no torch files") as caught:
        pack(name, cargo, tmp_path)
    assert caught.value.next_step
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted({*NAMES} - {"model_card", "ort", "tokenizer", "vela"}))
def test_labels_of_another_count_than_outputs_are_refused(
    name: str, onnx_cargo: Cargo, int8_resnet: Cargo, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cargo = cargo_for(name, onnx_cargo, int8_resnet, tmp_path_factory.mktemp(name))
    with pytest.raises(EdgekdError, match=r"3 labels for \d+ outputs"):
        pack(name, dataclasses.replace(cargo, labels=("a", "b", "c")), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_file_that_is_gone_is_refused(
    name: str, onnx_cargo: Cargo, int8_resnet: Cargo, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cargo = cargo_for(name, onnx_cargo, int8_resnet, tmp_path_factory.mktemp(name))
    gone = dataclasses.replace(cargo.model, path=tmp_path / "gone" / cargo.model.path.name)
    with pytest.raises(ExportError, match="no such file"):
        pack(name, dataclasses.replace(cargo, model=gone), tmp_path)
