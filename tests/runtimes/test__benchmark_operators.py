"""Tables of operators: one that others recorded, and all that the published source of the tool can write."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.runtimes._benchmark_operators import join_operators, read_operators

HEADER = "node type, first, avg_ms, %, cdf%, mem KB, times called, name"


def table(*rows: str, title: str = "Run Order", header: str = HEADER) -> str:
    bar = "=" * 30
    return "\n".join([f"{bar} {title} {bar}", header, *rows, "", ""])


def test_a_recorded_table() -> None:
    log = Path(__file__).with_name("logs") / "operators_start.csv"
    found = read_operators(log.read_text(encoding="utf-8"))
    assert len(found) == 12
    assert found[0] == ("CONV_2D", "[sequential_11/conv2d_33/Conv2D]:0", 93039)
    assert found[-1] == ("SOFTMAX", "[Identity]:11", 342)
    # The tool's own sum, of which the first has 44.8994 %.
    assert found[0][2] / sum(ns for _, _, ns in found) == pytest.approx(0.448994, abs=1e-4)


def test_operators_of_a_delegate_have_commas_in_their_types() -> None:
    rows = [
        "Convolution (NHWC, F32) IGEMM, 0.16, 0.1999, 11.4%, 11.4%, 0, 1, Delegate/Convolution (NHWC\t F32) IGEMM:0",
        "Convolution (NHWC, QC8) DWConv, 0.428, 0.051, 4.3%, 8.3%, 0, 13, Delegate/Convolution (NHWC\t QC8) DWConv:1",
        "DEQUANTIZE, 3e-05, 2e-05, -nan%, 100%, 0, 1, [StatefulPartitionedCall:0]:8",
    ]
    assert read_operators(table(*rows)) == [
        ("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution (NHWC, F32) IGEMM:0", 199_900),
        ("Convolution (NHWC, QC8) DWConv", "Delegate/Convolution (NHWC, QC8) DWConv:1", 663_000),
        ("DEQUANTIZE", "[StatefulPartitionedCall:0]:8", 20),
    ]


def test_operators_in_a_table_apart_stand_in_place_of_their_delegate() -> None:
    whole = "TfLiteXNNPackDelegate, 7, 7, 70%, 70%, 0, 1, [a\t b]:12"
    rest = "SOFTMAX, 3, 3, 30%, 100%, 0, 1, [c]:13"
    inner = "DelegateOpInvoke, 6.5, 6.5, 100%, 100%, 0, 1, Delegate/Fully Connected (NC\t F32) GEMM:0"
    assert read_operators(table(whole, rest)) == [
        ("TfLiteXNNPackDelegate", "[a, b]:12", 7_000_000),
        ("SOFTMAX", "[c]:13", 3_000_000),
    ]
    assert read_operators(f"{table(whole, rest)}Delegate internal: \n{table(inner)}") == [
        ("SOFTMAX", "[c]:13", 3_000_000),
        ("Fully Connected (NC, F32) GEMM", "Delegate/Fully Connected (NC, F32) GEMM:0", 6_500_000),
    ]


def test_bodies_and_loading_are_left_out() -> None:
    loop = "WHILE, 9, 9, 100%, 100%, 0, 1, [out]:0"
    body = "ADD, 2, 2, 100%, 100%, 0, 4, [sum]:0"
    log = (
        "Profiling Info for Benchmark Initialization:\n"
        + table("AllocateTensors, 1, 1, 100%, 100%, 0, 1, AllocateTensors/0")
        + "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
        + f"Primary graph (name: main) profile:\n{table(loop)}{table(loop, title='Top by Computation Time')}"
        + f"Subgraph (index: 1, name: body) profile:\n{table(body)}"
    )
    assert read_operators(log) == [("WHILE", "[out]:0", 9_000_000)]


@pytest.mark.parametrize(
    "log", ["", "INFO: STARTING!\ncount=1 curr=5", table(), table("ADD, 1, 1, 100%, 100%, 0, x, [a]")]
)
def test_nothing_to_read_is_nothing(log: str) -> None:
    assert read_operators(log) == []
    assert join_operators([read_operators(log)] * 2) == []
