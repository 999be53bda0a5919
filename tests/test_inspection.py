"""inspect(): one line of error for whatever is not a model, and nothing heavy imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.errors import ModelError
from edgekd.inspection import inspect


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.onnx", b"", "the file is empty"),
        ("empty.tflite", b"", "the file is empty"),
        ("page.tflite", b"<!DOCTYPE html>" * 100, "not a TFLite model"),
        ("page.onnx", b"<!DOCTYPE html>" * 100, "not an ONNX model"),
        ("cut.tflite", b"\x1c\0\0\0TFL3\x14\0", "a damaged TFLite model"),
        ("named.onnx", b"\x1c\0\0\0TFL3\x14\0", "a TFLite model with the name of an ONNX model"),
        ("weights.h5", b"\x89HDF\r\n\x1a\n", "unknown kind of model file '.h5'"),
        ("model", b"whatever", "unknown kind of model file 'model'"),
    ],
)
def test_what_is_no_model_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        inspect(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        inspect(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="can't read it: Is a directory"):
        inspect(tmp_path)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=4000), suffix=st.sampled_from([".onnx", ".tflite"]))
def test_random_bytes_are_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"random{suffix}"
    path.write_bytes(content[:4] + b"TFL3" + content[4:] if suffix == ".tflite" else content)
    with pytest.raises(ModelError) as caught:
        inspect(path)
    assert "\n" not in str(caught.value)


def test_identifier_decides_where_the_name_does_not(shared_data: Path, tmp_path: Path) -> None:
    reference = shared_data / "models/tflm/hello_world_int8.tflite"
    (tmp_path / "download").write_bytes(reference.read_bytes())
    assert inspect(tmp_path / "download") == inspect(reference)


def test_needs_neither_torch_nor_tensorflow(shared_data: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgekd import registry\n"
        "for path in sys.argv[1:]: registry.function('formats', path.split('.')[-1])(Path(path))\n"
        "print(sorted({'torch', 'tensorflow', 'jax', 'litert_torch', 'onnxruntime'} & set(sys.modules)))"
    )
    files = [shared_data / "models" / name for name in ("dtln/model_1.onnx", "tflm/hello_world_int8.tflite")]
    result = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
