"""`edgekd.losses.NAME(...)` makes terms, whatever was imported before; and what every loss must do."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import edgekd
from edgekd import registry
from edgekd.records import LossTerm, Schedule

NAMES = registry.names("losses")
# What is learnt from labels, or from a memory of other samples, is not 0 when student equals teacher.
WITHOUT_ZERO = {"cross_entropy", "binary_cross_entropy", "squared_error", "crd"}
# These relate the samples of a batch to each other or to others; the rest are means over samples.
RELATE_SAMPLES = {"dist", "rkd", "similarity_preserving", "crd"}
SEQUENCES = {"minilm", "cosine"}


def call_of(name: str, *, batch: int, dtype: torch.dtype, scale: float = 1.0, same: bool = False) -> dict[str, Any]:
    """Arguments for a loss: those that it asks for, with random values."""
    generator = torch.Generator().manual_seed(batch)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(batch, *shape, generator=generator, dtype=dtype) * scale

    shapes = ((6, 12), (6, 24)) if name in SEQUENCES else ((3, 4, 4), (3, 4, 4) if same else (6, 4, 4))
    if name in SEQUENCES and same:
        shapes = shapes[:1] * 2
    given: dict[str, Any] = {
        "student": draw(5),
        "teacher": draw(5),
        "labels": torch.arange(batch) % 5,
        "indices": torch.arange(batch),
        "student_feature": draw(*shapes[0]),
        "teacher_feature": draw(*shapes[1]),
    }
    if name.startswith("binary"):
        given["labels"] = (draw(5) > 0).to(torch.float32)
    elif name in {"squared_error", "bounded_regression"}:
        given["labels"] = draw(5)
    if same:
        given["student"], given["student_feature"] = given["teacher"].clone(), given["teacher_feature"].clone()
    module = registry.load("losses", name)
    if hasattr(module, "build_projector"):
        sizes = {"student_shape": shapes[0], "teacher_shape": shapes[1], "samples": 40}
        wanted = inspect.signature(module.build_projector).parameters
        torch.manual_seed(0)
        projector = module.build_projector(**{key: value for key, value in sizes.items() if key in wanted}).to(dtype)
        if same and isinstance(projector, torch.nn.Conv2d):
            torch.nn.init.dirac_(projector.weight)
            projector.bias = None
        given["projector"] = projector
    call = {key: value for key, value in given.items() if key in inspect.signature(module.loss).parameters}
    if name == "crd":
        call["negatives"] = 16
        with torch.no_grad():
            module.loss(**call)  # sets the constant Z, which is none of the gradient's business
    return call


def learns(given: dict[str, Any]) -> str:
    """Which argument the student's gradient flows into."""
    return "student_feature" if "student_feature" in given else "student"


