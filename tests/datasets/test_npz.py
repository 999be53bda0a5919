"""Arrays of the user's own: every layout, and one line for each way in which they can be wrong."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.datasets import Source, open_dataset
from edgekd.datasets.npz import files, load
from edgekd.errors import DataError
from edgekd.records import DataSpec

X = np.arange(6 * 4 * 5 * 3).reshape(6, 4, 5, 3).astype(np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def save(file: Path, **arrays: Any) -> Path:
    np.savez(file, **arrays)
    return file


def message(file: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path=file, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert str(file) in text
    return text


@pytest.mark.parametrize(
    ("images", "options", "expected"),
    [
        (X[..., 0], {}, X[:, None, :, :, 0]),
        (X[..., 0], {"channels": "first"}, X[:, None, :, :, 0]),
        (X, {}, np.stack([X[..., channel] for channel in range(3)], axis=1)),
        (X, {"channels": "first"}, X),
        (X.reshape(6, -1), {}, X.reshape(6, -1)),
    ],
    ids=["N H W", "N H W, first", "N H W C", "N C H W", "N F"],
)
def test_every_layout_becomes_channels_first(
    tmp_path: Path, images: np.ndarray[Any, Any], options: dict[str, Any], expected: np.ndarray[Any, Any]
) -> None:
    source = load(path=save(tmp_path / "own.npz", x=images, y=Y), **options)
    np.testing.assert_array_equal(source.train.inputs, expected)
    assert source.train.inputs.flags.c_contiguous
    assert source.train.labels.dtype == np.int64
    np.testing.assert_array_equal(source.train.labels, Y)
    assert source.test is None


def test_scale_is_of_bytes_unless_given(tmp_path: Path) -> None:
    for dtype, scale in ((np.uint8, 1 / 255), (np.int16, 1.0), (np.uint16, 1.0), (np.float32, 1.0), (np.float64, 1.0)):
        source = load(path=save(tmp_path / "own.npz", x=X.astype(dtype), y=Y))
        assert source.scale == scale
        assert source.train.inputs.dtype == dtype
    assert load(path=tmp_path / "own.npz", scale=0.0).scale == 0
    assert load(path=tmp_path / "own.npz", scale=2.5).scale == 2.5


def test_classes_are_numbers_unless_named(tmp_path: Path) -> None:
    file = save(tmp_path / "own.npz", x=X, y=Y)
    assert load(path=file).classes == ("0", "1", "2")
    named: Any = ["cat", "dog", "hen", "cow"]  # as TOML gives it
    assert load(path=file, classes=named).classes == ("cat", "dog", "hen", "cow")


def test_train_and_test_are_kept_apart_under_any_prefix(tmp_path: Path) -> None:
    file = save(tmp_path / "own.npz", x_train=X, y_train=Y, x_test=X[:2] + 1, y_test=Y[:2])
    source = load(path=file)
    assert source.test is not None
    np.testing.assert_array_equal(source.test.inputs, (X[:2] + 1).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(source.train.inputs, X.transpose(0, 3, 1, 2))
    # Whole names work as well as prefixes.
    assert load(path=file, inputs="x_train", labels="y_train").test is None
    other = save(tmp_path / "other.npz", images_train=X, targets_train=Y, images_test=X, targets_test=Y)
    assert len(load(path=other, inputs="images", labels="targets").train) == 6


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"images": X, "y": Y}, {}, "no array 'x'; allowed: images, y; name the arrays with data.inputs"),
        ({"x_train": X, "y_trian": Y}, {}, "no array 'y_train'; allowed: x_train, y_trian; did you mean 'y_trian'?"),
        ({"x_train": X, "y_train": Y, "x_test": X}, {}, "no array 'y_test'"),
        ({"images": X, "y": Y}, {"inputs": "image"}, "no array 'image'; allowed: images, y; did you mean 'images'?"),
        ({"x": X, "y": Y.astype(float)}, {}, "labels of shape (6,) and type float64; allowed: (N,) of integers"),
        ({"x": X, "y": np.eye(6)}, {}, "labels of shape (6, 6)"),
        ({"x": X, "y": Y.astype(str)}, {}, "labels of shape (6,) and type <U"),
        ({"x": X, "y": Y.astype(np.uint32) + 2**31}, {}, "labels up to 2147483650 for 6 samples"),
        ({"x": X, "y": np.array(3)}, {}, "labels of shape ()"),
        ({"x": np.array([None, {}], object), "y": Y}, {}, "not a readable .npz file (Object arrays"),
        ({}, {}, "no array 'x'"),
    ],
)
def test_arrays_that_can_t_be_used_say_why(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    assert words in message(save(tmp_path / "own.npz", **arrays), **options)


class Malicious:
    """Writes a file when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.witness}'",)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "it-ran"
    save(tmp_path / "array.npz", x=np.array([Malicious(witness)], object), y=Y)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Malicious(witness)))
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("x", pickle.dumps(Malicious(witness)))
    for name in ("array", "pickle", "member"):
        message(tmp_path / f"{name}.npz")
        assert not witness.exists()


