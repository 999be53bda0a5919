"""Bytes that benchmark_model takes and writes, against the runner's arithmetic and NumPy's."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd import runner
from edgekd.errors import DataError, MeasurementError
from edgekd.records import TensorSpec
from edgekd.runtimes._benchmark_samples import check_samples, dequantize, quantize, read_outputs

INTEGERS = ("int8", "uint8", "int16", "int32")


def spec(dtype: str, shape: tuple[int | None, ...] = (1, 4), scale: float | None = None, zero: int = 0) -> TensorSpec:
    return TensorSpec(name="x", shape=shape, dtype=dtype, scale=scale, zero_point=zero)


def as_runner_has_it(tensor: TensorSpec) -> dict[str, object]:
    return {**asdict(tensor), "scale": tensor.scale or 0.0}


@given(
    dtype=st.sampled_from((*INTEGERS, "float32", "float16")),
    scale=st.floats(2**-14, 8, width=32),
    zero=st.integers(-128, 127),
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30),
)
def test_values_are_what_the_runner_makes_of_them(dtype: str, scale: float, zero: int, values: list[float]) -> None:
    tensor = spec(dtype, scale=scale, zero=zero)
    there = quantize(np.array(values, np.float32), tensor)
    here = runner.quantize(np.array(values, np.float32), as_runner_has_it(tensor))
    assert there.dtype == here.dtype
    np.testing.assert_array_equal(there, here)
    back = dequantize(there, tensor)
    np.testing.assert_array_equal(back, runner.dequantize(there, as_runner_has_it(tensor)))
    assert back.dtype == np.float32


@pytest.mark.parametrize("dtype", [*INTEGERS, "int64", "bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 2), (None, 5), (3, 2), (4,), (1,)])
def test_the_first_of_several_outputs_is_found(dtype: str, shape: tuple[int | None, ...]) -> None:
    count, sizes = 7, [size or 1 for size in shape]
    random = np.random.default_rng(0)
    first = random.integers(0, 2, (count, *sizes)).astype(dtype)
    other = random.random((count, 1, 9)).astype(np.float32)
    content = b"".join(one.tobytes() + two.tobytes() for one, two in zip(first, other, strict=True))
    read = read_outputs(content, [spec(dtype, shape), spec("float32", (1, 9))], count)
    # As the runner keeps rows: without a leading dimension of one, unless it is the only one.
    rows = [row[0] if row.ndim > 1 and row.shape[0] == 1 else row for row in first]
    np.testing.assert_array_equal(read, np.array(rows, np.float32))


def test_outputs_of_another_size_are_none() -> None:
    with pytest.raises(MeasurementError, match=r"^benchmark_model there wrote 9 bytes for 2 samples, not 8$"):
        read_outputs(bytes(9), [spec("int8")], 2)


@pytest.mark.parametrize(
    ("tensor", "shape", "words"),
    [
        (spec("int8", (1, 3)), (5, 4), r"input 'x' is \(1, 3\), the samples are \(5, 4\)"),
        (spec("int8", (1, 3)), (5, 3, 1), "the samples are"),
        (spec("int8", (2, 3)), (5, 3), "the samples are"),
        (spec("int8", (None, 3)), (0, 3), "the samples are"),
    ],
)
def test_samples_that_don_t_fit(tensor: TensorSpec, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_samples(tensor, shape, "m.tflite")


def test_values_that_a_type_can_t_have() -> None:
    with pytest.raises(DataError, match="'x' is int8 without a scale, the samples are fractions"):
        quantize(np.array([0.5], np.float32), spec("int8"))
    with pytest.raises(DataError, match="'x' is of type string, which samples can't have"):
        quantize(np.array([1.0], np.float32), spec("string"))
