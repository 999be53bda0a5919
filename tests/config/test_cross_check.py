"""What is well-formed in each place of a recipe but does not fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.config import load_recipe
from edgekd.config.cross_check import cross_check
from edgekd.records import (
    AssistantSpec,
    BenchmarkSpec,
    Budget,
    DataSpec,
    DistillSpec,
    ExportSpec,
    InitSpec,
    LossTerm,
    MixedPrecisionSpec,
    QuantizationTraining,
    Recipe,
    TeacherSpec,
    WritingSpec,
)

SIZE = Budget(metric="file_size", limit="1 kB")
ACCURACY = Budget(metric="accuracy", limit="90 %")
RECIPE = replace(load_recipe("digits").recipe, budgets=())
STORIES = DataSpec(source="text_stream")
WRITING = DistillSpec(generation=WritingSpec(on_policy=0.5))


def mixed(**spec: Any) -> ExportSpec:
    return ExportSpec(mixed=MixedPrecisionSpec(**spec))


def found(**changes: Any) -> list[str]:
    return [str(problem) for problem in cross_check(replace(RECIPE, **changes), "own.toml")]


def test_what_fits_together_passes() -> None:
    assert found() == []
    assert found(teachers=(), distill=DistillSpec()) == []
    for budget in ({"max_drop": "0.3 pt"}, {"max_drop": "2 %"}, {"max_drop": "0.02"}, {"max_size": "80 kB"}):
        assert found(export=mixed(**budget)) == []
        # A format leaves out the candidates that it does not have.
        assert found(export=replace(mixed(**budget), formats=("onnx",))) == []
    assert found(budgets=(replace(SIZE, precision="mixed"),), export=mixed(max_drop="1 pt")) == []
    assert found(distill=DistillSpec(quantization=QuantizationTraining())) == []
    assert found(data=STORIES, distill=WRITING) == []
    wild = replace(SIZE, metric="latency", limit="1 ms", target="h*", precision="*", format="on*")  # type: ignore[arg-type]  # as TOML may
    assert found(budgets=(wild,)) == []
    assert found(budgets=(replace(SIZE, role="teacher", precision="fp32"), replace(SIZE, format="torch"))) == []
    others = tuple(replace(ACCURACY, role=role, precision="fp32") for role in ("control", "repeat", "assistant"))
    distill = DistillSpec(control=True, seeds=3)
    only = ExportSpec(precisions=("fp16",))
    assert found(budgets=others, distill=distill, assistants=(AssistantSpec(model="mlp"),), export=only) == []
    scores = [replace(ACCURACY, metric=metric) for metric in ("f1", "auc", "exact_match", "f1_drop", "auc_drop")]
    errors = [Budget(metric=metric, limit="0.5") for metric in ("mean_squared_error", "reconstruction_error_increase")]
    assert found(budgets=(*scores, *errors)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teachers": (TeacherSpec(model="resnet"),)}, "own.toml: teachers.0: teacher 'resnet' has neither weights"),
        (
            {"teachers": (TeacherSpec(model="resnet", source="torhc", weights=Path("x")),)},
            "own.toml: teachers.0.source: unknown teacher 'torhc'",
        ),
        (
            {"teachers": (), "distill": DistillSpec(losses=(LossTerm(name="cross_entropy"), LossTerm(name="kl")))},
            "own.toml: distill.losses.1: loss 'kl' needs a teacher; add [[teachers]]",
        ),
        (
            {"export": ExportSpec(precisions=("fp32", "int8"))},
            "own.toml: export.precisions: unknown precision 'int8'; allowed: fp32",
        ),
        (
            {"export": ExportSpec(precisions=("mixed",))},
            "export.precisions: mixed is no one precision; add [export.mixed]",
        ),
        ({"export": mixed()}, "own.toml: export.mixed: neither max_drop nor max_size; allowed: one of them"),
        ({"export": mixed(max_drop="1 pt", max_size="1 kB")}, "export.mixed: both max_drop and max_size"),
        ({"export": mixed(max_drop="1 ms")}, "export.mixed: limit '1 ms' of accuracy_drop is no number with a unit"),
        ({"export": mixed(max_size="80")}, "export.mixed: '80' is no size"),
        (
            {"export": mixed(max_drop="1 pt", candidates=("fp16", "static_wi4_a8"))},
            "export.mixed: unknown candidate 'static_wi4_a8'",
        ),
        (
            {"export": mixed(max_drop="1 pt", candidates=("fp16", "fp16"))},
            "export.mixed: candidates = ['fp16', 'fp16']",
        ),
        (
            {"export": mixed(max_drop="1 pt", candidates=("static_wi8_ai8", "static_wi8_ai16"))},
            "export.mixed: onnx has static_wi8_ai8 of the candidates; allowed: onnx: fp32, fp16,",
        ),
        (
            {"export": mixed(max_drop="1 pt", candidates=("fp16", "fp32", "dynamic_wi8_afp32"))},
            "export.mixed: no layer can have dynamic_wi8_afp32; allowed: onnx: fp32",
        ),
        (
            {"distill": DistillSpec(quantization=QuantizationTraining(precision="static_wi8_ai16"))},
            "own.toml: distill.quantization.precision: no file is made in static_wi8_ai16; allowed: static_wi8_ai8",
        ),
        (
            {"distill": DistillSpec(quantization=QuantizationTraining(precision="fp16"))},
            "own.toml: distill.quantization.precision: unknown precision with integer weights 'fp16'; allowed: dynamic",
        ),
        (
            {"assistants": (AssistantSpec(model="mlp", train=DistillSpec(quantization=QuantizationTraining())),)},
            "own.toml: assistants.0.train.quantization: is for the student only; leave it out",
        ),
        (
            {"teachers": (replace(RECIPE.teachers[0], train=DistillSpec(init=InitSpec())),)},
            "own.toml: teachers.0.train.init: a teacher has no teacher to take layers from; leave it out",
        ),
        (
            {"teachers": (), "distill": DistillSpec(init=InitSpec())},
            "own.toml: distill.init: no teacher to take layers from; add [[teachers]], or weights",
        ),
        (
            {"distill": WRITING},
            "own.toml: distill.generation: data of 'digits' do not make it learn the next token; allowed: data.source",
        ),
        (
            {"data": replace(STORIES, options={"task": "masked_token"}), "distill": WRITING},
            "own.toml: distill.generation: data of 'text_stream' do not make it learn the next token",
        ),
        (
            {"data": STORIES, "teachers": (), "distill": WRITING},
            "distill.generation: no teacher to write texts, or to judge the student's; add [[teachers]]",
        ),
        (
            {"data": STORIES, "teachers": (replace(RECIPE.teachers[0], train=WRITING),)},
            "own.toml: teachers.0.train.generation: is for students of a teacher; leave it out",
        ),
        (
            {"budgets": (replace(ACCURACY, role="simulated"),)},
            "own.toml: budgets.0.role: there is no simulated to measure; add a table [distill.quantization]",
        ),
        ({"export": ExportSpec(formats=("onnx", "onnx"))}, "own.toml: export.formats: 'onnx' is there twice"),
        ({"export": ExportSpec(precisions=("fp32", "fp32"))}, "export.precisions: 'fp32' is there twice"),
        ({"benchmark": BenchmarkSpec(targets=("host", "host"))}, "benchmark.targets: 'host' is there twice"),
        ({"benchmark": BenchmarkSpec(targets=("hots",))}, "own.toml: benchmark.targets: unknown target 'hots'"),
        ({"benchmark": BenchmarkSpec(targets=("no/such.toml",))}, "benchmark.targets: no such target file"),
        ({"budgets": (replace(SIZE, metric="size"),)}, "own.toml: budgets.0: unknown metric 'size'"),
        ({"budgets": (SIZE, replace(SIZE, limit="1 ms"))}, "own.toml: budgets.1: limit '1 ms' of file_size"),
        ({"budgets": (replace(SIZE, limit="1"),)}, "own.toml: budgets.0: limit '1' of file_size is no number"),
        (
            {"budgets": (replace(SIZE, metric="latency", limit="1 ms", target="hosts"),)},
            "budgets.0.target: unknown measured target 'hosts'",
        ),
        ({"budgets": (replace(SIZE, target="host"),)}, "budgets.0.target: file_size is the same on every target"),
        (
            {"benchmark": BenchmarkSpec(targets=("pixel-8",)), "budgets": (Budget(metric="agreement", limit="99 %"),)},
            'budgets.0.metric: agreement is with what files predict on host; add "host" to benchmark.targets',
        ),
        (
            {"teachers": (), "distill": DistillSpec(), "budgets": (Budget(metric="teacher_agreement", limit="90 %"),)},
            "budgets.0.metric: there are no teachers; add [[teachers]], or leave it out",
        ),
        ({"budgets": (replace(SIZE, precision="fp16"),)}, "budgets.0.precision: unknown exported precision 'fp16'"),
        (
            {"budgets": (replace(SIZE, format="tflite"),), "export": ExportSpec(formats=("onnx",))},
            "budgets.0.format: unknown exported format 'tflite'; allowed: torch, onnx",
        ),
        (
            {"budgets": (replace(SIZE, metric="latency", limit="1 ms", statistic="p9x"),)},
            "own.toml: budgets.0: unknown statistic 'p9x'",
        ),
        ({"budgets": (replace(SIZE, statistic="p90"),)}, "budgets.0: statistic 'p90' has no meaning for file_size"),
        ({"budgets": (replace(SIZE, reference="teacher"),)}, "reference 'teacher' has no meaning for file_size"),
        (
            {"budgets": (replace(ACCURACY, role="control"),)},
            "own.toml: budgets.0.role: there is no control to measure; set distill.control = true",
        ),
        ({"budgets": (replace(ACCURACY, role="repeat"),)}, "no repeat to measure; set distill.seeds to 2 or more"),
        ({"budgets": (replace(ACCURACY, role="assistant"),)}, "no assistant to measure; add [[assistants]]"),
        (
            {"teachers": (), "distill": DistillSpec(), "budgets": (replace(ACCURACY, role="teacher"),)},
            "no teacher to measure; add [[teachers]]",
        ),
        (
            {"budgets": (replace(ACCURACY, metric="mean_squared_error"),)},
            "limit '90 %' of mean_squared_error is no such",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], words: str) -> None:
    (line,) = found(**changes)
    assert words in line


def test_all_problems_are_found_in_one_pass() -> None:
    wrong = Recipe(
        name="own",
        data=RECIPE.data,
        student=RECIPE.student,
        teachers=(TeacherSpec(model="resnet"), TeacherSpec(model="resnet")),
        export=ExportSpec(precisions=("int4",)),
        benchmark=BenchmarkSpec(targets=("hots", "cortex")),
        budgets=(replace(SIZE, metric="size"), replace(SIZE, target="x")),
    )
    assert len(cross_check(wrong, "own.toml")) == 7
