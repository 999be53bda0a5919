"""Bits per byte do not depend on how a text is cut into tokens."""

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.metrics import score_all


def test_it_does_not_depend_on_the_number_of_tokens() -> None:
    few, many = (
        score_all("next_token", outputs=np.array([[8.0, tokens]]), labels=np.array([4]))[1] for tokens in (2, 4)
    )
    assert few.value == many.value == pytest.approx(8 / np.log(2) / 4)


def test_a_window_without_text_says_nothing() -> None:
    with pytest.raises(DataError, match="without text"):
        score_all("next_token", outputs=np.array([[1.0, 2.0]]), labels=np.array([0]))
