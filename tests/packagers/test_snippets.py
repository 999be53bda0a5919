"""Snippets: the Python one is run, the C++ one is compiled, both against formulas in NumPy."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd import store
from edgekd.errors import ConfigError, ExportError
from edgekd.packagers import tokenizer
from edgekd.packagers.snippets import pack
from edgekd.records import Cargo
from tests.packagers.texts import LABELS, cargo_of, logits_of, write_onnx, write_tflite

MEAN = np.array([0.485, 0.456, 0.406])[:, None, None]
STD = np.array([0.229, 0.224, 0.225])[:, None, None]


def run_python(snippet: Path, model: Path, raw: NDArray[np.generic], folder: Path) -> str:
    np.save(folder / "raw.npy", raw)
    done = subprocess.run(
        [sys.executable, str(snippet), str(model), str(folder / "raw.npy")], capture_output=True, text=True, check=True
    )
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize("kind", ["int8_resnet", "float_resnet"])
def test_python_gives_the_label_that_litert_gives(
    kind: str, cifar: tuple[NDArray[np.uint8], tuple[str, ...]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cargo: Cargo = request.getfixturevalue(kind)
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("python",))
    interpreter = Interpreter(model_path=str(cargo.model.path))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    labels = []
    for image in cifar[0][:2]:
        # Scale 1 and zero point -128 of the int8 file, as shared/data says.
        stored = (image.astype(int) - 128).astype(np.int8) if kind == "int8_resnet" else image.astype(np.float32)
        interpreter.set_tensor(source["index"], stored[None])
        interpreter.invoke()
        labels.append(cifar[1][int(interpreter.get_tensor(target["index"])[0].argmax())])
    assert len(set(labels)) == 2
    assert [run_python(path, cargo.model.path, image, tmp_path) for image in cifar[0][:2]] == labels


def test_python_normalizes_each_channel_of_an_onnx_file(onnx_cargo: Cargo, tmp_path: Path) -> None:
    (path,) = pack(cargo=onnx_cargo, folder=tmp_path, languages=("python",))
    random = np.random.default_rng(5)
    session = onnxruntime.InferenceSession(onnx_cargo.model.path)
    expected, found = [], []
    for _ in range(4):
        raw = random.integers(0, 256, (3, 4, 4))
        scores = session.run(None, {"input": ((raw / 255 - MEAN) / STD)[None].astype(np.float32)})[0]
        expected.append(onnx_cargo.labels[int(scores.argmax())])
        found.append(run_python(path, onnx_cargo.model.path, raw, tmp_path))
    assert found == expected
    assert len(set(expected)) > 1


def test_python_without_labels_prints_the_outputs(onnx_cargo: Cargo, tmp_path: Path) -> None:
    cargo = dataclasses.replace(onnx_cargo, labels=(), task="regression", head="values")
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("python",))
    found = run_python(path, cargo.model.path, np.zeros((3, 4, 4)), tmp_path)
    inputs = np.broadcast_to(-MEAN / STD, (1, 3, 4, 4)).astype(np.float32)
    expected = onnxruntime.InferenceSession(cargo.model.path).run(None, {"input": inputs})[0][0]
    np.testing.assert_allclose(np.fromstring(found.strip("[]"), sep=" "), expected, rtol=1e-5)


DUMP = """
int main() {
  std::vector<float> raw(kInputs);
  for (float& each : raw) std::cin >> each;
  for (const auto each : prepare(raw)) std::cout << +each << ' ';
  std::cout << '\\n' << label(std::vector<float>{0, 0, 0, 0, 1});
}
"""


@pytest.mark.parametrize("kind", ["int8_resnet", "onnx_cargo"])
def test_cpp_prepares_inputs_as_the_formula_says(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The part that needs no runtime's headers, compiled with a main of its own."""
    if not shutil.which("g++"):
        pytest.skip("no g++")
    cargo: Cargo = request.getfixturevalue(kind)
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("cpp",))
    text = re.sub(r"#include [<\"](tensorflow|onnxruntime).*", "", path.read_text()).partition("class Model")[0]
    (tmp_path / "dump.cpp").write_text("#include <iostream>\n" + text + DUMP)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    program = tmp_path / "dump"
    subprocess.run(["g++", *flags, str(tmp_path / "dump.cpp"), "-o", str(program)], check=True)
    shape = (32, 32, 3) if kind == "int8_resnet" else (3, 4, 4)
    raw = np.random.default_rng(0).integers(0, 256, shape)
    done = subprocess.run([program], input=" ".join(map(str, raw.ravel())), capture_output=True, text=True, check=True)
    numbers, label = done.stdout.split("\n")
    expected = raw - 128 if kind == "int8_resnet" else (raw / 255 - MEAN) / STD
    np.testing.assert_allclose(np.array(numbers.split(), float), expected.ravel(), rtol=1e-4, atol=1e-5)
    assert label == cargo.labels[4]


