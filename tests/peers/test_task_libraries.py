"""Files with our metadata in the libraries that apps use: do they see the labels, and predict what LiteRT does?"""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgekd import store
from edgekd.inspection import inspect
from edgekd.packagers import text_task
from edgekd.packagers.tflite_metadata import pack
from edgekd.records import Cargo, Model
from tests.packagers import texts

# The first run installs for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Run = Callable[..., str]
IMAGES = 250
RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet"

DISPLAY = """
import sys
from tflite_support import metadata
shown = metadata.MetadataDisplayer.with_model_file(sys.argv[1])
print(shown.get_metadata_json())
print("---")
print(*shown.get_packed_associated_file_list(), sep=",")
print(shown.get_associated_file_buffer("labels.txt").decode(), end="")
"""
TASK_LIBRARY = """
import json, sys
import numpy as np
from tflite_support.task import vision
classifier = vision.ImageClassifier.create_from_file(sys.argv[1])
found = [classifier.classify(vision.TensorImage.create_from_array(each)) for each in np.load(sys.argv[2])]
tops = [each.classifications[0].categories[0] for each in found]
print(json.dumps([[each.category_name, each.score] for each in tops]))
"""
MEDIAPIPE = """
import json, sys
import mediapipe
import numpy as np
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision
options = vision.ImageClassifierOptions(base_options=tasks.BaseOptions(model_asset_path=sys.argv[1]), max_results=1)
with vision.ImageClassifier.create_from_options(options) as classifier:
    images = [mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=each) for each in np.load(sys.argv[2])]
    tops = [classifier.classify(each).classifications[0].categories[0] for each in images]
print(json.dumps([[each.category_name, each.score] for each in tops]))
"""

NL_CLASSIFIER = """
import json, sys
from tflite_support.task import text
classifier = text.BertNLClassifier.create_from_file(sys.argv[1])
found = [classifier.classify(each).classifications[0].categories for each in sys.argv[2:]]
print(json.dumps([{each.category_name: each.score for each in categories} for categories in found]))
"""
MEDIAPIPE_TEXT = """
import json, sys
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import text
options = text.TextClassifierOptions(base_options=tasks.BaseOptions(model_asset_path=sys.argv[1]))
with text.TextClassifier.create_from_options(options) as classifier:
    found = [classifier.classify(each).classifications[0].categories for each in sys.argv[2:]]
print(json.dumps([{each.category_name: each.score for each in categories} for categories in found]))
"""


@pytest.fixture(scope="module")
def images(shared_data: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    image = pytest.importorskip("PIL.Image")
    with np.load(shared_data / "cifar10/cifar10_jpeg_bytes.npz") as file:
        content, offsets = file["test_bytes"], file["test_offsets"]
        labels = tuple(str(each) for each in file["classes"])
    found = [image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]].tobytes())) for i in range(IMAGES)]
    return np.stack([np.asarray(each) for each in found]), labels


@pytest.fixture(scope="module", params=["float32", "uint8", "normalized"])
def packed(
    request: pytest.FixtureRequest,
    shared_data: Path,
    images: tuple[NDArray[np.uint8], tuple[str, ...]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, tuple[str, ...]]:
    """A packaged file, and the labels that LiteRT gives to the images."""
    folder = tmp_path_factory.mktemp(request.param)
    path = shared_data / f"{RESNET}.tflite"
    mean, std = 0.0, 1.0
    if request.param == "uint8":
        path = with_uint8_ends(shared_data / f"{RESNET}_quant.tflite", folder / "uint8.tflite")
    elif request.param == "normalized":
        # Its input is (x - 127.5) / 63.75 here, which the file takes back: the library has to do it.
        mean, std = 127.5, 63.75
        path = with_affine_input(path, folder / "normalized.tflite", std, mean)
    anatomy = inspect(path)
    model = Model(
        name=path.name,
        path=path,
        format="tflite",
        precision="fp32",
        role="student",
        sha256=store.sha256_of(path),
        size_bytes=anatomy.size_bytes,
        inputs=anatomy.inputs,
        outputs=anatomy.outputs,
        input_scale=1 / 255,
    )
    cargo = Cargo(
        model=model,
        labels=images[1],
        content="image",
        head="probabilities",
        # Given in shares of 255, as training code has them.
        mean=(mean / 255,),
        std=(std / 255,),
        raw_range=(0, 255),
        description="ResNet-8",
        licence="Apache-2.0",
    )
    (made,) = pack(cargo=cargo, folder=folder)
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    tops = []
    for each in images[0]:
        inputs = each if request.param == "uint8" else ((each - mean) / std).astype(np.float32)
        interpreter.set_tensor(source["index"], inputs[None])
        interpreter.invoke()
        tops.append(images[1][int(interpreter.get_tensor(target["index"])[0].argmax())])
    return made, tuple(tops)


def read(path: Path):  # type: ignore[no-untyped-def]  # objects of a generated schema
    return flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes()))


