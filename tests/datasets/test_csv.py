"""Tables written by the standard library and by pandas, and every way in which they can be wrong."""

from __future__ import annotations

import csv as standard
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_linnerud

from edgekd.datasets import fingerprint_of, open_dataset
from edgekd.datasets.csv import load
from edgekd.errors import ConfigError, DataError
from edgekd.records import DataSpec

pd = pytest.importorskip("pandas")  # has no types

TABLE = "a,b,who,kind\n1,2.5,ann,cat\n-3,1e-3,bob,dog\n 4 ,0,ann,\n5,6,eve,cat\n"


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own.csv"
    file.write_text(text)
    return file


def test_columns_become_features_labels_and_groups(tmp_path: Path) -> None:
    source = load(path=own(tmp_path, TABLE), labels=("kind",), group="who")
    np.testing.assert_array_equal(source.train.inputs, np.array([[1, 2.5], [-3, 1e-3], [4, 0], [5, 6]], np.float32))
    assert source.classes == ("cat", "dog")
    assert source.train.labels.tolist() == [0, 1, -1, 0]
    assert source.train.groups is not None
    assert source.train.groups.tolist() == [0, 1, 0, 2]
    assert source.front_end == {"features": ["a", "b"]}
    chosen = load(path=tmp_path / "own.csv", labels=("kind",), features=("b",), classes=("dog", "cat"))
    assert chosen.train.inputs[:, 0].tolist() == [2.5, np.float32(1e-3), 0, 6]
    assert chosen.train.labels.tolist() == [1, 0, -1, 1]


