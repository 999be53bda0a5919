"""What a recipe says of the files to make: plain parameters, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge

from edgekd.records.names import MIXED, Content, Count, Format, IoType, Options, Ranges, Seed, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class QuantSpec:
    """How ranges of activations are found.

    Attributes:
        method: A calibrator, which chooses a range from what samples of the training split give.
    """

    method: str = "minmax"
    samples: Count = 256
    seed: Seed = 0
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What becomes of raw values x before a network sees them: (x - mean) / deviation * scale.

    Attributes:
        mean: One number for each entry of `axis`; empty where nothing is subtracted.
        deviation: The same for what is divided by.
        axis: Of the inputs, counted with that of the samples.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    axis: int = 1

    @property
    def is_needed(self) -> bool:
        """Whether it changes anything."""
        return self != Preprocessing(axis=self.axis)

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Do it.

        >>> import numpy as np
        >>> Preprocessing(mean=(1.0, 3.0), deviation=(1.0, 2.0)).apply(np.array([[3.0, 7.0]])).tolist()
        [[2.0, 2.0]]
        """
        import numpy as np

        shape = [1] * raw.ndim
        if self.mean:
            shape[self.axis] = -1
        centred = np.asarray(raw, np.float64) - np.reshape(self.mean or (0.0,), shape)
        ready: NDArray[np.float32] = centred / np.reshape(self.deviation or (1.0,), shape) * self.scale
        return ready.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class CorrectionTerm:
    """One correction of the student before it becomes a file, by plug-in name; they apply in order."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MixedPrecisionSpec:
    """A precision for each layer with weights: the smallest file that keeps a score, or the best one of a size.

    Attributes:
        candidates: Precisions that a layer may get; a format leaves out those that it does not have.
        max_drop: What the task's metric may lose on validation data against the float32 student, as budgets say it
            (`"0.3 pt"`, `"2 %"`); the smallest file is looked for. Either this or `max_size`.
        max_size: Of the file (`"80 kB"`); the best one is looked for.
        samples: Of the validation split, that measure what each layer costs; all of them measure whole files.
        points: How many files between the smallest and the best are tried.
    """

    candidates: tuple[str, ...] = ("static_wi8_ai8", "static_wi8_ai16", "static_wi4_ai8", "fp16")
    max_drop: str | None = None
    max_size: str | None = None
    samples: Count = 1000
    points: Count = 12


@dataclass(frozen=True, kw_only=True)
class QuantizationPlan:
    """What a quantizer makes of one float file.

    Attributes:
        precision: Of all layers that `layers` does not name.
        layers: Precision of single layers, by the name of their output in the float file.
        ranges: Of activations, by their names in the float file; static precisions need them.
        io: Type of input and output; `None` is the format's own: integers in TFLite, float32 in ONNX.
    """

    precision: str
    layers: Mapping[str, str] = field(default_factory=dict)
    ranges: Ranges = field(default_factory=dict)
    io: IoType | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """Which files are made of the student: every format in every precision.

    Attributes:
        precisions: `static_wi8_ai16.tflite` is a precision for one format only.
        corrections: For each precision with integers; what does not gain on validation data is left out.
        io: Type of input and output of TFLite files with integer activations; `None` takes what all targets take,
            else integers. ONNX takes float32.
        raw_input: Whether files take the data's raw values (bytes of images, features as measured): what scales and
            standardises them is in the graph. Not where inputs are reconstructed: errors are of what a network sees.
        head: What files give: the student's `logits`, their `probabilities`, or the number of the likeliest `class`.
        mixed: One more file of each format, `mixed`, whose layers have several precisions.
        lengths: Whether files of texts take the data's one length, or (`dynamic`, of ONNX) any.
        context: How many tokens the cache of a causal model's TFLite file holds; `None`: as many as it has positions.
    """

    formats: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")
    precisions: tuple[str, ...] = ("fp32", "static_wi8_ai8")
    calibration: QuantSpec = QuantSpec()
    corrections: tuple[CorrectionTerm, ...] = ()
    io: IoType | None = None
    raw_input: bool = True
    head: Literal["logits", "probabilities", "class"] = "logits"
    mixed: MixedPrecisionSpec | None = None
    lengths: Literal["fixed", "dynamic"] = "fixed"
    context: Count | None = None

    def takes_raw(self, task: Task) -> bool:
        """Whether files of a task take raw values."""
        return self.raw_input and task != "reconstruction"

    def precisions_of(self, format_name: str) -> tuple[str, ...]:
        """Which precisions a format is made in, `mixed` last.

        >>> ExportSpec(precisions=("fp32", "static_wi8_ai16.tflite")).precisions_of("onnx")
        ('fp32',)
        """
        named = (each.partition(".") for each in self.precisions)
        chosen = tuple(precision for precision, _, only in named if only in ("", format_name))
        return (*chosen, MIXED) if self.mixed else chosen

    def pairs(self) -> tuple[tuple[Format, str], ...]:
        """Formats and precisions, in the order of the files."""
        return tuple((each, precision) for each in self.formats for precision in self.precisions_of(each))


@dataclass(frozen=True, kw_only=True)
class PackagerTerm:
    """One packager, by plug-in name."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PackageSpec:
    """What goes around each file, and what its author says of it.

    Attributes:
        packagers: `None` takes those that suit the file and the targets; an empty list packages nothing.
        licence: An SPDX expression, such as `Apache-2.0`.
        limits: What the files should not be used for, and what is not known.
        content: What inputs are; `None` tells it by the data.
        vectors: Validation samples with what the file gives for them, to prove an integration; 0 for none.
    """

    packagers: tuple[PackagerTerm, ...] | None = None
    title: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    licence: str = ""
    limits: str = ""
    content: Content | None = None
    vectors: Annotated[int, Ge(0)] = 4
