"""Splits that keep the test samples unseen, whatever the source."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgekd.datasets import Dataset, Split, fingerprint_of, open_dataset, transfer_split
from edgekd.datasets._splits import choose_held_out
from edgekd.errors import ConfigError, DataError
from edgekd.records import DataSpec, TransferSpec

MODULE = """
import numpy as np
from edgekd.datasets import Source, Split

def load(*, count: int = 100, kind: str = "whole"):
    inputs = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    split = Split(inputs=inputs, labels=np.arange(count) % 5)
    if kind == "nothing":
        return None
    if kind == "text":
        return Source(train=Split(inputs=inputs.astype(str), labels=split.labels), classes=tuple("abcde"), scale=1.0)
    if kind == "foreign":
        return Source(train=Split(inputs=inputs.astype(">f4"), labels=split.labels), classes=tuple("abcde"), scale=1.0)
    test = {
        "whole": None,
        "test": Split(inputs=inputs[:10] + 1, labels=split.labels[:10]),
        "relabelled": Split(inputs=inputs[:10] + 1, labels=split.labels[1:11]),
        "empty test": Split(inputs=inputs[:0], labels=split.labels[:0]),
        "wider": Split(inputs=np.ones((10, 5), np.float32), labels=split.labels[:10]),
        "double": Split(inputs=inputs[:10].astype(np.float64), labels=split.labels[:10]),
        "no file": None,
    }[kind]
    if kind == "no file":
        raise FileNotFoundError(2, "No such file or directory", "x.bin")
    return Source(train=split, test=test, classes=tuple("abcde"), scale=0.5)
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # A name of its own for each test: Python keeps what it has imported.
    name = f"own_data_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return f"{name}:load"


def rows(split: Split) -> set[float]:
    """First feature of each sample, which no two samples share."""
    return {float(each) for each in split.inputs[:, 0]}


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    held = choose_held_out(split.labels, split.groups, share, seed, by_class=True)
    return split.take(~held), split.take(held)


LABELS = hnp.arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 6))


@settings(deadline=None)
@given(LABELS, st.floats(0, 0.99), st.integers(0, 2**63 - 1))
def test_holding_out_is_disjoint_complete_stratified_and_in_order(
    labels: NDArray[np.int64], share: float, seed: int
) -> None:
    inputs = np.arange(len(labels))[:, None]
    kept, held = hold_out(Split(inputs=inputs, labels=labels), share, seed)
    assert rows(kept) & rows(held) == set()
    assert rows(kept) | rows(held) == set(range(len(labels)))
    for part in (kept, held):
        assert (np.diff(part.inputs[:, 0]) > 0).all()
        np.testing.assert_array_equal(part.labels, labels[part.inputs[:, 0]])
    for label in range(7):
        assert abs((held.labels == label).sum() - share * (labels == label).sum()) <= 0.5
    again = hold_out(Split(inputs=inputs, labels=labels), share, seed)[1]
    np.testing.assert_array_equal(again.inputs, held.inputs)


def test_what_is_held_out_depends_on_the_seed_and_is_no_slice_of_the_source() -> None:
    split = Split(inputs=np.arange(1000)[:, None], labels=np.zeros(1000, np.int64))
    first, second = (rows(hold_out(split, 0.2, seed)[1]) for seed in (0, 1))
    # Of 200 drawn twice from 1000, 40 are expected in both, with a standard deviation of 5.1.
    assert 10 < len(first & second) < 70
    assert 400 < np.mean(list(first)) < 600


def test_a_source_without_a_test_split_is_split_in_three(source: str) -> None:
    data = open_dataset(DataSpec(source=source, validation=0.25, test=0.2))
    assert [len(each) for each in (data.train, data.validation, data.test)] == [60, 20, 20]
    assert len(data) == 60
    parts = [rows(each) for each in (data.train, data.validation, data.test)]
    assert set.union(*parts) == {4.0 * index for index in range(100)}
    assert (data.classes, data.scale, data.input_shape) == (tuple("abcde"), 0.5, (4,))


