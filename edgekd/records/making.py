"""What a recipe says of the files to make: plain parameters, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgekd.records.names import Count, Format, IoType, Options, Ranges, Seed


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
class CorrectionTerm:
    """One correction of the student before it becomes a file, by plug-in name; they apply in order."""

    name: str
    options: Options = field(default_factory=dict)


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
        io: Type of input and output of TFLite files with integer activations; `None` is integers. ONNX takes float32.
    """

    formats: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")
    precisions: tuple[str, ...] = ("fp32", "static_wi8_ai8")
    calibration: QuantSpec = QuantSpec()
    corrections: tuple[CorrectionTerm, ...] = ()
    io: IoType | None = None

    def precisions_of(self, format_name: str) -> tuple[str, ...]:
        """Which precisions a format is made in.

        >>> ExportSpec(precisions=("fp32", "static_wi8_ai16.tflite")).precisions_of("onnx")
        ('fp32',)
        """
        named = (each.partition(".") for each in self.precisions)
        return tuple(precision for precision, _, only in named if only in ("", format_name))

    def pairs(self) -> tuple[tuple[Format, str], ...]:
        """Formats and precisions, in the order of the files."""
        return tuple((each, precision) for each in self.formats for precision in self.precisions_of(each))
