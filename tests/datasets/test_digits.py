"""The digits that scikit-learn ships, against its own loader."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgekd.datasets import digits, open_dataset
from edgekd.records import DataSpec


def test_images_and_labels_are_scikit_learn_s() -> None:
    source, bunch = digits.load(), load_digits()
    np.testing.assert_array_equal(source.train.inputs[:, 0], bunch.images)
    np.testing.assert_array_equal(source.train.labels, bunch.target)
    assert source.classes == tuple("0123456789")
    assert source.train.inputs.max() * source.scale == pytest.approx(1)


def test_the_file_behind_them_is_found() -> None:
    (file,) = digits.files()
    with gzip.open(file, "rt") as text:
        table = np.loadtxt(text, delimiter=",")
    np.testing.assert_array_equal(table[:, :-1], digits.load().train.inputs.reshape(1797, 64))


def test_the_splits_of_the_shipped_recipe_hold_every_class() -> None:
    data = open_dataset(DataSpec(source="digits", test=0.3, validation=0.15))
    assert len(data.train) + len(data.validation) + len(data.test) == 1797
    for split in (data.train, data.validation, data.test):
        share = np.bincount(split.labels, minlength=10) / len(split)
        assert (abs(share - 0.1) < 0.02).all()
