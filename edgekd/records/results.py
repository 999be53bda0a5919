"""What the stages find: files, and what training and export gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.records.gating import Release
from edgekd.records.history import PastGate
from edgekd.records.linting import Finding
from edgekd.records.manifest import Manifest
from edgekd.records.measuring import Measurement
from edgekd.records.names import Format, Head, Ranges, Role
from edgekd.records.profiling import OperatorTime

# What ONNX files call the cache of a language model: edgekd's, and those of optimum and most others.
_PAST = ("past_key", "past_value")


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
        input_scale: What the raw values of the data are multiplied by before they go in; 1 where nothing is.
        head: What its output is.
        operators: Kinds and how many of each, of a file that other programs read.
        signatures: Names of the ways to call it, of a TFLite file with several.
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
    head: Head = "logits"
    operators: tuple[tuple[str, int], ...] = ()
    signatures: tuple[str, ...] = ()

    @property
    def has_cache(self) -> bool:
        """Whether it is a causal language model that keeps keys and values between calls."""
        in_turns = any(each.name.startswith(_PAST) for each in self.inputs)
        return in_turns or ("decode" in self.signatures and any(each.startswith("prefill") for each in self.signatures))


@dataclass(frozen=True, kw_only=True)
class TermShare:
    """How much one term of the loss counts, on the first batch of an epoch.

    Attributes:
        loss: Its share of the sum of the absolute weighted terms.
        gradient: Its share of the sum of the norms of the terms' gradients at the student's weights.
    """

    name: str
    weight: float
    loss: float
    gradient: float


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch of training gave; no times, so that a resumed run writes the same bytes.

    Attributes:
        metric: What `validation_score` is; in its own direction (an error is better when it is small).
        terms: With several losses, the balance between them.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    validation_score: float
    metric: str = "accuracy"
    terms: tuple[TermShare, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CacheFacts:
    """What a teacher's cache holds.

    Attributes:
        kept: Logits kept of each sample: all classes, or the largest K.
        error: Largest difference between a cached and a recomputed logit, over the samples that were replayed.
    """

    teacher: str
    path: str
    samples: int
    views: int
    classes: int
    kept: int
    size_bytes: int
    precision: str
    error: float


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What the teachers of a student are worth together, on validation data.

    Attributes:
        scores: Of each teacher, by name.
        disagreement: Share of samples on which not all teachers predict the same.
    """

    metric: str
    combine: str
    scores: Mapping[str, float]
    ensemble_score: float
    disagreement: float
    caches: tuple[CacheFacts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What a correction of the student was worth to one precision, before there was a file.

    Attributes:
        before: Root-mean-square error of the outputs with this precision simulated, against the float student's, as a
            share of their deviation, on validation data.
        after: The same with the correction.
        kept: Whether it stayed: it lowered the error.
    """

    precision: str
    name: str
    before: float
    after: float
    kept: bool


@dataclass(frozen=True, kw_only=True)
class QuantizationOutcome:
    """What learning with a precision's rounding gave the student, on validation data.

    Attributes:
        metric: What the scores are.
        float_score: Of the student without any rounding.
        calibrated_score: With the precision simulated, ranges as observed and weights as they were.
        trained_score: The same after the training.
        kept: Whether files are made of the trained weights: they score no worse than calibration alone.
        ranges: Of activations by operator, as learned; none of precisions with float activations.
    """

    precision: str
    metric: str
    float_score: float
    calibrated_score: float
    trained_score: float
    kept: bool
    ranges: Ranges = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LayerParity:
    """How one layer's outputs in a file differ from those in the float32 file, after all that came before it.

    Attributes:
        layer: The torch module where the file says so, else the activation.
        operator: As the file's format calls it.
        sqnr_db: 10 log10 of E[x^2] / E[(x - x')^2], in dB; 300 where they are the same.
        max_error: Largest |x - x'|.
        mean_error: Mean |x - x'|.
        past: Whether the ratio is below what the file's precision explains.
    """

    layer: str
    operator: str
    sqnr_db: float
    max_error: float
    mean_error: float
    past: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one layer costs in one precision.

    Attributes:
        layer: Path of the torch module.
        loss: On validation data with only this layer in the precision and all others float. Of classes the
            cross-entropy against the float student's probabilities less their own entropy (the Kullback-Leibler
            divergence, in nats); of values the squared error as a share of the values' variance.
        size_bytes: Of its weights, scales and biases in the file.
    """

    layer: str
    precision: str
    loss: float
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class MixedFile:
    """A file that was tried, with all its layers quantized together.

    Attributes:
        layers: Precision by path of the torch module.
        size_bytes: Of the file.
        predicted_loss: Sum of its layers' losses.
        loss: As that of a layer, of the whole network simulated, on all validation data.
        score: Of the metric, likewise.
    """

    layers: Mapping[str, str]
    size_bytes: int
    predicted_loss: float
    loss: float
    score: float


@dataclass(frozen=True, kw_only=True)
class MixedSearch:
    """How the precisions of a mixed file were found.

    Attributes:
        budget: As the recipe says it: `max_drop = 0.3 pt`.
        metric: That scores are of.
        reference: The float32 student's score on the same data.
        costs: Of each layer in each precision that the format has for it, in the order of the network.
        files: Smallest first; those of one precision for all layers too.
        chosen: Number of the file that was taken.
    """

    budget: str
    metric: str
    reference: float
    costs: tuple[LayerCost, ...]
    files: tuple[MixedFile, ...]
    chosen: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that a finished or unfinished run folder holds, for the report.

    Attributes:
        manifest: Of a finished run, or of the steps that are done when the report is written.
    """

    name: str
    folder: Path
    recipe: str
    models: tuple[Model, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    histories: Mapping[str, tuple[EpochRecord, ...]] = field(default_factory=dict)
    teachings: Mapping[str, Teaching] = field(default_factory=dict)
    layers: Mapping[str, tuple[LayerParity, ...]] = field(default_factory=dict)
    mixed: Mapping[str, MixedSearch] = field(default_factory=dict)
    quantization: QuantizationOutcome | None = None
    corrections: tuple[Correction, ...] = ()
    findings: tuple[Finding, ...] = ()
    operators: tuple[OperatorTime, ...] = ()
    release: Release | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    past_gates: tuple[PastGate, ...] = ()
    manifest: Manifest | None = None