def write(model, path: Path) -> Path:  # type: ignore[no-untyped-def]
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


def add_operator(model, builtin: int, inputs: list[int], outputs: list[int], place: int):  # type: ignore[no-untyped-def]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 2 if builtin == schema.BuiltinOperator.QUANTIZE else 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = inputs, outputs
    model.subgraphs[0].operators.insert(place, operator)
    return operator


def add_tensor(model, like: int, name: bytes) -> int:  # type: ignore[no-untyped-def]
    """A tensor of the shape of another, without data."""
    graph = model.subgraphs[0]
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, graph.tensors[like].shape, graph.tensors[like].type
    tensor.shapeSignature = graph.tensors[like].shapeSignature
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def with_uint8_ends(source: Path, path: Path) -> Path:
    """The int8 file between two QUANTIZE operators, so that pixels go in as they are."""
    model = read(source)
    graph = model.subgraphs[0]
    for ends, is_input in ((graph.inputs, True), (graph.outputs, False)):
        inner = int(ends[0])
        outer = add_tensor(model, inner, b"pixels" if is_input else b"probabilities")
        scale = graph.tensors[inner].quantization.scale
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = scale, [0]
        graph.tensors[outer].quantization = quantization
        graph.tensors[outer].type = schema.TensorType.UINT8
        pair = ([outer], [inner]) if is_input else ([inner], [outer])
        add_operator(model, schema.BuiltinOperator.QUANTIZE, *pair, 0 if is_input else len(graph.operators))
        ends[0] = outer
    model.signatureDefs = None
    return write(model, path)


def with_affine_input(source: Path, path: Path, factor: float, summand: float) -> Path:
    """The float file behind x * factor + summand."""
    model = read(source)
    graph = model.subgraphs[0]
    inner = int(graph.inputs[0])
    outer, product = add_tensor(model, inner, b"normalized"), add_tensor(model, inner, b"product")
    constants = []
    for name, value in ((b"factor", factor), (b"summand", summand)):
        buffer, tensor = schema.BufferT(), schema.TensorT()
        buffer.data = np.frombuffer(np.float32(value).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1], 0, len(model.buffers) - 1
        graph.tensors.append(tensor)
        constants.append(len(graph.tensors) - 1)
    adding = add_operator(model, schema.BuiltinOperator.ADD, [product, constants[1]], [inner], 0)
    adding.builtinOptionsType, adding.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    multiplying = add_operator(model, schema.BuiltinOperator.MUL, [outer, constants[0]], [product], 0)
    multiplying.builtinOptionsType, multiplying.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()
    graph.inputs[0] = outer
    model.signatureDefs = None
    return write(model, path)


