"""Hugging Face's library on local files, which needs no network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.datasets import fingerprint_of, open_dataset
from edgekd.datasets.huggingface import load
from edgekd.errors import ConfigError, DataError
from edgekd.records import DataSpec

# datasets 4.8 leaves the closing of CSV files to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

pd = pytest.importorskip("pandas")  # has no types

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library prepares goes away with the test, and nothing is asked of the network."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = RANDOM.integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


def frame(count: int = 40) -> Any:
    return pd.DataFrame(
        {
            "a": np.arange(count) * 0.5,
            "b": np.arange(count),
            "kind": ["x", "y"] * (count // 2),
            "who": [f"p{number // 8}" for number in range(count)],
        }
    )


def test_a_folder_of_pictures_is_what_pillow_reads(pictures: Path) -> None:
    source = load(path="imagefolder", folder=pictures, inputs=("image",), labels=("label",), test_split="test", size=16)
    assert source.classes == ("cat", "dog")
    assert source.scale == 1 / 255
    assert source.train.inputs.shape == (12, 3, 16, 16)
    assert source.train.inputs.dtype == np.uint8
    assert source.test is not None
    assert np.bincount(source.test.labels).tolist() == [2, 2]
    wanted = {
        (name, np.asarray(Image.open(file)).tobytes())
        for name in ("cat", "dog")
        for file in (pictures / "train" / name).iterdir()
    }
    found = zip(source.train.labels, source.train.inputs, strict=True)
    assert {(source.classes[label], pixels.transpose(1, 2, 0).tobytes()) for label, pixels in found} == wanted


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_tables_are_what_pandas_wrote(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"own.{kind}"
    write = {
        "csv": lambda: frame().to_csv(file, index=False),
        "json": lambda: frame().to_json(file, orient="records", lines=True),
        "parquet": lambda: frame().to_parquet(file),
    }
    write[kind]()
    options: dict[str, Any] = {"path": kind, "file": file, "inputs": ("a", "b"), "labels": ("kind",), "group": "who"}
    data = open_dataset(DataSpec(source="huggingface", options=options))
    assert data.classes == ("x", "y")
    for split in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(split.inputs, frame()[["a", "b"]].to_numpy(np.float32)[split.positions])
        np.testing.assert_array_equal(split.labels, (frame()["kind"] == "y").to_numpy()[split.positions])
    groups = [set(frame()["who"].iloc[split.positions]) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, groups)) == 5
    first = fingerprint_of(DataSpec(source="huggingface", options=options))
    moved = shutil.copy(file, tmp_path / f"moved.{kind}")
    assert fingerprint_of(DataSpec(source="huggingface", options={**options, "file": Path(moved)})) == first
    assert fingerprint_of(DataSpec(source="huggingface", options={**options, "inputs": ("b", "a")})) != first


def test_lists_of_numbers_are_inputs_and_labels(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [[1.0, 2.0, 3.0]] * 4, "y": [[0, 1]] * 4, "z": [0.5, 1.5, 2.5, 3.5]})
    table.to_parquet(tmp_path / "own.parquet")
    options: dict[str, Any] = {"path": "parquet", "file": tmp_path / "own.parquet", "inputs": ("x",)}
    source = load(**options, labels=("y",), task="multi_label", train_split="train[:50%]")
    assert source.train.inputs.tolist() == [[1, 2, 3]] * 2
    assert source.train.labels.tolist() == [[0, 1]] * 2
    assert source.classes == ("0", "1")
    source = load(**options, labels=("z",), task="regression")
    assert source.train.labels.tolist() == [[0.5], [1.5], [2.5], [3.5]]
    assert source.classes == ("z",)


def test_what_can_t_be_used_says_why(tmp_path: Path, pictures: Path) -> None:
    frame().to_csv(tmp_path / "own.csv", index=False)
    good: dict[str, Any] = {"path": "csv", "file": tmp_path / "own.csv", "inputs": ("a",), "labels": ("kind",)}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"inputs": ("aa",)}, "no column 'aa'; allowed: a, b, kind, who"),
        ({"inputs": ("a", "who")}, "column 'a'; allowed: numbers"),
        ({"labels": ("knid",)}, "did you mean 'kind'"),
        ({"classes": ("x",)}, "label 'y' is no class"),
        ({"train_split": "training"}, "can't load split 'training'"),
        ({"file": tmp_path / "nowhere.csv"}, "can't load split 'train'"),
        ({"path": "no-such/dataset-at-all", "file": None}, "can't load split 'train'"),
        ({"task": "regression"}, "column 'kind'; allowed: numbers"),
    ]
    for change, words in wrong:
        with pytest.raises(DataError, match=words) as caught:
            load(**{**good, **change})
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="folder, file and test_file"):
        load(**{**good, "folder": pictures})
    with pytest.raises(ConfigError, match="2 label columns for single_label"):
        load(**{**good, "labels": ("kind", "who")})
    (pictures / "train" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a readable picture"):
        load(path="imagefolder", folder=pictures, inputs=("image",), labels=("label",), size=16)


def test_columns_of_texts_become_tokens(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    rows = [{"title": f"word{n}", "body": "good" if n % 2 else "bad", "label": n % 2} for n in range(40)]
    pd.DataFrame(rows).to_json(tmp_path / "own.json", orient="records", lines=True)
    pd.DataFrame(rows[:6]).to_json(tmp_path / "final.json", orient="records", lines=True)
    options = {
        "path": "json",
        "file": tmp_path / "own.json",
        "test_file": tmp_path / "final.json",
        "inputs": ("title", "body"),
        "labels": ("label",),
        "kind": "word",
        "length": 5,
    }
    data = open_dataset(DataSpec(source="huggingface", validation=0.25, options=options))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [30, 10, 6]
    assert data.tokens is not None
    known = json.loads(data.tokens.tokenizer)["model"]["vocab"]
    assert (data.train.inputs[:, 2] == np.where(data.train.labels, known["good"], known["bad"])).all()
    assert (data.validation.inputs[:, 1] == known["[UNK]"]).all(), "words of other splits are not learned"
    rows[3]["title"] = rows[3]["body"] = ""
    pd.DataFrame(rows).to_json(tmp_path / "own.json", orient="records", lines=True)
    with pytest.raises(DataError, match="sample 3 of 'train': an empty text"):
        open_dataset(DataSpec(source="huggingface", options=options))
