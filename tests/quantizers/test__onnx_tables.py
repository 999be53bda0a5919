"""Tables of embeddings in fewer bits, against formulas in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import child
from edgekd.inspection import inspect
from edgekd.quantizers._onnx_tables import tables_of
from edgekd.quantizers.onnx import prepare, quantize
from edgekd.records import QuantizationPlan

RANDOM = np.random.default_rng(0)
# Rows of very different sizes: with one scale for all of them the small ones would be lost.
TABLE = (RANDOM.normal(size=(200, 48)) * np.geomspace(1e-3, 10, 200)[:, None]).astype(np.float32)
MATRIX = RANDOM.normal(size=(48, 48)).astype(np.float32)
TOKENS = RANDOM.integers(0, 200, (5, 7))


def write_model(path: Path, *, tied: bool = False) -> Path:
    """Rows of a table, and a product of them; or with the table itself."""
    nodes = [helper.make_node("Gather", ["table", "input"], ["words"], name="lookup")]
    if tied:
        nodes.append(helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", ["words", "turned" if tied else "matrix"], ["output"], name="product"))
    constants = [
        numpy_helper.from_array(TABLE, "table"),
        *([] if tied else [numpy_helper.from_array(MATRIX, "matrix")]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", 7])],
        [
            helper.make_tensor_value_info("words", TensorProto.FLOAT, ["batch", 7, 48]),
            helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 7, 200 if tied else 48]),
        ],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "source.onnx")


def words_of(path: Path) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path)
    found: NDArray[np.float32] = session.run(["words"], {"input": TOKENS})[0]
    return found


def rounded(values: NDArray[np.float32], largest: int, block: int) -> NDArray[np.float64]:
    """By the definition: s = max |w| / largest of each block, w' = s round(w / s)."""
    found = values.astype(np.float64).copy()
    for start in range(0, found.shape[1], block):
        part = found[:, start : start + block]
        scales = np.abs(part).max(axis=1, keepdims=True) / largest
        found[:, start : start + block] = np.round(part / scales) * scales
    return found


@pytest.mark.parametrize(
    ("precision", "largest", "block"),
    [
        ("weight_only_wi8_afp32", 127, 48),
        ("dynamic_wi8_afp32", 127, 48),
        ("static_wi8_ai8", 127, 48),
        ("weight_only_wi4_afp32", 7, 32),
    ],
)
def test_rows_have_scales_of_their_own(source: Path, tmp_path: Path, precision: str, largest: int, block: int) -> None:
    path, ranges = tmp_path / "file.onnx", {"words": (-40.0, 40.0), "output": (-200.0, 200.0)}

    def make() -> None:
        prepare(source, tmp_path / "prepared.onnx")
        plan = QuantizationPlan(precision=precision, ranges=ranges if precision.startswith("static") else {})
        quantize(source=tmp_path / "prepared.onnx", plan=plan, path=path)

    child.call("the quantizer", make)
    expected = rounded(TABLE, largest, block)[TOKENS]
    found = words_of(path)
    if precision.startswith("static"):
        # What is looked up is an activation there, rounded to 8 bits of its range.
        np.testing.assert_allclose(found, expected, atol=40 / 127)
    else:
        # Half a step may go either way.
        assert float(np.mean(np.isclose(found, expected, rtol=1e-5, atol=1e-9))) > 0.999
    table = next(layer for layer in inspect(path).layers if layer.operator.startswith("Gather"))
    assert table.weight_dtype == ("int8" if largest == 127 else "int4")
    assert TABLE.nbytes not in [each.ByteSize() for each in onnx.load(str(path)).graph.initializer]
    assert path.stat().st_size < source.stat().st_size / (3 if largest == 127 else 4)


def test_half_precision_stores_halves(source: Path, tmp_path: Path) -> None:
    quantize(source=source, plan=QuantizationPlan(precision="fp16"), path=tmp_path / "file.onnx")
    np.testing.assert_array_equal(words_of(tmp_path / "file.onnx"), TABLE.astype(np.float16)[TOKENS].astype("f"))
    assert (tmp_path / "file.onnx").stat().st_size < 0.6 * source.stat().st_size


def test_a_table_that_is_a_matrix_too_is_rounded_where_it_is_looked_up(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tied.onnx", tied=True)
    assert [each.name for each in tables_of(onnx.load(str(source)))] == ["lookup"]
    quantize(source=source, plan=QuantizationPlan(precision="weight_only_wi8_afp32"), path=tmp_path / "file.onnx")
    np.testing.assert_allclose(words_of(tmp_path / "file.onnx"), rounded(TABLE, 127, 48)[TOKENS], rtol=2e-2, atol=1e-1)
    session = onnxruntime.InferenceSession(tmp_path / "file.onnx")
    output = session.run(["output"], {"input": TOKENS})[0]
    np.testing.assert_allclose(output, words_of(tmp_path / "file.onnx") @ TABLE.T, rtol=1e-3, atol=1e-2)
