"""How samples are arranged for files of other frameworks."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from edgekd.errors import ModelError
from edgekd.teachers._layout import Arrangement, LayoutOption, Shape, arrange

USUAL: tuple[Literal["channels_first"], Literal["channels_last"]] = ("channels_first", "channels_last")


def arranged(
    found: Shape, input_shape: tuple[int, ...], layout: LayoutOption = "auto", usual: Literal[0, 1] = 0
) -> Arrangement:
    return arrange(found, input_shape=input_shape, layout=layout, usual=USUAL[usual], where="file")


@pytest.mark.parametrize(
    ("found", "input_shape", "order"),
    [
        ((3, 32, 48), (3, 32, 48), (0, 1, 2)),
        ((32, 48, 3), (3, 32, 48), (1, 2, 0)),
        ((None, None, 3), (3, 32, 48), (1, 2, 0)),
        ((3, None, None), (3, 32, 48), (0, 1, 2)),
        ((100, 6), (6, 100), (1, 0)),
        ((6, 100), (6, 100), (0, 1)),
        ((640,), (640,), (0,)),
    ],
)
def test_the_layout_that_fits_is_taken_whatever_the_format(
    found: Shape, input_shape: tuple[int, ...], order: tuple[int, ...]
) -> None:
    assert arranged(found, input_shape, usual=0).order == order
    assert arranged(found, input_shape, usual=1).order == order


@pytest.mark.parametrize("found", [(3, 3, 3), (None, None, None)])
def test_where_both_fit_the_format_decides_and_the_recipe_above_it(found: Shape) -> None:
    assert arranged(found, (3, 3, 3), usual=0).order == (0, 1, 2)
    assert arranged(found, (3, 3, 3), usual=1).order == (1, 2, 0)
    assert arranged(found, (3, 3, 3), "channels_last", usual=0).order == (1, 2, 0)
    assert arranged(found, (3, 3, 3), "channels_first", usual=1).order == (0, 1, 2)


def test_values_go_where_the_axes_say() -> None:
    samples = np.random.default_rng(1).random((4, 3, 5, 6), np.float32)
    found = arranged((5, 6, 3), (3, 5, 6)).apply(samples)
    assert found.flags.c_contiguous
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], samples[:, channel])


@pytest.mark.parametrize("found", [(784,), (28, 28), (28, 28, 1), (1, 28, 28), (1, 28, 28, 1)])
def test_one_channel_fits_any_number_of_axes(found: tuple[int, ...]) -> None:
    samples = np.random.default_rng(1).random((4, 1, 28, 28), np.float32)
    np.testing.assert_array_equal(arranged(found, (1, 28, 28)).apply(samples), samples.reshape(4, *found))


def test_several_channels_in_a_flat_vector_need_the_layout() -> None:
    with pytest.raises(ModelError, match=r"takes \(3072,\).*in two ways; say layout") as caught:
        arranged((3072,), (3, 32, 32))
    assert caught.value.where == "file"
    samples = np.random.default_rng(1).random((4, 3, 32, 32), np.float32)
    last = arranged((3072,), (3, 32, 32), "channels_last").apply(samples)
    np.testing.assert_array_equal(last, np.moveaxis(samples, 1, -1).reshape(4, -1))


@pytest.mark.parametrize(
    ("found", "input_shape", "layout"),
    [
        ((3, 32, 32), (1, 28, 28), "auto"),
        ((3, 32, 32), (3, 32, 32), "channels_last"),
        ((32, 3, 32), (3, 32, 32), "auto"),
        ((10,), (9,), "auto"),
        ((None, 4), (3, 32, 32), "auto"),
    ],
)
def test_a_shape_that_can_not_fit_is_named_with_the_datas(
    found: Shape, input_shape: tuple[int, ...], layout: LayoutOption
) -> None:
    with pytest.raises(ModelError, match="takes samples of shape") as caught:
        arranged(found, input_shape, layout)
    text = str(caught.value)
    assert str(input_shape) in text
    assert str(found).replace("None", "any") in text


@pytest.mark.parametrize("found", [(5, 6, 3), (3, 5, 6), (1, 5, 6, 3)])
def test_what_has_the_shape_of_the_input_comes_back_channels_first(found: tuple[int, ...]) -> None:
    samples = np.random.default_rng(1).random((4, 3, 5, 6), np.float32)
    arrangement = arranged(found, (3, 5, 6))
    np.testing.assert_array_equal(arrangement.undo(arrangement.apply(samples)), samples)
    other = np.zeros((4, 7), np.float32)
    assert arrangement.undo(other) is other
