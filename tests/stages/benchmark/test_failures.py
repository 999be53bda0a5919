"""Words of real runtimes become a line that says what to do."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import pytest
from onnx import TensorProto, helper

from edgekd import registry
from edgekd.config import load_target
from edgekd.errors import ModelError
from edgekd.records import BenchmarkSpec, Target
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.stages.benchmark.events import Events
from edgekd.stages.benchmark.failures import failure


def refusal(path: Path) -> str:
    spec = BenchmarkSpec(runs=1, time_limit_s=0.1)
    with pytest.raises(ModelError) as caught:
        benchmark([describe_file(path)], targets=[load_target("host")], spec=spec)
    return str(caught.value)


def test_an_onnx_file_that_is_too_new_for_the_runtime(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 99)], ir_version=8)
    (tmp_path / "new.onnx").write_bytes(model.SerializeToString())
    text = refusal(tmp_path / "new.onnx")
    assert text.startswith("new.onnx on host: Load model from ")
    assert "/onnxruntime_src/" not in text
    assert "there may be too old for it" in text
    assert text.endswith("for a newer one: pip install --upgrade onnxruntime")


def test_a_tflite_file_that_is_too_new_for_the_runtime(shared_data: Path, tmp_path: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    old = (shared_data / "models" / "tflm" / "hello_world_float.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(old, 0)
    for code in model.operatorCodes:
        code.version = 99
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "new.tflite").write_bytes(bytes(builder.Output()))
    text = refusal(tmp_path / "new.tflite")
    assert text.startswith("new.tflite on host: Didn't find op for builtin opcode 'FULLY_CONNECTED' version '99'.")
    assert text.endswith("for a newer one: pip install --upgrade ai-edge-litert")


def test_the_place_in_a_program_s_own_source_is_left_out() -> None:
    # As onnxruntime_perf_test 1.21 says it.
    said = "onnxruntime/test/onnx/onnx_model_info.cc:55 void OnnxModelInfo::InitOnnxModelInfo(const PathString&) Failed"
    error = {"event": "error", "kind": "model_rejected", "message": f"onnxruntime_perf_test: {said} to load model"}
    phone = Target(name="phone", description="", transport="adb", runtimes=("onnxruntime_perf_test",))
    runtime = registry.load("runtimes", "onnxruntime_perf_test")
    raised = failure(Events(events=[error]), runtime, phone, "half.onnx on phone")
    assert str(raised) == "half.onnx on phone: onnxruntime_perf_test: Failed to load model"
    error["message"] = "onnxruntime_perf_test: Load model from m.onnx failed:Unsupported model IR version: 99, max 13"
    named = {"event": "environment", "runtime": "onnxruntime_perf_test", "runtime_version": "sha256 76bd05b1e0c2"}
    raised = failure(Events(events=[named, error]), runtime, phone, "new.onnx on phone")
    assert str(raised).endswith("for a newer one: edgekd targets setup phone --from FOLDER")
