"""C sources: compilers take them without a word, and what they compile to is the model that TFLite Micro runs."""

import ctypes
import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.errors import ConfigError, EdgekdError, ExportError
from edgekd.inspection import inspect
from edgekd.packagers import vela
from edgekd.packagers._operators import METHODS
from edgekd.packagers.c_source import pack
from edgekd.records import Cargo, Vectors
from tests.lints.tflite_files import Operator, Tensor, write_tflite
from tests.packagers.texts import cargo_of

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
COMPILERS = {
    "c99": ["gcc", "-std=c99"],
    "c11": ["gcc", "-std=c11"],
    "c++11": ["g++", "-std=c++11"],
    "c++17": ["g++", "-std=c++17"],
    "cortex-m4 c99": ["arm-none-eabi-gcc", "-std=c99", "-mcpu=cortex-m4", "-mthumb"],
    "cortex-m4 c11": ["arm-none-eabi-gcc", "-std=c11", "-mcpu=cortex-m4", "-mthumb"],
    "cortex-m4 c++11": ["arm-none-eabi-g++", "-std=c++11", "-mcpu=cortex-m4", "-mthumb"],
    "cortex-m7 c++17": ["arm-none-eabi-g++", "-std=c++17", "-mcpu=cortex-m7", "-mthumb"],
    "cortex-m55 c++17": ["arm-none-eabi-g++", "-std=c++17", "-mcpu=cortex-m55", "-mthumb"],
}
LABELS = ('a "b"', "c\\", "what??/", "é/*x", "*/", "%s", "0", "1", "2", "3")


