"""What a recipe says, and of where files run: plain parameters, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge

from edgekd.records.gating import Budget, GateSpec, Tolerances, Waiver
from edgekd.records.learning import AssistantSpec, DataSpec, DistillSpec, NetworkSpec, TeacherSpec, TransferSpec
from edgekd.records.making import ExportSpec, PackageSpec
from edgekd.records.names import Basis, Count, IoType, NotNegative, Positive, Share


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """What is measured of files of causal language models, beside what is of all files.

    Attributes:
        prompt_lengths: In tokens; the latency of such a file is that of one token after the first of them.
        new_tokens: Given after each prompt, always the most probable.
        contexts: Tokens in the cache with which the memory is looked at.
    """

    prompt_lengths: tuple[Count, ...] = (16, 128)
    new_tokens: Annotated[int, Ge(2)] = 64
    contexts: tuple[Count, ...] = (128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """Where files are measured and for how long.

    Attributes:
        runs: Steady-state inferences timed per file and target, at most.
        interval_width: Inferences are timed until the 95 % intervals of p50 and p90 are no wider than this share of
            them, but so many that there is a p99; 0 takes all `runs`.
        time_limit_s: For the timed inferences of one file on one target, in seconds; the warm-up takes as
            long at most, and no more than ten seconds. Where a target tells its power, a run for the energy
            takes twice as long again.
        sustained_s: How long each file runs without a break, after all else, for `sustained_latency`:
            the last minute against the first, or halves of less than two; 0 is not at all.
        threads: `None` takes the target's own number.
        length: Tokens of a text, of files that take any number of them and get no samples.
        generation: Of causal language models.
    """

    targets: tuple[str, ...] = ("host",)
    runs: Count = 10_000
    interval_width: Share = 0.02
    time_limit_s: Positive = 5.0
    sustained_s: NotNegative = 0.0
    threads: Count | None = None
    length: Count = 128
    generation: GenerationSpec = GenerationSpec()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where model files run.

    Attributes:
        runtimes: Plug-in names; the first that reads a model's format runs it.
        time_basis: What a latency from here is: a host that stands in for a chip gives `emulated`.
        accuracy_samples: At most so many test samples, where a full pass would take too long.
        ram_bytes: Bounds arenas, the SRAM that Vela plans for, and files where no flash is given.
        accelerator: As Vela calls it (`ethos-u55-128`), as are the next two; `None` takes Vela's defaults, the fastest.
        vela_config: Path of Vela's `.ini` of the chip.
        io: Types of input and output that its apps take, the preferred one first; empty is any.
        cpu_features: As Linux calls them (`avx512_vnni`); `None` is unknown.
        runtime_versions: By runtime, where it is not the one that edgekd installs; TFLite's as TensorFlow numbers them.
        xnnpack: Whether TFLite's XNNPACK delegate may take operators; of `litert`, `tensorflow` and `benchmark_model`.
        program: Where a runtime's own program is, for one that is no Python package; what `edgekd targets setup` puts
            there otherwise.
        program_sha256: Of the only such program that will do.
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
    accelerator: str | None = None
    system_config: str | None = None
    memory_mode: str | None = None
    vela_config: str | None = None
    io: tuple[IoType, ...] = ()
    cpu_features: tuple[str, ...] | None = None
    runtime_versions: Mapping[str, str] = field(default_factory=dict)
    xnnpack: bool = True
    program: str | None = None
    program_sha256: str | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that `edgekd run` does, from teachers to budgets."""

    name: str
    description: str = ""
    data: DataSpec
    transfer: TransferSpec | None = None
    teachers: tuple[TeacherSpec, ...] = ()
    assistants: tuple[AssistantSpec, ...] = ()
    student: NetworkSpec
    distill: DistillSpec = field(default_factory=DistillSpec)
    export: ExportSpec = field(default_factory=ExportSpec)
    benchmark: BenchmarkSpec = BenchmarkSpec()
    package: PackageSpec = field(default_factory=PackageSpec)
    budgets: tuple[Budget, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    regressions: Tolerances | None = None

    @property
    def gate(self) -> GateSpec:
        """What its release is held against."""
        return GateSpec(budgets=self.budgets, waivers=self.waivers, regressions=self.regressions)