# Before a fixture moves the caches.
HEADERS = store.cache_place("headers")


@pytest.mark.parametrize(
    ("kind", "variable", "folder"),
    [
        ("int8_resnet", "EDGEKD_TFLITE_HEADERS", HEADERS),
        ("onnx_cargo", "EDGEKD_ONNXRUNTIME_HEADERS", HEADERS / "onnxruntime"),
    ],
)
def test_cpp_compiles_against_the_runtime(
    kind: str, variable: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folders = os.environ.get(variable) or str(folder)
    if not Path(folders.partition(":")[0]).is_dir():
        pytest.skip(f"run tools/install-system-packages, or set {variable} to folders of headers, joined by ':'")
    (path,) = pack(cargo=request.getfixturevalue(kind), folder=tmp_path, languages=("cpp",))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", *(f"-isystem{each}" for each in folders.split(":"))]
    done = subprocess.run(["g++", *flags, "-fsyntax-only", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_kotlin_has_the_file_s_numbers(int8_resnet: Cargo, tmp_path: Path) -> None:
    (path,) = pack(cargo=int8_resnet, folder=tmp_path, languages=("kotlin",), package="org.example.insects")
    text = path.read_text()
    assert "package org.example.insects\n" in text
    assert "allocateDirect(3072)" in text
    assert "((real / 1.0).roundToInt() + (-128)).coerceIn(-128, 127)" in text
    assert "(output.get() - (-128)) * 0.00390625f" in text
    assert f'asset: String = "{int8_resnet.model.path.name}"' in text
    assert re.findall(r'^ +"(\w+)",?$', text, re.MULTILINE) == list(int8_resnet.labels)
    for left, right in ("()", "{}", "[]"):
        assert text.count(left) == text.count(right)


def test_kotlin_normalizes_each_channel_and_escapes_labels(onnx_cargo: Cargo, tmp_path: Path) -> None:
    (path,) = pack(cargo=onnx_cargo, folder=tmp_path, languages=("kotlin",))
    text = path.read_text()
    means = re.search(r"MEAN = doubleArrayOf\((.*)\)", text)
    assert means
    np.testing.assert_allclose([float(each) for each in means[1].split(",")], 255 * MEAN.ravel())
    assert "index / 16 % MEAN.size" in text
    assert "longArrayOf(1, 3, 4, 4)" in text
    assert r"\$klein" in text  # a dollar begins a template


KOTLIN_MAIN = """
fun main() {
    val model = Model()
    println(model.stored(readLine()!!.split(" ").map { it.toFloat() }.toFloatArray()).joinToString(" "))
    println(model.real(byteArrayOf(-128, -127, 0, 127, 1, 2, 3, 4, 5, 6)).joinToString(" "))
}
"""
KOTLIN_ENDS = """
    fun run(raw: FloatArray) = raw
    fun stored(raw: FloatArray): List<Byte> { fill(raw); return List(input.capacity()) { input.get() } }
    fun real(bytes: ByteArray) = read(ByteBuffer.wrap(bytes)).toList()
"""


@pytest.mark.slow
def test_kotlin_quantizes_and_decodes_as_the_formula_says(int8_resnet: Cargo, tmp_path: Path) -> None:
    """The part that needs no Android, compiled with ends of its own."""
    if not shutil.which("kotlinc"):
        pytest.skip("no kotlinc")
    cargo = dataclasses.replace(int8_resnet, mean=(3.0, 2.0, 1.0), std=(1.5, 1.0, 0.5))
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("kotlin",))
    text = path.read_text()
    middle = text[text.index("    private val input = ") : text.index("    /** The outputs")]
    imports = re.findall(r"^import (?:java|kotlin).*$", text, re.MULTILINE)
    parts = [*imports, "class Model {", middle, KOTLIN_ENDS]
    source = "\n".join([*parts, text[text.index("    companion object") :], KOTLIN_MAIN])
    (tmp_path / "dump.kt").write_text(source)
    subprocess.run(["kotlinc", "dump.kt", "-d", "classes"], cwd=tmp_path, check=True, capture_output=True)
    raw = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    done = subprocess.run(
        ["kotlin", "-cp", "classes", "DumpKt"],
        cwd=tmp_path,
        input=" ".join(map(str, raw.ravel())) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    stored, real = (np.array(line.split(), float) for line in done.stdout.splitlines())
    normalized = (raw - np.array([3.0, 2.0, 1.0])) / np.array([1.5, 1.0, 0.5])
    # Halves are rounded up here, to even in NumPy.
    np.testing.assert_allclose(stored, np.clip(normalized - 128, -128, 127).ravel(), atol=0.5)
    np.testing.assert_allclose(real, (np.array([-128, -127, 0, 127, 1, 2, 3, 4, 5, 6]) + 128) / 256)


def test_unknown_language_is_refused(onnx_cargo: Cargo, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="language 'rust'; allowed: python, kotlin, cpp"):
        pack(cargo=onnx_cargo, folder=tmp_path, languages=("python", "rust"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_onnx, write_tflite], ids=["onnx", "tflite"])
def test_python_takes_a_text(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    cargo = cargo_of(write(tmp_path / f"m.{'onnx' if write is write_onnx else 'tflite'}"))
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("python",))
    tokenizer.pack(cargo=cargo, folder=tmp_path)
    texts = {
        "the film was good": [2, 5, 6, 7, 8, 3],
        "badly acted": [2, 9, 10, 11, 12, 3],
        "bad bad bad": [2, 9, 9, 9, 3],
    }
    found, expected = [], []
    for text, tokens in texts.items():
        command = [sys.executable, str(path), str(cargo.model.path), text]
        found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        filled = np.array([tokens + [0] * (12 - len(tokens))])
        expected.append(LABELS[int(logits_of(filled)[0].argmax())])
    assert found == expected
    assert set(expected) == set(LABELS)


DUMP_TOKENS = """
int main() {
  for (const auto each : prepare({2, 5, 6, 3})) std::cout << +each << ' ';
  try { prepare(std::vector<int32_t>(kInputs + 1)); } catch (const std::length_error&) { std::cout << "refused"; }
}
"""


@pytest.mark.parametrize("write", [write_onnx, write_tflite], ids=["onnx", "tflite"])
def test_cpp_fills_up_tokens(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    if not shutil.which("g++"):
        pytest.skip("no g++")
    cargo = cargo_of(write(tmp_path / f"m.{'onnx' if write is write_onnx else 'tflite'}"))
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("cpp",))
    text = re.sub(r"#include [<\"](tensorflow|onnxruntime).*", "", path.read_text()).partition("class Model")[0]
    (tmp_path / "dump.cpp").write_text("#include <iostream>\n" + text + DUMP_TOKENS)
    program = tmp_path / "dump"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["g++", *flags, str(tmp_path / "dump.cpp"), "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "5", "6", "3", *["0"] * 8, "refused"]


def test_texts_of_any_length_are_for_python_alone(tmp_path: Path) -> None:
    cargo = cargo_of(write_onnx(tmp_path / "m.onnx", length="length"))
    with pytest.raises(ExportError, match=r"takes texts of any length; allowed: Python alone"):
        pack(cargo=cargo, folder=tmp_path)
    (path,) = pack(cargo=cargo, folder=tmp_path, languages=("python",))
    assert path.suffix == ".py"
