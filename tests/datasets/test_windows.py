"""Time series of the UCR and aeon archives, and tables with a row for each step of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.datasets import fingerprint_of, open_dataset
from edgekd.datasets._series import Series, cut
from edgekd.datasets.windows import load
from edgekd.errors import ConfigError, DataError
from edgekd.records import DataSpec

TS = "# what it is\n@problemName own\n@univariate false\n@classLabel true up down\n@data\n"

pd = pytest.importorskip("pandas")  # has no types


def long(tmp_path: Path, lengths: tuple[int, ...] = (10, 6, 7)) -> Path:
    """Two channels; step t of series s is 100 s + t, and its negative."""
    rows = [
        {"series": f"s{number}", "x": 100 * number + step, "y": -100 * number - step, "label": "ab"[step > 3]}
        for number, length in enumerate(lengths)
        for step in range(length)
    ]
    file = tmp_path / "long.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


def test_windows_are_cut_and_labelled_by_majority(tmp_path: Path) -> None:
    source = load(path=long(tmp_path), window=4, hop=2)
    starts = [0, 2, 4, 6, 100, 102, 200, 202]
    wanted = np.array(starts)[:, None] + np.arange(4)
    np.testing.assert_array_equal(source.train.inputs, np.stack([wanted, -wanted], axis=1))
    assert source.classes == ("a", "b")
    # Steps 2 to 5 are half a and half b: the first by name.
    assert source.train.labels.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert source.train.groups is not None
    assert source.train.groups.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    flat = load(path=tmp_path / "long.csv", window=4, hop=2, layout="flat", channels=("y", "x"))
    np.testing.assert_array_equal(flat.train.inputs, np.concatenate([-wanted, wanted], axis=1))
    image = load(path=tmp_path / "long.csv", window=4, hop=2, layout="image")
    np.testing.assert_array_equal(image.train.inputs[:, :, 0], source.train.inputs)


def test_whole_series_are_padded_to_the_longest(tmp_path: Path) -> None:
    file = long(tmp_path)
    zero, edge = (load(path=file, padding=padding).train for padding in ("zero", "edge"))
    assert zero.inputs.shape == (3, 2, 10)
    assert zero.inputs[1, 0].tolist() == [100, 101, 102, 103, 104, 105, 0, 0, 0, 0]
    assert edge.inputs[1, 0].tolist() == [100, 101, 102, 103, 104, 105, 105, 105, 105, 105]
    assert zero.groups is None, "one sample a series: nothing can leak"


def test_one_step_that_is_not_normal_makes_an_anomaly(tmp_path: Path) -> None:
    source = load(path=long(tmp_path), window=3, hop=1, task="reconstruction", normal="a")
    assert source.train.labels.tolist() == [0, 0] + [1] * 6 + [0, 0, 1, 1] + [0, 0, 1, 1, 1]
    assert source.classes == ("normal", "anomaly")
    regression = load(path=long(tmp_path), window=4, label="x", channels=("y",), task="regression")
    assert regression.train.labels.tolist() == [[1.5], [5.5], [101.5], [201.5]]
    assert regression.classes == ("x",)
    without = load(path=long(tmp_path), window=4, label="none", channels=("y",))
    assert set(without.train.labels.tolist()) == {-1}


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))
def test_windows_are_what_numpy_s_sliding_windows_are(lengths: list[int], length: int, hop: int, channels: int) -> None:
    random = np.random.default_rng(sum(lengths))
    found = [
        Series(values=random.normal(size=(channels, each)).astype(np.float32), labels=("a",), group=None, where="")
        for each in lengths
    ]
    windows = cut(found, length, hop, "zero")
    parts = []
    for number, each in enumerate(found):
        padded = np.pad(each.values, ((0, 0), (0, max(0, length - lengths[number]))))
        parts.append(np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)[:, ::hop].swapaxes(0, 1))
        assert (windows.series == number).sum() == len(parts[-1])
    np.testing.assert_array_equal(windows.values, np.concatenate(parts))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(5, 40), min_size=3, max_size=9), st.integers(0, 99), st.booleans())
def test_no_series_and_no_patient_is_in_two_splits(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int, patients: bool
) -> None:
    rows = [
        {"series": f"s{number}", "patient": f"p{number % 3}", "x": 1000 * number + step, "label": "ab"[step % 2]}
        for number, length in enumerate(lengths)
        for step in range(length)
    ]
    file = tmp_path_factory.getbasetemp() / "series.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    options = {"path": file, "window": 4, "hop": 1, "channels": ("x",), "standardise": False}
    if patients:
        options["group"] = "patient"
    data = open_dataset(DataSpec(source="windows", validation=0.3, test=0.3, seed=seed, options=options))
    parts = [set(np.unique(split.inputs // 1000).tolist()) for split in (data.train, data.validation, data.test)]
    if patients:
        parts = [{number % 3 for number in part} for part in parts]
    assert sum(map(len, parts)) == len(set.union(*parts)) == (3 if patients else len(lengths))


def test_the_heartbeats_of_ecg5000_are_read(shared_data: Path) -> None:
    file = shared_data / "sensor_ecg5000" / "ECG5000_TRAIN.txt"
    table = np.loadtxt(file)
    source = load(path=file, layout="flat")
    np.testing.assert_array_equal(source.train.inputs, table[:, 1:].astype(np.float32))
    assert source.classes == tuple("12345")
    np.testing.assert_array_equal(source.train.labels, table[:, 0] - 1)
    options = {"path": file, "layout": "flat", "task": "reconstruction", "normal": "1"}
    data = open_dataset(DataSpec(source="windows", test=0.3, validation=0.2, options=options))
    assert set(data.train.labels.tolist()) == {0}
    for split in (data.validation, data.test):
        assert abs(split.labels.mean() - 208 / 500) < 0.02


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("BasicMotions", (40, 6, 100), ("Badminton", "Running", "Standing", "Walking")),
        ("GunPoint", (50, 1, 150), ("1", "2")),
        ("ItalyPowerDemand", (67, 1, 24), ("1", "2")),
        ("JapaneseVowels", (270, 12, 26), tuple("123456789")),
    ],
)
def test_series_of_the_aeon_archive_have_their_published_sizes(
    shared_data: Path, name: str, shape: tuple[int, ...], classes: tuple[str, ...]
) -> None:
    folder = shared_data / "sensor_aeon" / name
    source = load(path=folder / f"{name}_TRAIN.ts", test_path=folder / f"{name}_TEST.ts")
    assert source.train.inputs.shape == shape
    assert source.classes == classes
    assert source.test is not None
    assert source.test.inputs.shape[1:] == shape[1:]
    assert source.train.groups is None


def test_vowels_of_several_lengths_are_padded_at_their_end(shared_data: Path) -> None:
    file = shared_data / "sensor_aeon" / "JapaneseVowels" / "JapaneseVowels_TRAIN.ts"
    source = load(path=file)
    lines = file.read_text().split("@data\n")[1].splitlines()
    lengths = []
    for line, inputs, label in zip(lines, source.train.inputs, source.train.labels, strict=True):
        *channels, name = line.split(":")
        table = np.array([each.split(",") for each in channels], np.float32)
        np.testing.assert_array_equal(inputs[:, : table.shape[1]], table)
        assert not inputs[:, table.shape[1] :].any()
        assert source.classes[label] == name
        lengths.append(table.shape[1])
    assert (min(lengths), max(lengths)) == (7, 26)


@pytest.mark.parametrize(
    ("name", "text", "options", "words"),
    [
        ("own.ts", "", {}, "no @data"),
        ("own.ts", TS, {}, "no series after @data"),
        ("own.ts", "hello\n" + TS, {}, "line 1: 'hello'; allowed: @key value"),
        ("own.ts", TS + "1,2:3,?:up\n", {}, "line 6: '?'; allowed: a finite number"),
        ("own.ts", TS + "1,2:3:up\n", {}, "line 6: channels of different lengths"),
        ("own.ts", TS + "1,2:3,4:left\n", {}, "line 6: label 'left'; allowed: as @classLabel says"),
        ("own.ts", TS + "1,2:3,4:up\n1,2:up\n", {}, "line 7: 1 channels; allowed: 2"),
        ("own.ts", TS + "up\n", {}, "line 6: no values"),
        ("own.ts", TS.replace("@data", "@dimensions 3\n@data") + "1:2:up\n", {}, "line 7: 2 dimensions; allowed: 3"),
        ("own.ts", TS.replace("@data", "@timeStamps true\n@data") + "(0,1):up\n", {}, "series with time stamps"),
        ("own.txt", "", {}, "holds no series"),
        ("own.txt", "1 2 3\n2 x 3\n", {}, "line 2: 'x'"),
        ("own.txt", "1 2 3\n2 nan 3\n", {}, "line 2: 'nan'"),
        ("own.txt", "1\n", {}, "line 1: no values"),
        ("own.csv", "series,x,label\na,1,u\n", {"series": "id"}, "no column 'id'"),
        (
            "own.csv",
            "series,x,label,who\na,1,u,1\na,1,u,2\n",
            {"group": "who"},
            "series 'a': belongs to several groups",
        ),
        ("own.csv", "series,x,label\na,1,u\na,one,u\n", {}, "line 3, column 'x': 'one'"),
        ("own.txt", "1 2 3\n", {"task": "reconstruction", "normal": "7"}, "no sample of the normal class '7'"),
    ],
)
def test_files_that_can_t_be_used_say_where(
    tmp_path: Path, name: str, text: str, options: dict[str, Any], words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        load(path=tmp_path / name, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="window = 0"):
        load(path=tmp_path / name, window=0)


def test_shorter_series_of_the_ucr_archive_end_in_nan(tmp_path: Path) -> None:
    (tmp_path / "own.tsv").write_text("2.0\t1\t2\t3\n1\t4\tNaN\tNaN\n")
    source = load(path=tmp_path / "own.tsv")
    assert source.train.inputs.tolist() == [[[1, 2, 3]], [[4, 0, 0]]]
    assert (source.classes, source.train.labels.tolist()) == (("1", "2"), [1, 0])
    (tmp_path / "targets.ts").write_text("@targetLabel true\n@data\n1,2:0.5\n3,4:-2\n")
    assert load(path=tmp_path / "targets.ts", task="regression").train.labels.tolist() == [[0.5], [-2]]


def test_the_fingerprint_is_of_the_file_s_contents(tmp_path: Path) -> None:
    file = long(tmp_path)
    first = fingerprint_of(DataSpec(source="windows", options={"path": file}))
    moved = file.rename(tmp_path / "renamed.csv")
    assert fingerprint_of(DataSpec(source="windows", options={"path": moved})) == first
    moved.write_text(moved.read_text().replace("100", "101"))
    assert fingerprint_of(DataSpec(source="windows", options={"path": moved})) != first
