"""The types that flow between the stages: frozen, keyword-only, plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from edgekd.errors import ConfigError, MeasurementError

Format = Literal["torch", "onnx", "tflite"]
Role = Literal["teacher", "student"]
Basis = Literal["measured", "emulated", "estimated"]
Status = Literal["pass", "fail", "inconclusive", "unmeasured"]
Options = Mapping[str, Any]
# Bounds that `edgekd.config` checks and the JSON Schema shows.
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Interval(ge=0, lt=1)]

PRECISIONS = ("fp32", "fp16", "static_wi8_ai8")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """A decoded precision name.

    Attributes:
        name: As in recipes and file names.
        mode: `float`, or how ranges of activations are found: `static`.
        weights: dtype of the weights in the file.
        activations: dtype of what flows between operators.
    """

    name: str
    mode: Literal["float", "static"]
    weights: str
    activations: str


def decode_precision(name: str) -> Precision:
    """Decode a precision name; the one place that knows their grammar.

    Raises:
        ConfigError: The name is none that edgekd makes.

    >>> decode_precision("static_wi8_ai8").weights
    'int8'
    """
    if name not in PRECISIONS:
        raise ConfigError(f"unknown precision '{name}'", allowed=", ".join(PRECISIONS))
    if match := re.fullmatch(r"static_wi(\d+)_ai(\d+)", name):
        return Precision(name=name, mode="static", weights=f"int{match[1]}", activations=f"int{match[2]}")
    dtype = {"fp32": "float32", "fp16": "float16"}[name]
    return Precision(name=name, mode="float", weights=dtype, activations="float32")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or output of a model file; `None` in the shape is a dynamic dimension."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model file and where it comes from.

    Attributes:
        name: Unique in a run, e.g. `student.static_wi8_ai8.tflite`.
        parent_sha256: The file this one was made from, if any.
        made_by: The tools that made it, with their versions.
        input_scale: What the raw values of the data are multiplied by before they go in.
    """

    name: str
    path: Path
    format: Format
    precision: str
    role: Role
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    parameters: int | None = None
    parent_sha256: str | None = None
    made_by: str = ""
    input_scale: float = 1.0


