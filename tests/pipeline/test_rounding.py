"""A recipe whose student learns on with rounding: what is kept, what export makes of it, what is made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edgekd import pipeline, store
from edgekd.config import load_recipe
from edgekd.errors import EdgekdError
from edgekd.records import Model, QuantizationOutcome
from tests.exact import run_exactly

Run = Callable[..., pipeline.Outcome]
FOUR = "weight_only_wi4_afp32"
PLAIN = ("student.hidden=[64, 64]", "distill.batch_size=64", "export.precisions=['fp32', 'static_wi8_ai8']")
ROUNDED = (*PLAIN, "distill.quantization.epochs=2")


def model(outcome: pipeline.Outcome, name: str) -> Model:
    return next(each for each in outcome.run.models if each.name == name)


@pytest.mark.slow
def test_weights_ranges_and_scores_are_kept(recipe: Path, run: Run) -> None:
    outcome = run(*ROUNDED, until="export")
    assert outcome.run.quantization is not None
    assert outcome.run.quantization.kept
    assert len(outcome.run.quantization.ranges) == 4  # the input, and three layers
    assert {name: len(each) for name, each in outcome.run.histories.items()} == {
        "teacher-0": 3,
        "student": 3,
        "student-quantized": 2,
    }
    student, rounded = model(outcome, "student"), model(outcome, "student-quantized")
    assert (rounded.role, rounded.precision, rounded.parent_sha256) == ("simulated", "static_wi8_ai8", student.sha256)
    parents = {each.name: each.parent_sha256 for each in outcome.run.models}
    assert parents["student.fp32.onnx"] == student.sha256
    assert parents["student.static_wi8_ai8.onnx"] == rounded.sha256 == store.sha256_of(rounded.path)
    # Each channel of the kept weights is on its grid of 255 steps.
    matrices = [value for value in load_file(rounded.path).values() if value.ndim == 2]
    assert len(matrices) == 3
    for matrix in matrices:
        steps = matrix.astype(np.float64) / (np.abs(matrix).max(1, keepdims=True) / 127)
        assert np.abs(steps - np.round(steps)).max() < 1e-3
    # What was measured in torch on the test split is what the file gives.
    with np.load(recipe.parent / "clouds.npz") as data:
        inputs, labels = data["x_test"], data["y_test"]
    right = run_exactly(model(outcome, "student.static_wi8_ai8.onnx").path, inputs).argmax(1) == labels
    samples = {each.model: each.samples for each in outcome.run.measurements if each.role == "simulated"}
    assert samples.keys() == {"student-calibrated", "student-quantized"}
    assert (np.array(samples["student-quantized"]) == right).mean() >= 0.98
    # The same recipe makes nothing again, and gives the same bytes elsewhere.
    assert run(*ROUNDED, until="export").made == ()
    again = run(*ROUNDED, out="again")
    assert model(again, "student-quantized").sha256 == rounded.sha256


def test_without_gain_nothing_is_kept_but_the_scores(recipe: Path, run: Run) -> None:
    spoiled = (
        *ROUNDED,
        "distill.quantization.learning_rate=100.0",
        "distill.quantization.epochs=1",
        "distill.epochs=8",
    )
    clipped = "distill.gradient_clip=0.1"  # so that it stays a number
    outcome = run(*spoiled, clipped)
    found = outcome.run.quantization
    assert found is not None
    assert not found.kept
    assert found.trained_score < found.calibrated_score
    folder = recipe.parent / "run" / "distill"
    assert not (folder / "student-quantized.safetensors").exists()
    assert [each.name for each in outcome.run.models] == ["teacher-0", "student"]
    assert {each.model for each in outcome.run.measurements if each.role == "simulated"} == {"student-calibrated"}


def test_what_was_learned_goes_with_the_table_that_asked_for_it(recipe: Path, run: Run) -> None:
    folder = recipe.parent / "run" / "distill"
    student = model(run(*ROUNDED), "student").sha256
    assert (folder / "quantization.json").exists()
    assert store.read_json(folder / "quantization.json", QuantizationOutcome).precision == "static_wi8_ai8"
    assert run(*ROUNDED, "distill.quantization.epochs=1").made == ("distill",)
    outcome = run(*PLAIN)
    assert outcome.made == ("distill",)
    assert model(outcome, "student").sha256 == student
    assert not (folder / "quantization.json").exists()
    assert not (folder / "student-quantized.safetensors").exists()
    assert (outcome.run.quantization, set(outcome.run.histories)) == (None, {"teacher-0", "student"})


def test_only_the_best_of_several_seeds_learns_on(recipe: Path, run: Run) -> None:
    outcome = run(*ROUNDED, "distill.seeds=2", "distill.control=true", "distill.weak_teachers='warn'")
    assert [name for name in outcome.run.histories if "quantized" in name] == ["student-quantized"]
    assert model(outcome, "student-quantized").parent_sha256 == model(outcome, "student").sha256
    assert not list((recipe.parent / "run").rglob("checkpoint.pt"))


def test_what_can_not_be_traced_is_refused_before_anything_is_trained(recipe: Path, run: Run) -> None:
    (recipe.parent / "branching.py").write_text(
        "import torch\n\n\n"
        "class Branching(torch.nn.Module):\n"
        "    def __init__(self, inputs, classes):\n"
        "        super().__init__()\n"
        "        self.last = torch.nn.Linear(inputs, classes)\n\n"
        "    def forward(self, inputs):\n"
        "        outputs = self.last(inputs)\n"
        "        return outputs if outputs.sum() > 0 else outputs * 2\n\n\n"
        "def build(*, classes, input_shape):\n"
        "    return Branching(input_shape[0], classes)\n"
    )
    for teachers in ((), ("teachers=[]",)):
        with pytest.raises(EdgekdError, match=r"can't trace what .*quantization-aware training"):
            run(*ROUNDED[1:], "student={model='branching:build'}", *teachers)
        assert not list((recipe.parent / "run").rglob("*.safetensors"))


def test_a_recipe_says_it_in_one_table(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + f"[distill.quantization]\nprecision = '{FOUR}'\nlearn_ranges = 0.5\n")
    loaded = load_recipe(str(recipe), [f"export.precisions=['{FOUR}']"]).recipe.distill.quantization
    assert loaded is not None
    assert (loaded.precision, loaded.learn_ranges, loaded.epochs) == (FOUR, 0.5, 5)
    with pytest.raises(EdgekdError, match=r"distill.quantization: unknown key 'epoch'.*did you mean 'epochs'"):
        load_recipe(str(recipe), ["distill.quantization.epoch=3", f"export.precisions=['{FOUR}']"])
    with pytest.raises(EdgekdError, match=r"distill.quantization.learn_ranges"):
        load_recipe(str(recipe), ["distill.quantization.learn_ranges=1.5", f"export.precisions=['{FOUR}']"])
