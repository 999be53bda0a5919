"""What must hold before a conversion is worth starting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.calibrators import try_calibrator
from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.quantizers import check_mixed, check_precision
from edgekd.records import MIXED, PRECISIONS, ExportSpec, Task
from edgekd.stages.export.auditing import audit, portray
from edgekd.stages.export.calibrating import SampleSource

if TYPE_CHECKING:
    from torch import nn


_LAST = "bias_correction"


def check_spec(spec: ExportSpec, name: str) -> None:
    """Refuse formats and precisions that don't exist, and converters that are not installed.

    Raises:
        ConfigError: Unknown, missing or repeated names.
        MissingExtraError: Says which extra brings the converter.

    >>> check_spec(ExportSpec(formats=("onnx",), precisions=("int3",)), "student")
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: unknown precision 'int3'; allowed: fp32, fp16, ...
    """
    if not name or Path(name).name != name:
        raise ConfigError(f"'{name}' can't begin the name of a file", where="export")
    if spec.calibration.samples < 1:
        raise ConfigError(f"calibration.samples is {spec.calibration.samples}", where="export", allowed="1 or more")
    for key, chosen, known in (
        ("formats", spec.formats, registry.names("exporters")),
        ("precisions", spec.precisions, PRECISIONS),
    ):
        if not chosen or len(set(chosen)) != len(chosen):
            raise ConfigError(
                f"{key} = {list(chosen)}", where="export", allowed=f"one or more of {', '.join(known)}, each once"
            )
    if spec.lengths == "dynamic" and spec.formats != ("onnx",):
        raise ConfigError(
            f"lengths = dynamic of {' and '.join(spec.formats)}",
            where="export",
            allowed="fixed, or formats = onnx alone: LiteRT plans its memory for one length",
            next_step="pad texts to the length that apps need, or leave tflite out",
        )
    try_calibrator(spec.calibration)
    corrections = [term.name for term in spec.corrections]
    if _LAST in corrections[:-1]:
        raise ConfigError(
            f"corrections = {corrections}",
            where="export",
            allowed=f"{_LAST} last: it makes up for what the others leave, which they would take for the student's",
        )
    for format_name, precision in spec.pairs():
        if precision != MIXED:
            check_precision(format_name, precision, spec.io)
    if spec.mixed:
        check_mixed(spec)
    # Importing a converter takes seconds and memory; only its child does that.
    registry.require_all(
        module
        for format_name in spec.formats
        for kind in ("exporters", "quantizers")
        for module in registry.load(kind, format_name).NEEDS
    )


def check_task(task: Task) -> None:
    """Refuse what no application asks a file for: to guess tokens is how encoders begin, not what they are for.

    Raises:
        ConfigError: The task is `masked_token`.

    >>> check_task("next_token")
    """
    if task == "masked_token":
        raise ConfigError(
            "no files are made of networks that guess masked tokens",
            where="export",
            next_step="end with `edgekd distill`, and let a student of another task begin with the weights: "
            "[distill.init] weights = 'RUN/distill/student.safetensors'",
        )


def check_token_spec(spec: ExportSpec) -> None:
    """Refuse what needs a traced copy of the student, of a network of tokens: transformers decide by values.

    Raises:
        ConfigError: Corrections, or a file of several precisions.

    >>> from edgekd.records import CorrectionTerm
    >>> check_token_spec(ExportSpec(corrections=(CorrectionTerm(name="rounding"),)))
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: export.corrections: not for networks of tokens, which are not simulated; leave it out...
    """
    for key, asked in (("corrections", spec.corrections), ("mixed", spec.mixed)):
        if asked:
            raise ConfigError(
                "not for networks of tokens, which are not simulated",
                where=f"export.{key}",
                next_step="leave it out: dynamic_wi8_afp32 loses least of all integers",
            )


def check_context(spec: ExportSpec, length: int) -> None:
    """Refuse texts that a TFLite file's cache can't hold; one of ONNX grows.

    Raises:
        ConfigError: They are longer than the context.

    >>> check_context(ExportSpec(context=256), 600)
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: export.context: 256 tokens, and the data's texts have 600; allowed: 600 or more, ...
    """
    if spec.context is not None and spec.context < length and "tflite" in spec.formats:
        raise ConfigError(
            f"{spec.context} tokens, and the data's texts have {length}",
            where="export.context",
            allowed=f"{length} or more, or shorter texts: data.length",
        )


def check_weights(student: nn.Module) -> None:
    """Refuse a student whose weights or statistics are not finite.

    Raises:
        ModelError: Names the first such tensor.
    """
    import torch

    for name, tensor in student.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"'{name}' holds numbers that are not finite",
                where="export",
                next_step="train again with a lower learning rate, or take an earlier checkpoint",
            )


def check_inputs(what: str, inputs: NDArray[np.float32]) -> None:
    """Refuse inputs that no network takes.

    Args:
        what: Which inputs, for the message.
        inputs: Shape (N, C, H, W) or (N, F), float32.

    Raises:
        DataError: None, not float32, not finite, or of an odd shape.

    >>> check_inputs("check", np.zeros((4, 8), np.uint8))
    Traceback (most recent call last):
        ...
    edgekd.errors.DataError: export: check samples are uint8; allowed: float32, as the network takes them
    """
    if inputs.dtype != np.float32:
        raise DataError(
            f"{what} samples are {inputs.dtype}", where="export", allowed="float32, as the network takes them"
        )
    if inputs.ndim < 2 or not inputs.size:
        raise DataError(
            f"{what} samples have shape {inputs.shape}", where="export", allowed="(N, C, H, W) or (N, F), N above 0"
        )
    if not np.isfinite(inputs).all():
        raise DataError(f"{what} samples hold numbers that are not finite", where="export")


def check_tokens(what: str, inputs: NDArray[np.float32]) -> None:
    """Refuse inputs that are no tokens of texts.

    Args:
        what: Which inputs, for the message.
        inputs: From `check_inputs`.

    Raises:
        DataError: Not (N, T), below 0, or fractions.

    >>> check_tokens("check", np.full((1, 2), 0.5, "f"))
    Traceback (most recent call last):
        ...
    edgekd.errors.DataError: export: check samples of shape (1, 2) from 0.5 to 0.5; allowed: tokens (N, T), whole, ...
    """
    if inputs.ndim != 2 or (inputs != np.rint(inputs)).any() or inputs.min() < 0:
        raise DataError(
            f"{what} samples of shape {inputs.shape} from {inputs.min():g} to {inputs.max():g}",
            where="export",
            allowed="tokens (N, T), whole, from 0",
            next_step="tokenize the texts, and pad them to one length",
        )


def check_calibration(calibration: SampleSource, check: NDArray[np.float32], *, tokens: bool = False) -> None:
    """Refuse calibration samples from which no ranges can be learnt.

    Args:
        calibration: Of the training split.
        check: Of the validation split.
        tokens: Whether they are texts, whose neighbours need not be alike, nor their rarest words the same.

    Raises:
        DataError: None, of another shape than the check samples, not finite or constant; of another range, or noise.
    """
    if not len(calibration):
        raise DataError("no calibration samples", where="export", next_step="give samples of the training split")
    if isinstance(calibration, np.ndarray):
        check_inputs("calibration", calibration)
    if calibration.shape[1:] != check.shape[1:]:
        raise DataError(
            f"calibration samples have shape {calibration.shape[1:]}", where="export", allowed=f"{check.shape[1:]}"
        )
    audit(portray(calibration), portray(check), tokens=tokens)