def test_a_source_s_own_test_split_is_left_as_it_is(source: str) -> None:
    data = open_dataset(DataSpec(source=source, test=0.5, options={"kind": "test"}))
    np.testing.assert_array_equal(data.test.inputs[:, 0], 4 * np.arange(10) + 1)
    assert rows(data.train) | rows(data.validation) == {4.0 * index for index in range(100)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "empty test"}, "the test split is empty"),
        ({"count": 5}, "the validation split is empty"),
        ({"count": 0}, "the training split is empty"),
        ({"kind": "wider"}, "training and test samples differ in shape"),
        ({"kind": "double"}, "training and test samples differ in type"),
        ({"kind": "text"}, "inputs of type <U"),
        ({"kind": "foreign"}, "inputs of type >f4; allowed: numbers in native byte order"),
        ({"kind": "nothing"}, "gives a NoneType; allowed: an edgekd.datasets.Source"),
        ({"kind": "no file"}, "No such file"),
    ],
)
def test_a_source_that_can_t_be_used_says_why(source: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(DataSpec(source=source, options=options))
    assert source in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((4, 3)), [0, 1], "4 inputs but 2 labels"),
        (np.zeros((4, 1, 3, 2, 2)), [0, 1, 0, 1], r"inputs of shape \(4, 1, 3, 2, 2\)"),
        (np.zeros(()), [0], r"inputs of shape \(\)"),
        (np.full((2, 3), np.nan), [0, 1], "NaN or infinity"),
        (np.zeros((2, 3)), [0, 2], "labels from 0 to 2 for 2 classes"),
        (np.zeros((2, 3)), [-2, 1], "labels from -2 to 1 for 2 classes"),
    ],
)
def test_samples_that_can_t_be_used_say_why(
    tmp_path: Path, inputs: NDArray[np.float64], labels: list[int], message: str
) -> None:
    np.savez(tmp_path / "own.npz", x=inputs, y=labels)
    with pytest.raises(DataError, match=message):
        open_dataset(DataSpec(source="npz", options={"path": tmp_path / "own.npz", "classes": ("no", "yes")}))


def test_an_unknown_source_is_named() -> None:
    for ask in (open_dataset, fingerprint_of):
        with pytest.raises(ConfigError, match=r"unknown dataset 'digit'.*did you mean 'digits'"):
            ask(DataSpec(source="digit"))


def test_the_fingerprint_is_of_the_bytes_and_the_spec_not_of_the_file_s_time(tmp_path: Path) -> None:
    file = tmp_path / "own.npz"
    spec = DataSpec(source="npz", options={"path": str(file)})
    np.savez(file, x=np.zeros((20, 3)), y=np.zeros(20, int))
    first = fingerprint_of(spec)
    os.utime(file, (1, 1))
    assert fingerprint_of(spec) == first
    assert fingerprint_of(DataSpec(source="npz", seed=1, options={"path": str(file)})) != first
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert fingerprint_of(spec) != first


def test_the_fingerprint_of_a_source_without_files_is_of_its_samples(source: str) -> None:
    specs = [DataSpec(source=source, options={"kind": kind}) for kind in ("whole", "test", "relabelled")]
    assert len({fingerprint_of(spec) for spec in specs}) == 3
    assert open_dataset(specs[1]).sha256 == open_dataset(specs[2]).sha256, "training does not see test labels"
    for spec in specs:
        assert fingerprint_of(spec) == fingerprint_of(spec)
    first, more = (open_dataset(DataSpec(source=source, options={"count": count})) for count in (100, 105))
    assert first.sha256 != more.sha256


@given(
    hnp.arrays(st.sampled_from([np.uint8, np.int16, np.float32, np.float64]), st.tuples(st.integers(1, 9), st.just(3))),
    st.floats(1e-3, 10),
    st.one_of(st.none(), st.integers(1, 12)),
)
def test_ready_is_values_times_scale_in_order(inputs: NDArray[np.generic], scale: float, count: int | None) -> None:
    inputs = np.nan_to_num(np.clip(inputs.astype(np.float64), -1e6, 1e6)).astype(inputs.dtype)
    split = Split(inputs=inputs, labels=np.zeros(len(inputs), np.int64))
    data = Dataset(classes=("a",), scale=scale, train=split, validation=split, test=split)
    ready = data.ready(split, count)
    assert ready.dtype == np.float32
    everything = inputs.astype(np.float64) * scale
    if count is None or count >= len(inputs):
        np.testing.assert_allclose(ready, everything, rtol=1e-6, atol=1e-30)
        return
    assert len(ready) == count
    np.testing.assert_array_equal(ready, data.ready(split, count))
    rest = iter(data.ready(split))
    assert all(any(np.array_equal(row, other) for other in rest) for row in ready), "a subsequence"


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=12),
    st.floats(0.01, 0.9),
    st.integers(0, 2**63 - 1),
    st.integers(1, 2),
)
def test_groups_are_held_out_whole_and_enough_of_them_stay(
    sizes: list[int], share: float, seed: int, leave: int
) -> None:
    groups = np.random.default_rng(seed % 1000).permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = np.zeros(len(groups), np.int64)
    held = choose_held_out(labels, groups, share, seed, by_class=True, leave=leave)
    inside, outside = set(groups[held].tolist()), set(groups[~held].tolist())
    assert not inside & outside
    assert len(outside) >= leave
    if len(sizes) > leave:
        assert inside
    # Without the group that was drawn last, or with one more, it would be no nearer to the share.
    if len(inside) > 1 and len(outside) > leave:
        assert abs(held.sum() - share * len(groups)) <= max(sizes)
    np.testing.assert_array_equal(held, choose_held_out(labels, groups, share, seed, by_class=True, leave=leave))


