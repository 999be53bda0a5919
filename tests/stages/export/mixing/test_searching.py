"""Bytes of layers, reckoned by hand from the formats."""

import pytest
from torch import nn

from edgekd.stages.export.mixing.searching import bits_asked, stored_bytes

CONV, DEPTHWISE = nn.Conv2d(16, 32, 3), nn.Conv2d(8, 8, 3, groups=8)


@pytest.mark.parametrize(
    ("precision", "size"),
    [
        # 4608 weights; for each of 32 channels a scale (4) and a zero point (8) of the weights, the bias (4), and its
        # scale and zero point (12).
        ("static_wi8_ai8", 4608 + 32 * 28),
        ("static_wi4_ai8", 2304 + 32 * 28),
        # Biases of 64 bits; 264 for operators between integers of 8 and 16 bits.
        ("static_wi8_ai16", 4608 + 32 * 32 + 264),
        ("weight_only_wi4_afp32", 2304 + 32 * 16 + 264),
        ("fp16", 2 * 4608 + 32 * 4 + 264),
    ],
)
def test_bytes_of_a_convolution_in_tflite(precision: str, size: int) -> None:
    assert stored_bytes("tflite", CONV, precision) == size


def test_depthwise_weights_keep_eight_bits() -> None:
    assert stored_bytes("tflite", DEPTHWISE, "static_wi4_ai8") == stored_bytes("tflite", DEPTHWISE, "static_wi8_ai8")


def test_what_lies_beside_its_own_kind_needs_no_operators_between() -> None:
    assert stored_bytes("tflite", CONV, "fp16", "fp32") == 2 * 4608 + 32 * 4
    assert stored_bytes("tflite", CONV, "static_wi8_ai8", "fp32") == 4608 + 32 * 28 + 264


def test_bits_are_those_of_the_name() -> None:
    assert [bits_asked(each) for each in ("static_wi8_ai16", "weight_only_wi4_afp32", "fp32")] == [8, 4, 32]
