"""ONNX metadata, as ONNX Runtime gives it back."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tokenizers import Tokenizer

from edgekd.errors import ModelError
from edgekd.packagers.onnx_metadata import pack
from edgekd.records import Cargo
from tests.packagers import texts


def test_session_gives_labels_and_normalization_back(onnx_cargo: Cargo, tmp_path: Path) -> None:
    model = dataclasses.replace(onnx_cargo.model, parent_sha256="ab" * 32)
    (path,) = pack(cargo=dataclasses.replace(onnx_cargo, model=model, description="Insects."), folder=tmp_path)
    meta = onnxruntime.InferenceSession(path).get_modelmeta()
    found = meta.custom_metadata_map
    assert json.loads(found["labels"]) == list(onnx_cargo.labels)
    # (x / 255 - mean) / std is (x - 255 mean) / (255 std).
    np.testing.assert_allclose(json.loads(found["input_mean"]), 255 * np.array([0.485, 0.456, 0.406]), rtol=1e-12)
    np.testing.assert_allclose(json.loads(found["input_std"]), 255 * np.array([0.229, 0.224, 0.225]), rtol=1e-12)
    assert found["parent_sha256"] == "ab" * 32
    assert (found["licence"], found["content"], found["output"]) == ("Apache-2.0", "image", "logits")
    assert meta.description == "Insects."


def test_graph_gives_the_same_outputs(onnx_cargo: Cargo, tmp_path: Path) -> None:
    (path,) = pack(cargo=onnx_cargo, folder=tmp_path)
    inputs = {"input": np.random.default_rng(1).normal(size=(3, 3, 4, 4)).astype(np.float32)}
    before, after = (onnxruntime.InferenceSession(each).run(None, inputs)[0] for each in (onnx_cargo.model.path, path))
    np.testing.assert_array_equal(before, after)
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_what_is_not_known_is_left_out_and_keys_of_others_stay(onnx_cargo: Cargo, tmp_path: Path) -> None:
    foreign = onnx.load(onnx_cargo.model.path)
    onnx.helper.set_model_props(foreign, {"stages": "7", "licence": "of before"})
    onnx.save(foreign, tmp_path / "foreign.onnx")
    model = dataclasses.replace(onnx_cargo.model, path=tmp_path / "foreign.onnx")
    (path,) = pack(cargo=dataclasses.replace(onnx_cargo, model=model, labels=()), folder=tmp_path / "out")
    found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert found["stages"] == "7"
    assert found["licence"] == "Apache-2.0"
    assert {"labels", "author", "parent_sha256", "version"}.isdisjoint(found)


def test_damaged_file_is_an_error(onnx_cargo: Cargo, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match="damaged"):
        pack(
            cargo=dataclasses.replace(onnx_cargo, model=dataclasses.replace(onnx_cargo.model, path=damaged)),
            folder=tmp_path,
        )


def test_texts_bring_their_tokenizer_and_no_mean(tmp_path: Path) -> None:
    (path,) = pack(cargo=texts.cargo_of(texts.write_onnx(tmp_path / "m.onnx")), folder=tmp_path)
    found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert Tokenizer.from_str(found["tokenizer"]).encode("the film").ids == [2, 5, 6, 3, *[0] * 8]
    assert (found["length"], found["pad"], found["content"]) == ("12", "0", "text")
    assert not {"input_mean", "input_std"} & found.keys()
