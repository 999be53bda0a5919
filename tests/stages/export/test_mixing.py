"""Mixed files of a small trained network: what is in them, what was promised, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edgekd import store
from edgekd.errors import ConfigError, DataError, ExportError
from edgekd.inspection import Layer, inspect
from edgekd.records import ExportSpec, MixedPrecisionSpec, MixedSearch, Preprocessing, QuantSpec
from edgekd.stages.export import Exported, export

# Files of both formats are made and searched for: most of a minute.
pytestmark = pytest.mark.slow

SHAPE, CLASSES = (3, 12, 12), 6
RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.normal(size=(CLASSES, *SHAPE))
LABELS = RANDOM.integers(0, CLASSES, 900)
# Bytes, as images are; the network takes them divided by 255.
RAW = np.clip(128 + 18 * CENTRES[LABELS] + 40 * RANDOM.normal(size=(900, *SHAPE)), 0, 255).astype(np.uint8)
INPUTS = (RAW / np.float32(255)).astype(np.float32)
TRAIN, HELD = slice(0, 500), slice(500, 900)
CANDIDATES = ("static_wi8_ai8", "static_wi8_ai16", "static_wi4_ai8", "fp16")
SPEC = ExportSpec(
    precisions=("fp32", "static_wi8_ai8"),
    calibration=QuantSpec(samples=128),
    mixed=MixedPrecisionSpec(candidates=CANDIDATES, max_drop="1.5 pt", samples=200, points=6),
)


class Small(nn.Module):
    """Batch norms to fold, a depthwise convolution that can't have 4 bits, and an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16))
        self.wide = nn.Sequential(nn.Conv2d(16, 48, 3, 2, bias=False), nn.BatchNorm2d(48), nn.ReLU())
        self.linear = nn.Linear(48, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.stem(inputs)
        x = self.wide(torch.relu(x + self.depthwise(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def student() -> nn.Module:
    torch.manual_seed(0)
    network = Small()
    adam = torch.optim.Adam(network.parameters(), 5e-3)
    inputs, labels = torch.from_numpy(INPUTS[TRAIN]), torch.from_numpy(LABELS[TRAIN])
    for _ in range(40):
        adam.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]  # torch
        adam.step()
    return network.eval()


def make(student: nn.Module, folder: Path, spec: ExportSpec, labels: NDArray[np.int64] | None = LABELS) -> Exported:
    return export(
        student,
        folder=folder,
        spec=spec,
        calibration=RAW[TRAIN].astype(np.float32),
        check=RAW[HELD].astype(np.float32),
        validation=None if labels is None else RAW[HELD].astype(np.float32),
        validation_labels=None if labels is None else labels[HELD],
        preprocessing=Preprocessing(scale=1 / 255),
    )


@pytest.fixture(scope="module")
def made(student: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make(student, tmp_path_factory.mktemp("made"), SPEC)


def path_of(made: Exported, name: str) -> Path:
    return next(model.path for model in made.models if model.name == name)


def weighted(path: Path) -> list[Layer]:
    kinds = ("Conv", "Gemm", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return [layer for layer in inspect(path).layers if layer.operator in kinds]


DTYPES = {"fp16": "float16", "static_wi8_ai8": "int8", "static_wi8_ai16": "int8", "static_wi4_ai8": "int4"}


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_each_layer_s_weights_have_the_bits_of_its_precision(made: Exported, format_name: str) -> None:
    name = f"student.mixed.{format_name}"
    search = made.mixed[name]
    layers = search.files[search.chosen].layers
    assert list(layers) == ["stem.0", "depthwise.0", "wide.0", "linear"]
    found = [layer.weight_dtype for layer in weighted(path_of(made, name))]
    assert found == [DTYPES[precision] for precision in layers.values()]
    # The knob does something: not all layers are alike.
    assert "int4" in found
    assert len(set(found)) > 1


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_the_search_says_what_the_file_is(made: Exported, format_name: str) -> None:
    name = f"student.mixed.{format_name}"
    search = made.mixed[name]
    taken = search.files[search.chosen]
    assert path_of(made, name).stat().st_size == taken.size_bytes
    assert search.reference - taken.score <= 0.015
    # No smaller one that was tried keeps the budget, and one was tried that does not.
    assert all(search.reference - file.score > 0.015 for file in search.files[: search.chosen])
    sizes = [file.size_bytes for file in search.files]
    assert sizes == sorted(sizes)
    uniform = {next(iter(set(file.layers.values()))) for file in search.files if len(set(file.layers.values())) == 1}
    assert {"static_wi8_ai8", "fp16"} <= uniform
    assert {file.name for file in path_of(made, name).parent.iterdir()} == {
        f"student.{precision}.{each}"
        for precision in ("fp32", "static_wi8_ai8", "mixed")
        for each in ("onnx", "tflite")
    }


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_the_file_scores_what_its_simulation_did(made: Exported, student: nn.Module, format_name: str) -> None:
    search = made.mixed[f"student.mixed.{format_name}"]
    with torch.no_grad():
        floats = student(torch.from_numpy(INPUTS[HELD])).argmax(1).numpy()
    assert search.reference == pytest.approx(float((floats == LABELS[HELD]).mean()))
    (parity,) = (
        each for each in made.measurements if each.model == f"student.mixed.{format_name}" and each.metric == "parity"
    )
    # Agreement with the student bounds the score on the same samples from both sides.
    assert abs(search.reference - search.files[search.chosen].score) <= 1 - np.mean(parity.samples) + 0.01


def test_the_sum_of_layers_predicts_sizes(made: Exported) -> None:
    for search in made.mixed.values():
        costs = {(cost.layer, cost.precision): cost.size_bytes for cost in search.costs}
        sums = [sum(costs[pair] for pair in file.layers.items()) for file in search.files]
        rests = [file.size_bytes - total for file, total in zip(search.files, sums, strict=True)]
        # What a file has beside its layers is nearly the same in all; layers differ by much more than that.
        assert max(rests) - min(rests) < 0.35 * (max(sums) - min(sums))


def test_of_stored_weights_names_and_nodes_are_weighed_too(student: nn.Module, tmp_path: Path) -> None:
    stored = ("fp16", "weight_only_wi8_afp32", "weight_only_wi4_afp32")
    mixed = MixedPrecisionSpec(candidates=stored, max_size="100 kB", samples=50, points=4)
    found = make(student, tmp_path, ExportSpec(formats=("onnx",), precisions=("fp32",), mixed=mixed))
    (search,) = found.mixed.values()
    costs = {(cost.layer, cost.precision): cost.size_bytes for cost in search.costs}
    rests = {
        tuple(file.layers.values()): file.size_bytes - sum(costs[pair] for pair in file.layers.items())
        for file in search.files
    }
    whole = [rest for layers, rest in rests.items() if max(map(layers.count, layers)) == len(layers)]
    assert len(rests) > len(whole) > 1
    assert max(whole) - min(whole) < 20
    # Unlike the others, a linear layer of 4-bit weights is a node of its own kind.
    assert max(rests.values()) - min(rests.values()) < 400


def test_layers_get_only_what_the_format_has_for_them(made: Exported) -> None:
    found = {name: {(cost.layer, cost.precision) for cost in search.costs} for name, search in made.mixed.items()}
    assert ("depthwise.0", "static_wi4_ai8") not in found["student.mixed.tflite"] | found["student.mixed.onnx"]
    assert ("stem.0", "static_wi8_ai16") in found["student.mixed.tflite"]
    assert not any(precision == "static_wi8_ai16" for _, precision in found["student.mixed.onnx"])


def test_four_bit_weights_in_onnx_reach_the_largest_integer(made: Exported) -> None:
    model = onnx.load(path_of(made, "student.mixed.onnx"))
    search = made.mixed["student.mixed.onnx"]
    four = [layer for layer, each in search.files[search.chosen].layers.items() if each == "static_wi4_ai8"]
    constants = {each.name: each for each in model.graph.initializer}
    integers = [each for each in constants.values() if each.data_type == onnx.TensorProto.INT4 and len(each.dims) > 1]
    assert len(integers) == len(four)
    for tensor in integers:
        values = numpy_helper.to_array(tensor).astype(np.float64)
        assert np.abs(values).max() == 7
        # Of each output channel the largest weight is the largest integer: scale = max |w| / 7.
        assert (np.abs(values).reshape(len(values), -1).max(axis=1) == 7).all()


def test_a_size_is_kept_and_the_same_inputs_give_the_same_bytes(
    student: nn.Module, made: Exported, tmp_path: Path
) -> None:
    limit = round(0.85 * path_of(made, "student.static_wi8_ai8.tflite").stat().st_size)
    spec = replace(
        SPEC,
        formats=("tflite",),
        precisions=("fp32",),
        io="float32",
        head="probabilities",
        mixed=MixedPrecisionSpec(
            candidates=("static_wi8_ai8", "static_wi4_ai8"), max_size=f"{limit} B", samples=100, points=3
        ),
    )
    first, second = (make(student, tmp_path / name, spec) for name in ("first", "second"))
    path = path_of(first, "student.mixed.tflite")
    assert path.stat().st_size <= limit
    assert path.read_bytes() == path_of(second, "student.mixed.tflite").read_bytes()
    assert [end.dtype for end in (*inspect(path).inputs, *inspect(path).outputs)] == ["float32", "float32"]
    search = first.mixed["student.mixed.tflite"]
    fitting = [file.score for file in search.files if file.size_bytes <= limit]
    assert search.files[search.chosen].score == max(fitting)
    # As the run folder keeps it.
    store.write_json(tmp_path / "mixed.json", first.mixed)
    assert store.read_json(tmp_path / "mixed.json", dict[str, MixedSearch]) == first.mixed


def test_what_can_t_be_kept_leaves_no_file(student: nn.Module, tmp_path: Path) -> None:
    mixed = MixedPrecisionSpec(
        candidates=("weight_only_wi8_afp32", "weight_only_wi4_afp32"), max_size="1 kB", samples=50, points=2
    )
    spec = ExportSpec(formats=("onnx",), precisions=("fp32",), mixed=mixed)
    with pytest.raises(ExportError, match=r"max_size = 1 kB: the smallest onnx file .*fewer bits"):
        make(student, tmp_path, spec)
    assert list(tmp_path.iterdir()) == []


def test_without_validation_data_nothing_can_be_chosen(student: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no validation split"):
        make(student, tmp_path, SPEC, labels=None)


def test_a_budget_of_another_task_is_refused_before_the_work(student: nn.Module, tmp_path: Path) -> None:
    values: NDArray[np.float32] = RANDOM.normal(size=(400, CLASSES)).astype(np.float32)
    with pytest.raises(ConfigError, match="mean_squared_error_increase is no such number"):
        export(
            student,
            folder=tmp_path,
            spec=SPEC,
            calibration=INPUTS[TRAIN],
            check=INPUTS[HELD],
            validation=INPUTS[HELD],
            validation_labels=values,
            task="regression",
        )