def micro(path: Path, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
    """What TFLite Micro makes of inputs (N, …)."""
    runtime = pytest.importorskip("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_file(str(path), arena_size=400_000)
    found = []
    for each in inputs:
        interpreter.set_input(each[None], 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0)[0].copy())
    return np.stack(found)


@pytest.fixture(scope="module", params=["int8", "float32"])
def packed(
    request: pytest.FixtureRequest,
    cifar: tuple[NDArray[np.uint8], tuple[str, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Cargo, Path]:
    cargo: Cargo = request.getfixturevalue("int8_resnet" if request.param == "int8" else "float_resnet")
    inputs = cargo.quantized(cifar[0][:3])
    cargo = dataclasses.replace(
        cargo,
        labels=LABELS,
        description="Ends a comment */ and begins one /* or goes on \\",
        vectors=Vectors(inputs=inputs, outputs=micro(cargo.model.path, inputs)),
        arena_bytes=55_984,
        arena_target="cortex-m4 \\",
    )
    folder = tmp_path_factory.mktemp(request.param)
    pack(cargo=cargo, folder=folder)
    return cargo, folder


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiles_without_warnings(compiler: str, packed: tuple[Cargo, Path], tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]}; on Debian: tools/install-system-packages")
    for source in ("model_data.c", "model_test.c"):
        done = subprocess.run(
            [*command, *STRICT, "-c", str(packed[1] / source), "-o", str(tmp_path / "out.o")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def library(packed: tuple[Cargo, Path], tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    path = tmp_path_factory.mktemp("library") / "model.so"
    sources = [str(packed[1] / name) for name in ("model_data.c", "model_test.c")]
    subprocess.run(["gcc", "-std=c11", "-shared", "-fPIC", *sources, "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def stored(library: ctypes.CDLL) -> tuple[int, bytes]:
    """Address and bytes of the model in the compiled object."""
    size = ctypes.c_size_t.in_dll(library, "model_data_size").value
    data = (ctypes.c_ubyte * size).in_dll(library, "model_data")
    return ctypes.addressof(data), bytes(data)


def test_object_holds_the_very_file_aligned_to_16(packed: tuple[Cargo, Path], library: ctypes.CDLL) -> None:
    address, content = stored(library)
    assert address % 16 == 0
    assert content == packed[0].model.path.read_bytes()


def test_labels_are_what_they_were(library: ctypes.CDLL) -> None:
    found = (ctypes.c_char_p * len(LABELS)).in_dll(library, "model_labels")
    assert tuple(each.decode() for each in found if each is not None) == LABELS


def self_test(library: ctypes.CDLL, cargo: Cargo, model: Path, spoil: int = 0) -> int:
    """Call the C function with TFLite Micro as its runner; `spoil` is added to the first output."""
    kind = ctypes.c_int8 if cargo.model.inputs[0].dtype == "int8" else ctypes.c_float

    def run(source: object, target: object) -> int:
        inputs = np.ctypeslib.as_array(source, (32, 32, 3))
        outputs = np.ctypeslib.as_array(target, (10,))
        outputs[:] = micro(model, inputs[None])[0]
        outputs[0] += spoil
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(kind), ctypes.POINTER(kind))(run)
    library.model_self_test.restype = ctypes.c_int
    return int(library.model_self_test(callback))


def test_test_vectors_match_when_the_compiled_bytes_run_through_tflite_micro(
    packed: tuple[Cargo, Path], library: ctypes.CDLL, tmp_path: Path
) -> None:
    model = tmp_path / "dumped.tflite"
    model.write_bytes(stored(library)[1])
    assert self_test(library, packed[0], model) == 0


def test_self_test_counts_wrong_outputs(packed: tuple[Cargo, Path], library: ctypes.CDLL) -> None:
    assert self_test(library, packed[0], packed[0].model.path, spoil=2) == 3  # one of each sample


def test_self_test_tells_when_the_model_can_not_run(library: ctypes.CDLL) -> None:
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda _source, _target: 1)
    library.model_self_test.restype = ctypes.c_int
    assert library.model_self_test(callback) == -1


def test_header_has_the_file_s_own_numbers(packed: tuple[Cargo, Path]) -> None:
    cargo, folder = packed
    found = dict(re.findall(r"#define (\w+) (.+)", (folder / "model_data.h").read_text()))
    assert found["MODEL_ARENA_BYTES"] == "55984"
    assert (found["MODEL_INPUT_ELEMENTS"], found["MODEL_OUTPUT_ELEMENTS"]) == ("3072", "10")
    if cargo.model.inputs[0].scale is not None:
        # As shared/data says: raw pixels less 128; a softmax in steps of 1 / 256.
        numbers = [found[f"MODEL_{end}_{what}"] for end in ("INPUT", "OUTPUT") for what in ("SCALE", "ZERO_POINT")]
        assert numbers == ["1.0f", "(-128)", "0.00390625f", "(-128)"]
    else:
        assert "MODEL_INPUT_SCALE" not in found


def test_resolver_adds_each_operator_of_the_file_and_no_other(packed: tuple[Cargo, Path]) -> None:
    text = (packed[1] / "model_resolver.h").read_text()
    added = re.findall(r"resolver\.(Add\w+)\(\)", text)
    # Operators as edgekd's reader finds them, methods as the header of TFLite Micro has them.
    assert {name for name, _ in inspect(packed[0].model.path).operators} == {
        "ADD", "AVERAGE_POOL_2D", "CONV_2D", "FULLY_CONNECTED", "RESHAPE", "SOFTMAX",
    }  # fmt: skip
    assert added == ["AddAdd", "AddAveragePool2D", "AddConv2D", "AddFullyConnected", "AddReshape", "AddSoftmax"]
    assert "operators = 6;" in text


def test_tflite_micro_registers_a_kernel_for_every_operator_that_is_known() -> None:
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro._runtime")
    # Mangled names of functions without arguments.
    kernels = {
        each.decode() for each in re.findall(rb"Register_([A-Z][A-Z0-9_]*?)Ev\0", Path(runtime.__file__).read_bytes())
    }
    # Of an accelerator that this machine has not.
    assert {*METHODS} - {"ethos-u"} - kernels == set()


def test_compiles_against_tflite_micro(packed: tuple[Cargo, Path], tmp_path: Path) -> None:
    headers = os.environ.get("EDGEKD_TFLM_HEADERS")
    if not headers:
        pytest.skip("set EDGEKD_TFLM_HEADERS to folders of TFLite Micro's and its libraries' headers, joined by ':'")
    folders = [f"-isystem{each}" for each in headers.split(":")]
    flags = ["-std=c++17", "-DTF_LITE_STATIC_MEMORY", *STRICT, *folders]
    done = subprocess.run(
        ["g++", *flags, "-c", str(packed[1] / "model_run.cc"), "-o", str(tmp_path / "out.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_file_compiled_for_an_accelerator_needs_its_one_operator(  # type: ignore[no-untyped-def]
    int8_resnet: Cargo, make_cargo, tmp_path: Path
) -> None:
    pytest.importorskip("ethosu")
    compiled, _ = vela.pack(cargo=int8_resnet, folder=tmp_path)
    pack(cargo=make_cargo(compiled, "static_wi8_ai8"), folder=tmp_path)
    assert re.findall(r"resolver\.(Add\w+)\(\)", (tmp_path / "model_resolver.h").read_text()) == ["AddEthosU"]


def test_rows_of_an_integer_table_are_looked_up(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-127, 128, (16, 4)).astype(np.int8)
    tensors = {
        "tokens": Tensor(shape=(3,), dtype="int32"),
        "table": Tensor(shape=values.shape, dtype="int8", data=values, scale=(0.02,)),
        "rows": Tensor(shape=(3, 4)),
    }
    lookup = Operator(name="EMBEDDING_LOOKUP", inputs=["tokens", "table"], outputs=["rows"])
    path = write_tflite(tmp_path / "m.tflite", tensors, [lookup], ["tokens"], ["rows"])
    pack(cargo=dataclasses.replace(cargo_of(path, labels=()), arena_bytes=2000), folder=tmp_path)
    assert "AddEmbeddingLookup" in (tmp_path / "model_resolver.h").read_text()
    interpreter = pytest.importorskip("tflite_micro").runtime.Interpreter.from_file(str(path), arena_size=10_000)
    interpreter.set_input(np.array([3, 0, 15], np.int32), 0)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_output(0), values[[3, 0, 15]].astype(np.float64) * 0.02, rtol=1e-6)


def test_hybrid_file_is_refused(shared_data: Path, make_cargo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Its weights are int8 and its activations float32: TFLite Micro stops at it."""
    cargo = make_cargo(shared_data / "models/dtln/model_quant_1.tflite", "dynamic_wi8_afp32")
    ends = {"inputs": cargo.model.inputs[:1], "outputs": cargo.model.outputs[:1]}
    with pytest.raises(ExportError, match="packed weights in FULLY_CONNECTED"):
        pack(cargo=dataclasses.replace(cargo, model=dataclasses.replace(cargo.model, **ends)), folder=tmp_path)


@pytest.mark.parametrize("symbol", ["9lives", "my model", "Model", "", "a-b"])
def test_symbol_that_c_does_not_allow_is_refused(symbol: str, int8_resnet: Cargo, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"symbol '{symbol}'")):
        pack(cargo=int8_resnet, folder=tmp_path, symbol=symbol)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), np.zeros((2, 10), np.int8)),
        (np.zeros((2, 3, 32, 32), np.int8), np.zeros((2, 10), np.int8)),
        (np.zeros((2, 32, 32, 3), np.int8), np.zeros((1, 10), np.int8)),
        (np.zeros((0, 32, 32, 3), np.int8), np.zeros((0, 10), np.int8)),
    ],
    ids=["type", "layout", "count", "none"],
)
def test_vectors_that_do_not_fit_are_refused(
    inputs: NDArray[np.generic], outputs: NDArray[np.generic], int8_resnet: Cargo, tmp_path: Path
) -> None:
    cargo = dataclasses.replace(int8_resnet, vectors=Vectors(inputs=inputs, outputs=outputs))
    with pytest.raises(EdgekdError, match="of test vectors are"):
        pack(cargo=cargo, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_vectors_and_arena_there_is_no_test_and_no_made_up_number(int8_resnet: Cargo, tmp_path: Path) -> None:
    paths = pack(cargo=int8_resnet, folder=tmp_path, symbol="tiny")
    assert [each.name for each in paths] == [
        "tiny_data.h", "tiny_data.c", "tiny_resolver.h", "tiny_run.h", "tiny_run.cc",
    ]  # fmt: skip
    assert "define TINY_ARENA_BYTES" not in (tmp_path / "tiny_data.h").read_text()