def repeatable(name: str, given: dict[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The loss as a function of the student alone, with the same memory and the same draws in each call."""

    def function(student: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        fresh = {key: copy.deepcopy(value) if key == "projector" else value for key, value in given.items()}
        value: torch.Tensor = registry.function("losses", name)(**{**fresh, learns(given): student})
        return value

    return function


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gives_a_scalar_in_the_precision_of_its_inputs(name: str, dtype: torch.dtype) -> None:
    given = call_of(name, batch=4, dtype=dtype)
    value = repeatable(name, given)(given[learns(given)])
    assert (value.shape, value.dtype) == ((), dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_gradient_is_that_of_the_value(name: str, batch: int) -> None:
    given = call_of(name, batch=batch, dtype=torch.float64)
    assert torch.autograd.gradcheck(repeatable(name, given), (given[learns(given)].requires_grad_(),))


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_ZERO))
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_is_zero_with_no_gradient_when_student_equals_teacher(name: str, batch: int) -> None:
    given = call_of(name, batch=batch, dtype=torch.float64, same=True)
    student = given[learns(given)].requires_grad_()
    value = repeatable(name, given)(student)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    (gradient,) = torch.autograd.grad(value, student)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
def test_extreme_values_stay_finite_and_so_do_their_gradients(name: str, batch: int, scale: float) -> None:
    given = call_of(name, batch=batch, dtype=torch.float32, scale=scale)
    student = given[learns(given)].requires_grad_()
    value = repeatable(name, given)(student)
    (gradient,) = torch.autograd.grad(value, student)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    assert float(value.detach()) >= -1e-5  # rounding, where a difference of logarithms is all there is


@pytest.mark.parametrize("name", sorted(set(NAMES) - RELATE_SAMPLES))
def test_is_the_mean_over_samples(name: str) -> None:
    given = call_of(name, batch=5, dtype=torch.float64)
    each = []
    for sample in range(5):
        one = {key: value if key == "projector" else value[sample : sample + 1] for key, value in given.items()}
        each.append(repeatable(name, one)(one[learns(one)]))
    torch.testing.assert_close(repeatable(name, given)(given[learns(given)]), torch.stack(each).mean())


@pytest.mark.parametrize("name", sorted(name for name in NAMES if "mask" in registry.passed("losses", name)))
def test_what_a_network_says_of_padding_changes_nothing(name: str) -> None:
    given = call_of(name, batch=5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    shapes = (5, 6, 12), (5, 6, 24)
    student, teacher = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 5, 2])[:, None]
    module = registry.load("losses", name)
    if "projector" in given:
        sizes = {"student_shape": (6, 12), "teacher_shape": (6, 24), "samples": 40}
        wanted = inspect.signature(module.build_projector).parameters
        torch.manual_seed(0)
        given["projector"] = module.build_projector(**{key: sizes[key] for key in wanted if key in sizes}).double()
    if name == "crd":
        with torch.no_grad():
            module.loss(**{**given, "student_feature": student, "teacher_feature": teacher, "mask": mask})
    found = []
    for noise in (0.0, 100.0):
        filled = [each + noise * ~mask[..., None] for each in (student, teacher)]
        given |= {"teacher_feature": filled[1], "mask": mask}
        found.append(repeatable(name, given)(filled[0].requires_grad_()))
    torch.testing.assert_close(found[1], found[0])
    (gradient,) = torch.autograd.grad(found[1], filled[0])
    assert not gradient[~mask].any()
    given["mask"] = None
    assert not torch.isclose(repeatable(name, given)(filled[0]), found[0]), "it would count otherwise"


@pytest.mark.parametrize("name", NAMES)
def test_feature_losses_say_before_training_what_fits(name: str) -> None:
    module = registry.load("losses", name)
    checks = [each for each in ("build_projector", "check_shapes") if hasattr(module, each)]
    takes_features = "student_feature" in inspect.signature(module.loss).parameters
    assert len(checks) == (1 if takes_features else 0)
    if checks:
        options = {option.name for option in registry.describe("losses", name).parameters}
        allowed = {"student_shape", "teacher_shape", "samples"} | options
        assert set(inspect.signature(getattr(module, checks[0])).parameters) <= allowed
        assert hasattr(module, "build_projector") == ("projector" in inspect.signature(module.loss).parameters)


def test_terms_carry_layers_schedules_and_options() -> None:
    fading = Schedule(start=1.0, end=0.0)
    term = edgekd.losses.hint(weight=fading, student_layer="stage2", teacher_layer="layers.3")
    assert term == LossTerm(name="hint", weight=fading, student_layer="stage2", teacher_layer="layers.3")
    assert edgekd.losses.kl(temperature=fading).options == {"temperature": fading}


def test_names_make_terms() -> None:
    assert edgekd.losses.kl(temperature=3.0) == LossTerm(name="kl", weight=1.0, options={"temperature": 3.0})
    assert edgekd.losses.cross_entropy(weight=0.1) == LossTerm(name="cross_entropy", weight=0.1, options={})


def test_names_still_make_terms_after_the_files_of_those_names_were_imported() -> None:
    # Python binds a file to its package on the first import only: a fresh process.
    code = (
        "import importlib, edgekd.losses\n"
        "for name in ('kl', 'cross_entropy'):\n"
        "    module = importlib.import_module(f'edgekd.losses.{name}')\n"
        "    print(module.loss.__name__, getattr(edgekd.losses, name)(weight=0.5).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["loss", "kl", "loss", "cross_entropy"], done.stderr


def test_making_a_term_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import edgekd; print(edgekd.losses.kl(temperature=3.0).name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "kl", done.stderr


def test_what_is_no_loss_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no loss 'kll'"):
        edgekd.losses.kll()
    assert not hasattr(edgekd.losses, "_private")