def test_metadata_displayer_reads_labels_and_normalization_back(
    packed: tuple[Path, tuple[str, ...]], images: tuple[NDArray[np.uint8], tuple[str, ...]], tflite_support: Run
) -> None:
    document, _, rest = tflite_support(DISPLAY, packed[0]).partition("---\n")
    files, *labels = rest.splitlines()
    assert files == "labels.txt"
    assert tuple(labels) == images[1]
    found = json.loads(document)
    assert (found["description"], found["license"]) == ("ResNet-8", "Apache-2.0")
    graph = found["subgraph_metadata"][0]
    source, target = graph["input_tensor_metadata"][0], graph["output_tensor_metadata"][0]
    assert source["content"]["content_properties_type"] == "ImageProperties"
    assert source["content"]["content_properties"] == {
        "color_space": "RGB", "default_size": {"width": 32, "height": 32},
    }  # fmt: skip
    (unit,) = source["process_units"]
    is_normalized = packed[0].name.startswith("normalized")
    mean, std = (127.5, 63.75) if is_normalized else (0.0, 1.0)
    assert unit["options_type"] == "NormalizationOptions"
    np.testing.assert_allclose([unit["options"]["mean"], unit["options"]["std"]], [[mean], [std]], atol=1e-5)
    np.testing.assert_allclose(source["stats"]["max"], [(255 - mean) / std], rtol=1e-6)
    np.testing.assert_allclose(source["stats"]["min"], [-mean / std], rtol=1e-6)
    assert target["associated_files"][0]["type"] == "TENSOR_AXIS_LABELS"


@pytest.mark.parametrize("client", ["tflite_support", "mediapipe"])
def test_image_classifier_gives_the_label_of_litert(
    client: str,
    packed: tuple[Path, tuple[str, ...]],
    images: tuple[NDArray[np.uint8], tuple[str, ...]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    run: Run = request.getfixturevalue(client)
    np.save(tmp_path / "images.npy", images[0])
    program = TASK_LIBRARY if client == "tflite_support" else MEDIAPIPE
    found = json.loads(run(program, packed[0], tmp_path / "images.npy").strip().splitlines()[-1])
    agreement = float(np.mean([label == expected for (label, _), expected in zip(found, packed[1], strict=True)]))
    assert agreement >= 0.99
    # A constant answer would be no agreement worth the name, and scores are probabilities.
    assert {label for label, _ in found} == set(images[1])
    assert all(0 <= score <= 1 for _, score in found)


TEXTS = {
    "The film was good.": [2, 5, 6, 7, 8, 13, 3],
    "badly acted": [2, 9, 10, 11, 12, 3],
    "THE bad ending": [2, 5, 9, 1, 3],
}


def test_metadata_displayer_reads_the_tokenizer_back(tflite_support: Run, tmp_path: Path) -> None:
    cargo = texts.cargo_of(texts.write_tflite(tmp_path / "m.tflite"))
    plain, task = pack(cargo=cargo, folder=tmp_path)[0], text_task.pack(cargo=cargo, folder=tmp_path)[0]
    document, _, rest = tflite_support(DISPLAY, plain).partition("---\n")
    assert set(rest.splitlines()[0].split(",")) == {"tokenizer.json", "vocab.txt", "labels.txt"}
    (unit,) = json.loads(document)["subgraph_metadata"][0]["input_tensor_metadata"][0]["process_units"]
    assert unit["options_type"] == "BertTokenizerOptions"
    assert unit["options"]["vocab_file"][0]["name"] == "vocab.txt"
    graph = json.loads(tflite_support(DISPLAY, task).partition("---\n")[0])["subgraph_metadata"][0]
    assert [each["name"] for each in graph["input_tensor_metadata"]] == ["ids", "mask", "segment_ids"]
    assert graph["input_process_units"][0]["options"]["vocab_file"][0]["type"] == "VOCABULARY"


@pytest.mark.parametrize("client", ["tflite_support", "mediapipe"])
def test_text_classifier_gives_the_scores_of_the_formula(
    client: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: Run = request.getfixturevalue(client)
    cargo = texts.cargo_of(texts.write_tflite(tmp_path / "m.tflite"))
    (path,) = text_task.pack(cargo=cargo, folder=tmp_path)
    found = json.loads(
        run(NL_CLASSIFIER if client == "tflite_support" else MEDIAPIPE_TEXT, path, *TEXTS).strip().splitlines()[-1]
    )
    for scores, tokens in zip(found, TEXTS.values(), strict=True):
        expected = texts.logits_of(np.array([tokens + [0] * (texts.LENGTH - len(tokens))]))[0]
        np.testing.assert_allclose([scores[label] for label in texts.LABELS], expected, atol=1e-5)