def test_other_files_say_what_they_are_not(tmp_path: Path) -> None:
    file = tmp_path / "own.npz"
    one = io.BytesIO()
    np.save(one, X)
    for content in (b"", b"hello", one.getvalue(), pickle.dumps([1])):
        file.write_bytes(content)
        assert "not an .npz file; make one with numpy.savez" in message(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "text")
    assert "'x' is no array" in message(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", one.getvalue()[:200])
    assert "not a readable .npz file" in message(file)


def test_an_array_that_claims_to_be_larger_than_memory_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**50,)})
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    assert "not a readable .npz file" in message(tmp_path / "own.npz")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("npz") / "own.npz"
    np.savez_compressed(file, allow_pickle=False, x_train=X, y_train=Y, x_test=X, y_test=Y)
    return file.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_damage_gives_one_line_or_the_data(whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = np.random.default_rng(seed)
    damaged = bytearray(whole)
    if chance.random() < 0.3:
        del damaged[chance.integers(len(damaged)) :]
    for _ in range(chance.choice([1, 3, 20])):
        if damaged:
            damaged[chance.integers(len(damaged))] = chance.integers(256)
    file = tmp_path_factory.getbasetemp() / "damaged.npz"
    file.write_bytes(damaged)
    try:
        assert isinstance(load(path=file), Source)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is fine, another exception is not


def test_arrays_of_the_other_byte_order_are_taken(tmp_path: Path) -> None:
    source = load(path=save(tmp_path / "own.npz", x=X.astype(">f4"), y=Y.astype(">i2")))
    assert source.train.inputs.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(source.train.inputs, X.transpose(0, 3, 1, 2))


def test_a_file_is_looked_for_as_given_then_in_the_folders_of_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, first, second = (tmp_path / name for name in ("here", "first", "second"))
    for folder in (here, first, second / "own"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("EDGEKD_DATA", os.pathsep.join([str(first), "", str(second)]))
    with pytest.raises(DataError, match=r"no file 'own.npz'.*EDGEKD_DATA"):
        files(path=Path("own.npz"))
    for place in (second / "own" / "own.npz", first / "own.npz", here / "own.npz"):
        save(place, x=X, y=Y)
        assert [each.resolve() for each in files(path=Path("own.npz"))] == [place]
    assert files(path=first / "own.npz") == [first / "own.npz"]
    (here / "folder.npz").mkdir()
    with pytest.raises(DataError, match=r"no file 'folder\.npz'"):
        load(path=Path("folder.npz"))


def test_real_images_are_read_as_they_are(shared_data: Path) -> None:
    path = shared_data / "fashion_mnist" / "fashion_mnist.npz"
    data = open_dataset(DataSpec(source="npz", options={"path": path}))
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.input_shape == (1, 28, 28)
    with np.load(path) as archive:
        np.testing.assert_array_equal(data.test.inputs[:, 0], archive["x_test"])
        np.testing.assert_array_equal(data.test.labels, archive["y_test"])
    np.testing.assert_array_equal(np.bincount(data.train.labels), [5400] * 10)
    # Mean and standard deviation of the 60,000 training images as published with torchvision's examples.
    pixels = np.concatenate([data.train.inputs, data.validation.inputs]) / np.float32(255)
    assert pixels.mean() == pytest.approx(0.2860, abs=1e-4)
    assert pixels.std() == pytest.approx(0.3530, abs=1e-4)
