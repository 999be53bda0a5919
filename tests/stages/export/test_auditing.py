"""What must never calibrate a file: noise, constants, another range; real photographs and recordings must."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.stages.export.auditing import audit, portray, warn_of_missing_classes, warn_of_noise

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> NDArray[np.float32]:
    with np.load(shared_data / "cifar10/cifar10_lossless_train4000.npz") as archive:
        images: NDArray[np.float32] = archive["x_train_first4000"][:200].astype(np.float32) / 255
    return images if images.shape[1] == 3 else images.transpose(0, 3, 1, 2)


def roughness(values: NDArray[np.float32]) -> float:
    """1 - r of neighbours in the last dimension, by NumPy's own correlation of all pairs."""
    exact = values.astype(np.float64)
    return 1 - float(np.corrcoef(exact[..., 1:].ravel(), exact[..., :-1].ravel())[0, 1])


def test_a_portrait_is_numpys(photographs: NDArray[np.float32]) -> None:
    found = portray(photographs)
    assert (found.low, found.high) == (photographs.min(), photographs.max())
    # The ratio of von Neumann and the correlation differ by what the first and last pixels of rows weigh.
    assert found.roughness == pytest.approx(roughness(photographs), rel=0.1)


@pytest.mark.parametrize("noise", [RANDOM.uniform(0, 1, (64, 3, 32, 32)), RANDOM.normal(0.5, 0.15, (64, 3, 32, 32))])
def test_noise_is_refused_where_data_are_none(photographs: NDArray[np.float32], noise: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="calibration samples are noise"):
        audit(portray(np.clip(noise, 0, 1).astype(np.float32)), portray(photographs))


def test_data_that_are_rough_themselves_pass() -> None:
    features = RANDOM.normal(size=(200, 16)).astype(np.float32)
    audit(portray(features[:100]), portray(features[100:]))


def test_photographs_pass_one_another(photographs: NDArray[np.float32]) -> None:
    audit(portray(photographs[:50]), portray(photographs[50:]))


@pytest.mark.parametrize(("factor", "offset"), [(255.0, 0.0), (1 / 255, 0.0), (2.0, -1.0)])
def test_another_range_is_refused(photographs: NDArray[np.float32], factor: float, offset: float) -> None:
    wrong = (photographs * factor + offset).astype(np.float32)
    with pytest.raises(DataError, match="those of validation from 0 to 1"):
        audit(portray(wrong), portray(photographs))


def test_a_constant_is_refused(photographs: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match=r"all calibration samples are 0\.5 everywhere"):
        audit(portray(np.full_like(photographs, 0.5)), portray(photographs))


def test_numbers_that_are_not_finite_are_refused(photographs: NDArray[np.float32]) -> None:
    wrong = photographs.copy()
    wrong[150, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        portray(wrong)


def test_classes_without_a_sample_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgekd"):
        assert warn_of_missing_classes(np.array([0, 0, 2]), ("cat", "dog", "frog", "horse")) == ("dog", "horse")
        assert "no calibration sample is of 2 of 4 classes (dog, horse)" in caplog.text
        caplog.clear()
        assert warn_of_missing_classes(np.arange(4), ("cat", "dog", "frog", "horse")) == ()
        assert caplog.text == ""


def test_noise_without_anything_to_compare_with_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgekd"):
        warn_of_noise(portray(RANDOM.uniform(0, 1, (64, 3, 32, 32)).astype(np.float32)))
        assert "as in noise" in caplog.text
        caplog.clear()
        warn_of_noise(portray(np.sin(np.arange(32 * 32, dtype=np.float32) / 9).reshape(1, 1, 32, 32)))
        assert caplog.text == ""


def test_texts_are_neither_noise_nor_of_another_range() -> None:
    random = np.random.default_rng(0)
    frequent, all_words = (random.integers(0, top, (50, 20)).astype(np.float32) for top in (100, 30_000))
    audit(portray(frequent), portray(all_words), tokens=True)
    with pytest.raises(DataError, match="go from 0 to 99"):
        audit(portray(frequent), portray(all_words))
    with pytest.raises(DataError, match="are 7 everywhere"):
        audit(portray(np.full((5, 4), 7, np.float32)), portray(all_words), tokens=True)
