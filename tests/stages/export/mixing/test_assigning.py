"""The assignment of precisions against every assignment there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.errors import ExportError
from edgekd.stages.export.mixing.assigning import Option, assign, loss_of, size_of, sweep

PRECISIONS = ("int4", "int8", "fp16")


def options_of(seed: int, layers: int) -> dict[str, list[Option]]:
    random = np.random.default_rng(seed)
    return {
        f"layer{number}": [
            # Losses of real networks lie five orders of magnitude apart.
            Option(precision=each, loss=float(10 ** random.uniform(-6, -0.5)), size=int(random.integers(10, 5000)))
            for each in PRECISIONS[: random.integers(1, 4)]
        ]
        for number in range(layers)
    }


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), layers=st.integers(1, 6), share=st.floats(0, 1))
def test_no_other_assignment_that_fits_loses_less(seed: int, layers: int, share: float) -> None:
    options = options_of(seed, layers)
    every = [dict(zip(options, chosen, strict=True)) for chosen in itertools.product(*options.values())]
    sizes = [sum(each.size for each in assignment.values()) for assignment in every]
    losses = [sum(each.loss for each in assignment.values()) for assignment in every]
    limit = min(sizes) + share * (max(sizes) - min(sizes))
    best = min(loss for loss, size in zip(losses, sizes, strict=True) if size <= limit)
    found = assign(options, limit)
    assert size_of(options, found) <= limit
    assert loss_of(options, found) == pytest.approx(best, rel=1e-6, abs=1e-10)


def test_a_limit_below_the_smallest_is_refused_with_the_smallest() -> None:
    options = {"stem": [Option(precision="int4", loss=1.0, size=50)]}
    with pytest.raises(ExportError, match=r"fits 49 B; allowed: 50 B or more"):
        assign(options, 49)


def test_of_two_that_lose_the_same_the_smaller_is_taken() -> None:
    options = {"stem": [Option(precision=each, loss=0.1, size=size) for each, size in (("fp16", 100), ("int8", 60))]}
    assert assign(options, 1000) == {"stem": "int8"}


def test_a_sweep_goes_from_the_smallest_to_the_one_that_loses_least() -> None:
    options = options_of(3, 5)
    found = list(sweep(options, 8))
    sizes, losses = ([of(options, each) for each in found] for of in (size_of, loss_of))
    assert sizes == sorted(sizes)
    assert losses == sorted(losses, reverse=True)
    assert sizes[0] == sum(min(each.size for each in given) for given in options.values())
    assert losses[-1] == pytest.approx(sum(min(each.loss for each in given) for given in options.values()))
    assert len(found) > 2
