"""Stored logits: the same numbers, mapped where that is possible, and clear errors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import store
from edgekd.errors import DataError, ModelError
from edgekd.teachers.logits import load

CHANCE = np.random.default_rng(3)


def saved(folder: Path, *, compressed: bool = False, **arrays: Any) -> Path:
    file = folder / "teacher.npz"
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_logits_are_those_in_the_file(tmp_path: Path, compressed: bool, dtype: str, order: Any) -> None:
    logits = np.asarray(CHANCE.normal(size=(9, 3, 4)), dtype, order=order)
    file = saved(tmp_path, compressed=compressed, first=np.zeros(5), logits=logits)
    teacher = load(weights=file, outputs=4)
    assert (teacher.samples, teacher.views, teacher.classes, teacher.names) == (9, 3, 4, ())
    assert isinstance(teacher._logits, np.memmap) is not compressed
    assert not teacher.training
    assert teacher.fingerprint() == store.sha256_of(file)
    for view in range(3):
        positions = torch.tensor([8, 0, 0, 5])
        with torch.inference_mode():
            found = teacher(positions, view=view)
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), logits[[8, 0, 0, 5], view].astype("f4"))
    assert teacher(torch.tensor([], dtype=torch.int64), view=0).shape == (0, 4)


def test_two_dimensions_are_one_view(tmp_path: Path) -> None:
    logits = CHANCE.normal(size=(5, 2)).astype("f4")
    teacher = load(weights=saved(tmp_path, logits=logits, classes=np.array(["no", "yes"])), outputs=2)
    assert (teacher.views, teacher.names) == (1, ("no", "yes"))
    np.testing.assert_array_equal(teacher(torch.arange(5)).numpy(), logits)


def test_copies_give_the_same(tmp_path: Path) -> None:
    teacher = load(weights=saved(tmp_path, logits=CHANCE.normal(size=(5, 2))), outputs=2)
    for other in (copy.deepcopy(teacher), pickle.loads(pickle.dumps(teacher))):  # noqa: S301 - our own
        assert torch.equal(other(torch.arange(5)), teacher(torch.arange(5)))
        assert other.fingerprint() == teacher.fingerprint()
    assert copy.deepcopy(teacher)._logits is teacher._logits


def test_samples_and_views_that_are_not_there_are_named(tmp_path: Path) -> None:
    teacher = load(weights=saved(tmp_path, logits=CHANCE.normal(size=(5, 2, 2))), outputs=2)
    with pytest.raises(DataError, match="sample 5; allowed: 0 to 4"):
        teacher(torch.tensor([0, 5]), view=0)
    with pytest.raises(DataError, match="sample -1"):
        teacher(torch.tensor([0, -1]), view=0)
    for view in (2, -1):
        with pytest.raises(DataError, match=f"view {view}; allowed: 0 to 1"):
            teacher(torch.tensor([0]), view=view)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"probabilities": np.ones((4, 2))}, r"no 'logits', but \['probabilities'\]"),
        ({"logits": np.ones((4, 2), "i8")}, "int64 of shape"),
        ({"logits": np.ones(4)}, r"shape \(4,\)"),
        ({"logits": np.ones((4, 2, 2, 2))}, r"shape \(4, 2, 2, 2\)"),
        ({"logits": np.ones((0, 2))}, r"shape \(0, 2\)"),
        ({"logits": np.ones((4, 3))}, "holds 3 logits per sample, the data asks for 2"),
        ({"logits": np.array([[1, 2], [np.nan, 0]])}, "logits of sample 1 are not finite"),
        ({"logits": np.array([[1, 2], [0, 1], [0, np.inf]])}, "logits of sample 2 are not finite"),
        ({"logits": np.ones((4, 2)), "classes": np.array(["a", "b", "c"])}, "'classes' has shape"),
        ({"logits": np.ones((4, 2)), "classes": np.array(["a", "a"])}, "names one twice"),
        ({"logits": np.ones((4, 2), object)}, "Python objects"),
    ],
)
def test_other_contents_are_named(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    for compressed in (False, True):
        with pytest.raises(ModelError, match=words):
            load(weights=saved(tmp_path, compressed=compressed, **arrays), outputs=2)


def test_not_finite_far_into_a_large_file_is_found(tmp_path: Path) -> None:
    logits = np.zeros((30_000, 2, 100), "f2")
    logits[29_999, 1, 99] = np.inf
    with pytest.raises(ModelError, match="sample 29999 are not finite"):
        load(weights=saved(tmp_path, logits=logits), outputs=100)


def test_files_that_are_none_say_so(tmp_path: Path) -> None:
    file = tmp_path / "teacher.npz"
    with pytest.raises(ModelError, match="no such file"):
        load(weights=file, outputs=2)
    with pytest.raises(ModelError, match="not a file"):
        load(weights=tmp_path, outputs=2)
    for content, words in ((b"", "the file is empty"), (b"hello", "not an .npz file")):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=words):
            load(weights=file, outputs=2)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    logits = CHANCE.normal(size=(50, 2))
    file = saved(tmp_path, logits=logits)
    content = bytearray(file.read_bytes())
    content[content.index(logits.tobytes()) + 77] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"the checksum of 'logits\.npy' is wrong"):
        load(weights=file, outputs=2)


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.integers(0, 2**32))
def test_damage_gives_an_error_of_ours_or_logits(
    tmp_path_factory: pytest.TempPathFactory, compressed: bool, seed: int
) -> None:
    file = saved(tmp_path_factory.getbasetemp(), compressed=compressed, logits=np.ones((20, 2), "f4"))
    data, chance = bytearray(file.read_bytes()), np.random.default_rng(seed)
    for _ in range(chance.choice([1, 2, 8, 40])):
        data[chance.integers(len(data))] = chance.integers(256)
    file.write_bytes(data[: len(data) - int(chance.choice([0, 0, 1, 30]))])
    try:
        load(weights=file, outputs=2)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is fine, another exception is not
