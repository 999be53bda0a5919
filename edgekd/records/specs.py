"""What a recipe says: plain parameters, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekd.records.names import Basis, Count, Format, NotNegative, Options, Positive, Role, Seed, Share


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
    seed: Seed = 0
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
    seed: Seed = 0
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
    seed: Seed = 0


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
