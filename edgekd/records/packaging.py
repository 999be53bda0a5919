"""What a packager needs to know of a model file, and what it finds out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekd.records.linting import Finding
from edgekd.records.names import Basis, Content, Head, Task
from edgekd.records.results import Model
from edgekd.records.text import Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number about a model file, as people read it.

    Attributes:
        name: A metric of `edgekd.units.METRICS`, with its statistic: `latency p90`.
        value: As printed, with its unit: `98.89 %`.
        target: Where it was taken.
        number: In the base unit, for machines; `accuracy` is a share.
    """

    name: str
    value: str
    target: str = ""
    basis: Basis = "measured"
    number: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Vectors:
    """Inputs with what the file makes of them, to prove an integration.

    Attributes:
        inputs: As the file takes them (quantized where it is), shape (N, …), without the file's own batch axis.
        outputs: As the file gives them, shape (N, …).
    """

    inputs: NDArray[Any]
    outputs: NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cargo:
    """All that packagers may need to know of one model file.

    Raw values x become the network's input as (x * model.input_scale - mean) / std.

    Attributes:
        labels: In the order of the outputs.
        licence: An SPDX identifier.
        mean: One number, or one a channel; empty where nothing is subtracted.
        std: The same for what is divided by.
        raw_range: Smallest and largest raw value: of images 0 and 255. `None`: not known.
        arena_bytes: The smallest arena in which TFLite Micro ran it, tried for `arena_target`; setting it up may take
            more than it then occupies (`arena_size`).
        teachers: A line each.
        dataset: Its name.
        data: What it was trained and tested on, in a sentence or a paragraph.
        front_end: What makes features of a recording: rates, windows, bins.
        limits: What it should not be used for, and what is not known.
        recipe: The TOML that it was made by.
        findings: What lint says of it on its targets.
        tokens: What its inputs' numbers mean, where they are tokens of texts.
    """

    model: Model
    labels: tuple[str, ...] = ()
    task: Task = "single_label"
    content: Content = "features"
    head: Head = "logits"
    title: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    licence: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    raw_range: tuple[float, float] | None = None
    vectors: Vectors | None = None
    arena_bytes: int | None = None
    arena_target: str = ""
    figures: tuple[Figure, ...] = ()
    teachers: tuple[str, ...] = ()
    dataset: str = ""
    data: str = ""
    front_end: Mapping[str, str | float] = field(default_factory=dict)
    limits: str = ""
    recipe: str = ""
    findings: tuple[Finding, ...] = ()
    tokens: Tokens | None = None

    @property
    def name(self) -> str:
        """The title, or else the file's name without its format."""
        return self.title or self.model.name.removesuffix(f".{self.model.format}")

    @property
    def stem(self) -> str:
        """The file's name without its format."""
        return self.model.path.name.removesuffix(f".{self.model.format}")

    @property
    def raw_mean(self) -> tuple[float, ...]:
        """The mean in raw values: normalization as (x - raw_mean) / raw_std.

        >>> from pathlib import Path
        >>> model = Model(
        ...     name="a.onnx",
        ...     path=Path("a.onnx"),
        ...     format="onnx",
        ...     precision="fp32",
        ...     role="student",
        ...     sha256="",
        ...     size_bytes=1,
        ...     input_scale=1 / 255,
        ... )
        >>> Cargo(model=model, mean=(0.5,), std=(0.25,)).raw_mean
        (127.5,)
        """
        return tuple(float(each / self.model.input_scale) for each in self.mean or (0.0,))

    @property
    def raw_std(self) -> tuple[float, ...]:
        """The divisor in raw values."""
        return tuple(float(each / self.model.input_scale) for each in self.std or (1.0,))

    def quantized(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Turn raw values into what the file takes: normalized, and quantized where its input is.

        Args:
            raw: Channels first or last as the file takes them, any shape.
        """
        import numpy as np

        spec = self.model.inputs[0]
        values = (np.asarray(raw, np.float64) - self._shaped(self.raw_mean, raw)) / self._shaped(self.raw_std, raw)
        if spec.scale is None:
            return values.astype(spec.dtype)
        limits = np.iinfo(spec.dtype)
        return np.clip(np.round(values / spec.scale) + (spec.zero_point or 0), limits.min, limits.max).astype(
            spec.dtype
        )

    def _shaped(self, numbers: tuple[float, ...], raw: NDArray[Any]) -> NDArray[np.float64]:
        import numpy as np

        array = np.asarray(numbers)
        if len(array) > 1 and self.model.format == "onnx" and np.ndim(raw) > 2:
            return array.reshape(-1, 1, 1)
        return array


@dataclass(frozen=True, kw_only=True)
class NpuSummary:
    """What Vela says of a compiled file; all of it estimated.

    Attributes:
        accelerator: E.g. `ethos-u55-128`.
        system_config: Of the chip; Vela takes a fast default where none is given.
        inference_s: Of one inference, in seconds.
        npu_operators: That run on the accelerator.
        cpu_operators: That are left to the processor.
    """

    tool: str
    accelerator: str
    system_config: str
    memory_mode: str
    optimise: str
    inference_s: float
    sram_bytes: float
    on_chip_flash_bytes: float
    off_chip_flash_bytes: float
    dram_bytes: float
    npu_operators: int
    cpu_operators: int
    basis: Basis = "estimated"


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """One file of a package; its path is relative to the package's folder."""

    path: str
    packager: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Package:
    """What was put around one model file.

    Attributes:
        model: Name of the file.
        folder: Where it is, relative to the folder of all packages.
        files: Each made from the model file.
        left_out: By packager, why it made nothing.
    """

    model: str
    model_sha256: str
    folder: str
    files: tuple[PackedFile, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
