"""The TFLite reader against published figures of files that nobody here wrote."""

import itertools
import random
from pathlib import Path

import pytest

from edgekd import child
from edgekd.errors import ModelError
from edgekd.formats.tflite import read

RESNET8 = "mlperf_tiny/image_classification/pretrainedResnet"
MOBILENET = "mobilenet_v1_025/mobilenet_v1_0.25_224"


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    return shared_data / "models"


@pytest.mark.parametrize("variant", ["", "_quant"])
def test_resnet8_has_its_published_size(models: Path, variant: str) -> None:
    anatomy = read(models / f"{RESNET8}{variant}.tflite")
    # 78,666 (Banbury et al. 2021) with four numbers for each of 7 batch norms' 240 channels, which are folded away.
    assert anatomy.parameters == 78_666 - 4 * (3 * 16 + 2 * 32 + 2 * 64)
    assert anatomy.macs == pytest.approx(12.5e6, rel=1e-3)
    assert dict(anatomy.operators) == {
        "CONV_2D": 9,
        "ADD": 3,
        "AVERAGE_POOL_2D": 1,
        "FULLY_CONNECTED": 1,
        "RESHAPE": 1,
        "SOFTMAX": 1,
    }
    assert anatomy.layout == "NHWC"
    assert anatomy.inputs[0].shape == (None, 32, 32, 3)


def test_resnet8_int8_says_its_scales(models: Path) -> None:
    anatomy = read(models / f"{RESNET8}_quant.tflite")
    (taken,), (given,) = anatomy.inputs, anatomy.outputs
    # Raw bytes 0..255 less 128 go in; a softmax between 0 and 1 comes out.
    assert (taken.dtype, taken.scale, taken.zero_point) == ("int8", 1.0, -128)
    assert (given.dtype, given.scale, given.zero_point) == ("int8", 1 / 256, -128)
    assert {layer.weight_dtype for layer in anatomy.layers if layer.macs} == {"int8"}
    assert anatomy.size_bytes == 98_496


@pytest.mark.parametrize(("variant", "dtype"), [("_1_default_1", "float32"), ("_quant", "uint8")])
def test_mobilenet_has_its_published_size(models: Path, variant: str, dtype: str) -> None:
    anatomy = read(models / f"{MOBILENET}{variant}.tflite")
    # Howard et al. 2017, table 7: 41 million mult-adds, 0.5 million parameters.
    assert anatomy.parameters == pytest.approx(0.47e6, rel=0.01)
    assert anatomy.macs == pytest.approx(41e6, rel=0.01)
    assert anatomy.count("DEPTHWISE_CONV_2D") == 13
    assert {layer.weight_dtype for layer in anatomy.layers if layer.macs} == {dtype}


def test_layers_add_up(models: Path) -> None:
    for path in sorted(models.rglob("*.tflite")):
        anatomy = read(path)
        assert sum(layer.macs for layer in anatomy.layers) == anatomy.macs
        assert sum(total.size_bytes for total in anatomy.dtypes) < anatomy.size_bytes == path.stat().st_size
        assert sum(count for _, count in anatomy.operators) >= len(anatomy.layers) > 0


def test_dense_layers_by_hand(models: Path) -> None:
    # MLPerf Tiny's autoencoder: 640-128-128-128-128-8-128-128-128-128-640.
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    products = sum(one * two for one, two in itertools.pairwise(sizes))
    for variant in ("fp32", "int8"):
        anatomy = read(models / f"mlperf_tiny/anomaly_detection/ad01_{variant}.tflite")
        assert anatomy.macs == products
        assert anatomy.parameters == products + sum(sizes[1:])
        assert anatomy.layout == "flat"


@pytest.mark.parametrize("name", ["tflm/micro_speech_quantized", "ai_edge_quantizer/partly_quantized_mnist"])
def test_damage_is_one_error_and_nothing_else(models: Path, name: str, tmp_path: Path) -> None:
    """Cut and scribbled files in one child, which must live on; random bytes stand for what people upload."""
    content = (models / f"{name}.tflite").read_bytes()

    def read_damaged(path: Path) -> tuple[int, list[str]]:
        rng, refused, cut_but_read = random.Random(0), 0, []  # noqa: S311 - no secrets here
        for index in range(150):
            damaged = bytearray(content)
            if index % 2:
                for _ in range(rng.choice([1, 8, 64])):
                    damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
            else:
                del damaged[rng.randrange(8, len(damaged)) :]
            path.write_bytes(damaged)
            try:
                read(path)
                if index % 2 == 0:
                    cut_but_read.append(f"{len(damaged)} of {len(content)}")
            except ModelError:
                refused += 1
        return refused, cut_but_read

    refused, cut_but_read = child.call("the parser", read_damaged, tmp_path / "damaged.tflite", timeout_s=120)
    assert refused >= 75
    assert cut_but_read == []


def test_operators_say_what_goes_in_and_out(models: Path) -> None:
    anatomy = read(models / f"{RESNET8}_quant.tflite")
    assert [node.operator for node in anatomy.nodes] == [layer.operator for layer in anatomy.layers]
    first = anatomy.nodes[0]
    data, kernel, bias = first.inputs
    assert data is not None
    assert kernel is not None
    assert bias is not None
    assert (data.name, data.dtype, data.scale, data.zero_point, data.constant) == (
        *(anatomy.inputs[0].name, "int8", 1.0, -128),
        False,
    )
    # 16 filters of 3x3 over 3 channels, a scale for each filter.
    assert (kernel.shape, kernel.constant, kernel.channels) == ((16, 3, 3, 3), True, 16)
    assert (bias.dtype, bias.shape) == ("int32", (16,))
    assert (first.options["strideW"], first.version) == (1, 3)
    # What one operator gives the next one takes.
    assert anatomy.nodes[1].inputs[0] == first.outputs[0]
    assert anatomy.versions == {"schema": 3}


def test_small_integers_are_read(models: Path) -> None:
    reshape = next(node for node in read(models / f"{RESNET8}_quant.tflite").nodes if node.operator == "RESHAPE")
    assert reshape.inputs[1] is not None
    assert reshape.inputs[1].content == (-1, 64)