GROUPED = """
import numpy as np
from edgekd.datasets import Source, Split

def load(*, kind: str = "grouped", bins: int = 3):
    random = np.random.default_rng(5)
    inputs = random.normal(50, 7, (120, 1, 4, 3)).astype(np.float32)
    inputs[:, :, :, 1] *= 10
    inputs[:, :, :, 2] = 8
    labels = np.arange(120) % 3
    if kind == "anomalies":
        labels = (np.arange(120) % 4 == 0).astype(np.int64)
        inputs[labels == 1] += 1000
    groups = np.arange(120) // 10 if kind == "grouped" else None
    return Source(
        train=Split(inputs=inputs, labels=labels, groups=groups),
        classes=("normal", "anomaly") if kind == "anomalies" else tuple("abc"),
        task="reconstruction" if kind == "anomalies" else "single_label",
        scale=1.0,
        standardise={"no": None, "rows": 0}.get(kind, 3),
        front_end={"bins": bins},
    )
"""


@pytest.fixture
def grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"grouped_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(GROUPED)
    monkeypatch.chdir(tmp_path)
    return f"{name}:load"


def test_statistics_are_of_the_training_split_alone(grouped: str) -> None:
    data = open_dataset(DataSpec(source=grouped, validation=0.2, test=0.2))
    parts = [
        set(split.groups.tolist()) for split in (data.train, data.validation, data.test) if split.groups is not None
    ]
    assert [len(part) for part in parts] == [8, 2, 2]
    assert len(set.union(*parts)) == 12
    np.testing.assert_allclose(data.train.inputs.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-5)
    deviation = data.train.inputs.std(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(deviation, [1, 1, 0], atol=1e-5)
    assert (data.train.inputs[..., 2] == 0).all(), "what never changes is not blown up"
    assert abs(data.test.inputs.mean(axis=(0, 1, 2), dtype=np.float64)[:2]).min() > 1e-4, "not standardised by itself"
    assert data.front_end["bins"] == 3
    assert data.front_end["standardised_axis"] == 3


def test_raw_values_are_those_of_before(grouped: str) -> None:
    data = open_dataset(DataSpec(source=grouped, validation=0.2, test=0.2))
    raw = data.ready(data.test, raw=True)
    source = np.random.default_rng(5).normal(50, 7, (120, 1, 4, 3)) * [1, 10, 0] + [0, 0, 8]
    assert data.test.positions is not None
    np.testing.assert_allclose(raw, source[data.test.positions], rtol=1e-5)
    np.testing.assert_allclose(data.preprocessing.apply(raw), data.ready(data.test), rtol=1e-4, atol=1e-4)


def test_anomalies_are_never_trained_on_but_are_measured(grouped: str) -> None:
    data = open_dataset(DataSpec(source=grouped, validation=0.2, test=0.2, options={"kind": "anomalies"}))
    assert [np.bincount(split.labels, minlength=2).tolist() for split in (data.train, data.validation, data.test)] == [
        [58, 0],
        [14, 5],
        [18, 6],
    ]
    assert np.abs(data.front_end["mean"][0] - 50) < 2, "anomalies are not even in the mean"
    assert data.outputs == 12


def test_other_data_is_brought_to_the_data_s_own_mean_or_refused(grouped: str) -> None:
    data = open_dataset(DataSpec(source=grouped, validation=0.2, test=0.2))
    other = transfer_split(TransferSpec(source=grouped, labelled=False), data)
    assert len(other) == 120
    assert set(other.labels.tolist()) == {-1}
    assert data.train.positions is not None
    np.testing.assert_array_equal(
        np.sort(other.inputs[data.train.positions], axis=0), np.sort(data.train.inputs, axis=0)
    )
    for options, words in (({"bins": 4}, "bins = 4; allowed: the data's, 3"), ({"kind": "no"}, "standardised")):
        with pytest.raises(DataError, match=words):
            transfer_split(TransferSpec(source=grouped, options=options), data)
    with pytest.raises(DataError, match="can't standardise axis 0"):
        open_dataset(DataSpec(source=grouped, options={"kind": "rows"}))