# --- specs: what a recipe says -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A dataset by plug-in name, and how it is split.

    Attributes:
        validation: Share of the training samples held out for choices.
        test: Share of all samples held out for the end, where the source has no test split.
        seed: Seed of the splits.
        options: Parameters of the plug-in.
    """

    source: str
    validation: Share = 0.1
    test: Share = 0.2
    seed: int = 0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network by plug-in name or `module:function`."""

    model: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One weighted term of the training loss, by plug-in name."""

    name: str
    weight: NotNegative = 1.0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AugmentationTerm:
    """One augmentation, by plug-in name; they apply in order."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DistillSpec:
    """How a network is trained, with teachers (a student) or without (a teacher).

    Attributes:
        optimizer: `sgd` has Nesterov momentum 0.9.
        learning_rate: At the top of the schedule: linear warm-up, then a cosine to zero.
        patience: Stop after so many epochs without a better validation accuracy; `None` never.
        mixed_precision: `auto` computes in bfloat16 where the hardware does.
    """

    epochs: Count = 30
    batch_size: Count = 128
    optimizer: Literal["adamw", "sgd"] = "sgd"
    learning_rate: Positive = 0.1
    weight_decay: NotNegative = 5e-4
    warmup_epochs: NotNegative = 1.0
    patience: Count | None = None
    seed: int = 0
    mixed_precision: Literal["auto", "off"] = "auto"
    augmentations: tuple[AugmentationTerm, ...] = ()
    losses: tuple[LossTerm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """A teacher: where it comes from, or how it is trained when it brings no weights.

    Attributes:
        source: Plug-in that loads it.
        weights: safetensors or state dict; `None` trains it by `train`.
        weight: Its share among several teachers.
    """

    source: str = "torch"
    model: str
    weights: Path | None = None
    weight: Positive = 1.0
    train: DistillSpec | None = None
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuantSpec:
    """How ranges of activations are found."""

    samples: Count = 256
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """Which files are made of the student: every format in every precision."""

    formats: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")
    precisions: tuple[str, ...] = ("fp32", "static_wi8_ai8")
    calibration: QuantSpec = QuantSpec()


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """Where files are measured and for how long.

    Attributes:
        runs: Steady-state inferences timed per file and target, unless `time_limit_s` ends first.
        time_limit_s: For the timed inferences of one file on one target, in seconds.
        threads: `None` takes the target's own number.
    """

    targets: tuple[str, ...] = ("host",)
    runs: Count = 1000
    time_limit_s: Positive = 5.0
    threads: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A limit on a metric, for the files that its selectors match.

    Attributes:
        metric: One of `edgekd.units.METRICS`.
        limit: A number with its unit, e.g. `"100 kB"`, `"98 %"`, `"10 ms"`, `"2 pt"`.
        statistic: Quantile of a latency, e.g. `p90`.
        reference: For drops: `teacher` or `student`.
        basis: What counts as evidence; emulated times only where the budget says so.
    """

    metric: str
    limit: str
    format: Format | None = None
    precision: str | None = None
    target: str | None = None
    role: Role = "student"
    statistic: str | None = None
    reference: Role | None = None
    basis: Basis = "measured"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where model files run.

    Attributes:
        runtimes: Plug-in names; the first that reads a model's format runs it.
        time_basis: What a latency from here is: a host that stands in for a chip gives `emulated`.
        accuracy_samples: At most so many test samples, where a full pass would take too long.
        source: Where the figures come from.
    """

    name: str
    description: str
    transport: str = "local"
    address: str | None = None
    runtimes: tuple[str, ...]
    threads: Count = 1
    arch: str | None = None
    ram_bytes: Count | None = None
    flash_bytes: Count | None = None
    cooldown_s: NotNegative = 0.0
    time_basis: Basis = "measured"
    memory_basis: Basis = "measured"
    accuracy_samples: int | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that `edgekd run` does, from teachers to budgets."""

    name: str
    description: str = ""
    data: DataSpec
    teachers: tuple[TeacherSpec, ...] = ()
    student: NetworkSpec
    distill: DistillSpec = DistillSpec()
    export: ExportSpec = ExportSpec()
    benchmark: BenchmarkSpec = BenchmarkSpec()
    budgets: tuple[Budget, ...] = ()


# --- results -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch of training gave; no times, so that a resumed run writes the same bytes."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state of the machine and the tools under which samples were taken."""

    host: str = ""
    cpu: str = ""
    arch: str = ""
    os: str = ""
    runtime: str = ""
    runtime_version: str = ""
    threads: int = 1
    governor: str | None = None
    throttled_before: str | None = None
    throttled_after: str | None = None
    load_before: float | None = None
    delegate: str | None = None
    batch: int = 1

    MUST_AGREE = ("host", "cpu", "arch", "runtime", "runtime_version", "threads", "governor", "delegate", "batch")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Raw samples of one metric of one model file on one target.

    Attributes:
        samples: In `unit`. Accuracy and parity hold one 0 or 1 per data sample, in the order of the
            split; exact facts such as a file's size hold one number.
        warmup: Samples taken before the steady state, kept apart.
        started_at: ISO 8601, UTC.
    """

    model_sha256: str
    model: str
    format: Format
    precision: str
    role: Role
    target: str
    metric: str
    unit: str
    samples: tuple[float, ...]
    warmup: tuple[float, ...] = ()
    conditions: Conditions = Conditions()
    basis: Basis = "measured"
    started_at: str = ""

    def merge(self, other: Measurement) -> Measurement:
        """Join the samples of two measurements of the same thing under the same conditions.

        Raises:
            MeasurementError: Something that matters differs; the error names it.
        """
        keys = ("model_sha256", "target", "metric", "unit", "basis")
        different = [key for key in keys if getattr(self, key) != getattr(other, key)]
        different += [
            f"conditions.{key}"
            for key in Conditions.MUST_AGREE
            if getattr(self.conditions, key) != getattr(other.conditions, key)
        ]
        if different:
            first = different[0].removeprefix("conditions.")
            mine, theirs = (
                getattr(each.conditions if different[0] != first else each, first) for each in (self, other)
            )
            raise MeasurementError(
                f"measurements differ in {', '.join(different)} ({mine!r} and {theirs!r})",
                next_step="measure both again under the same conditions",
            )
        return replace(self, samples=self.samples + other.samples, warmup=self.warmup + other.warmup)


@dataclass(frozen=True, kw_only=True)
class Check:
    """A budget held against one measurement.

    Attributes:
        model: Name of the model file; empty where nothing was measured.
        limit: In the base unit of the metric, as are observed, low and high.
        low: Lower end of the interval of the observed value; equals `high` for exact facts.
        reason: One line: why this status, and what would change it.
    """

    budget: Budget
    model: str
    target: str
    unit: str
    limit: float
    observed: float | None
    low: float | None
    high: float | None
    status: Status
    reason: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """The verdict on a set of files; anything but all-`pass` is not a release."""

    model_sha256s: tuple[str, ...]
    checks: tuple[Check, ...]
    evidence: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """The worst status of all checks; no check at all proves nothing."""
        for status in ("fail", "unmeasured", "inconclusive"):
            if any(check.status == status for check in self.checks):
                return status
        return "pass" if self.checks else "unmeasured"


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that a finished or unfinished run folder holds, for the report."""

    name: str
    folder: Path
    recipe: str
    models: tuple[Model, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    histories: Mapping[str, tuple[EpochRecord, ...]] = field(default_factory=dict)
    release: Release | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def field_names(record: type) -> tuple[str, ...]:
    """Names of a record's fields, in order."""
    return tuple(each.name for each in fields(record))