def test_real_measurements_are_what_scikit_learn_reads(tmp_path: Path) -> None:
    bunch = load_breast_cancer(as_frame=True)
    bunch.frame.assign(target=bunch.target_names[bunch.target]).to_csv(tmp_path / "own.csv", index=False)
    options: dict[str, Any] = {"path": tmp_path / "own.csv", "labels": ("target",)}
    data = open_dataset(DataSpec(source="csv", options=options))
    assert data.classes == ("benign", "malignant")
    everything = bunch.data.to_numpy()
    mean, deviation = (np.array(data.front_end[key]) for key in ("mean", "deviation"))
    for split in (data.train, data.validation, data.test):
        np.testing.assert_allclose(split.inputs * deviation + mean, everything[split.positions], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(mean, everything[data.train.positions].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, everything[data.train.positions].std(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(data.train.labels, 1 - bunch.target.to_numpy()[data.train.positions])


def test_regression_and_multi_label_have_a_column_for_each_output(tmp_path: Path) -> None:
    bunch = load_linnerud(as_frame=True)
    bunch.frame.to_csv(tmp_path / "own.csv", index=False)
    source = load(path=tmp_path / "own.csv", labels=tuple(bunch.target_names), task="regression")
    assert source.classes == ("Weight", "Waist", "Pulse")
    np.testing.assert_array_equal(source.train.labels, bunch.target.to_numpy(np.float32))
    np.testing.assert_array_equal(source.train.inputs, bunch.data.to_numpy(np.float32))
    file = own(tmp_path, "x,red,round\n1,0,1\n2,1,1\n")
    source = load(path=file, labels=("round", "red"), task="multi_label", classes=("is round", "is red"))
    assert source.train.labels.tolist() == [[1, 0], [1, 1]]
    assert source.classes == ("is round", "is red")
    with pytest.raises(DataError, match=r"line 2, column 'x': '1'; allowed: 0 or 1|line 3, column 'x': '2'"):
        load(path=file, labels=("x",), features=("red",), task="multi_label")


def test_reconstruction_trains_on_normal_samples_and_is_measured_on_both(tmp_path: Path) -> None:
    lines = [f"{number},{'ok' if number % 3 else 'broken'}" for number in range(300)]
    file = own(tmp_path, "x,state\n" + "\n".join(lines))
    options: dict[str, Any] = {"path": file, "labels": ("state",), "task": "reconstruction", "normal": "ok"}
    data = open_dataset(DataSpec(source="csv", validation=0.2, options=options))
    assert data.classes == ("normal", "anomaly")
    assert set(data.train.labels.tolist()) == {0}
    assert [np.bincount(split.labels).tolist() for split in (data.train, data.validation, data.test)] == [
        [128],
        [32, 16],
        [40, 20],
    ]
    raw = np.array(data.front_end["mean"]) + np.array(data.front_end["deviation"]) * data.train.inputs
    assert (np.round(raw) % 3 != 0).all(), "anomalies are not even in the mean"
    for change, words in (({"normal": "okk"}, "did you mean 'ok'"), ({"normal": None}, "which class is normal")):
        with pytest.raises(DataError, match=words):
            load(**{**options, **change})
    own(tmp_path, "x,state\n1,ok\n2,\n")
    with pytest.raises(DataError, match="a sample without a label"):
        load(**options)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "empty; its first line names the columns"),
        ("a,kind\n", {}, "holds no rows"),
        ("a,kind\n1,x,3\n", {}, "line 2: 3 values; allowed: 2"),
        ("a,kind\n1,x\n\n2\n", {}, "line 4: 1 values; allowed: 2"),
        ("a,kind\n1,x\none,y\n", {}, "line 3, column 'a': 'one'; allowed: a finite number"),
        ("a,kind\n,x\n", {}, "line 2, column 'a': ''"),
        ("a,kind\nnan,x\n", {}, "line 2, column 'a': 'nan'"),
        ("a,kind\n1e39,x\n", {}, "line 2, column 'a': '1e39'"),
        ("a,kind\n1_000,x\n", {}, "line 2, column 'a': '1_000'"),
        ("a,a,kind\n1,2,x\n", {}, "two columns are called 'a'"),
        ("a,,kind\n1,2,x\n", {}, "a column without a name"),
        ("a,knid\n1,x\n", {}, "no column 'kind'; allowed: a, knid; did you mean 'knid'"),
        ("a,kind\n1,x\n", {"features": ("b",)}, "no column 'b'"),
        ("a,kind\n1,x\n", {"group": "who"}, "no column 'who'"),
        ("kind\nx\n", {}, "no feature columns"),
        ('a,kind\n1,"x\n', {}, "line 2: unexpected end of data"),
        ("a;kind\n1;x\n", {}, "no column 'kind'"),
        ("a,kind\n1,x\n", {"delimiter": ",,"}, "',,' is not one character"),
        ("a,kind\n1,x\n", {"classes": ("y",)}, "label 'x' is no class; allowed: y"),
        ("a,kind\n1,x\n", {"classes": ("x", "x")}, "a class is named twice"),
        ("a,kind\n1,x\n", {"task": "regression"}, "line 2, column 'kind': 'x'; allowed: a finite number"),
    ],
)
def test_tables_that_can_t_be_used_say_where(tmp_path: Path, text: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        load(**{"path": own(tmp_path, text), "labels": ("kind",), **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_options_that_clash(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_bytes(b"a,kind\n1,caf\xe9\n")
    with pytest.raises(DataError, match=r"not UTF-8 text: .* at byte"):
        load(path=file, labels=("kind",))
    file.write_bytes(b"\xef\xbb\xbfa,kind\r\n1,caf\xc3\xa9\r\n")  # as Excel writes it
    assert load(path=file, labels=("kind",)).classes == ("café",)
    for labels, options, words in (
        ((), {}, "0 label columns"),
        (("a", "kind"), {}, "2 label columns for single_label"),
        (("kind",), {"features": ("kind",)}, "column 'kind' is a feature too"),
        (("kind",), {"features": ("a",), "task": "regression", "classes": ("x", "y")}, "2 names; allowed: 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(path=file, labels=labels, **options)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), CELLS), min_size=1, max_size=8))
def test_what_the_standard_library_writes_is_read_back(rows: list[tuple[float, str]]) -> None:
    file = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / "edgekd-test-own.csv"  # noqa: S108
    try:
        with file.open("w", newline="", encoding="utf-8") as text:
            writer = standard.writer(text)
            writer.writerows([("x", "name"), *((repr(number), name) for number, name in rows)])
        source = load(path=file, labels=("name",))
    finally:
        file.unlink()
    np.testing.assert_array_equal(source.train.inputs[:, 0], np.array([number for number, _ in rows], np.float32))
    names = [source.classes[label] if label >= 0 else "" for label in source.train.labels]
    assert names == [name.strip() for _, name in rows]


def test_a_test_table_has_the_same_columns_and_the_fingerprint_is_of_contents(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(30), "b": range(30), "kind": ["x", "y", "z"] * 10})
    frame.to_csv(tmp_path / "one.csv", index=False)
    frame[["kind", "b", "a"]].head(6).to_csv(tmp_path / "two.csv", index=False)
    options: dict[str, Any] = {"path": tmp_path / "one.csv", "test_path": tmp_path / "two.csv", "labels": ("kind",)}
    data = open_dataset(DataSpec(source="csv", options={**options, "standardise": False}))
    assert len(data.test) == 6
    np.testing.assert_array_equal(data.test.inputs[:, 0], np.arange(6))
    first = fingerprint_of(DataSpec(source="csv", options=options))
    (tmp_path / "moved").mkdir()
    for key, name in (("path", "uno.csv"), ("test_path", "due.csv")):
        options[key] = Path(shutil.copy(options[key], tmp_path / "moved" / name))
    assert fingerprint_of(DataSpec(source="csv", options=options)) == first
    options["path"], options["test_path"] = options["test_path"], options["path"]
    assert fingerprint_of(DataSpec(source="csv", options=options)) != first
