"""What the distilling step leaves of the student that learned with rounding."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.pipeline.folder import QUANTIZATION, QUANTIZED
from edgekd.pipeline.workspace import write
from edgekd.records import Measurement, Model

if TYPE_CHECKING:
    from edgekd.datasets import Dataset
    from edgekd.stages.distill import QuantizationTrained

CALIBRATED = "student-calibrated"


def keep_rounded(
    quantized: QuantizationTrained, *, student: Model, data: Dataset, folder: Path
) -> tuple[list[Path], list[Model], list[Measurement]]:
    """Write what export needs to put the rounded student together again, and measure what it gained.

    Both are measured in torch, with the precision simulated: of the one that was only calibrated no file is made.

    Args:
        quantized: What learning with rounding came to.
        student: Record of the student as it was.
        data: For its test split.
        folder: Of the step.

    Returns:
        The files, the record of the trained weights where they were kept, and measurements on the test split.
    """
    from edgekd.stages.distill import describe_weights, measure_network, save_weights, serialise_weights

    files, models = [write(folder / QUANTIZATION, quantized.outcome)], []
    calibrated = replace(
        student,
        name=CALIBRATED,
        precision=quantized.outcome.precision,
        role="simulated",
        sha256=hashlib.sha256(serialise_weights(quantized.calibrated.network)).hexdigest(),
    )
    measured = measure_network(quantized.calibrated.simulated(), data.test, data, calibrated)
    if quantized.student:
        files.append(folder / f"{QUANTIZED}.safetensors")
        save_weights(quantized.student.network, files[-1])
        described = describe_weights(files[-1], quantized.student.network, name=QUANTIZED, role="simulated", data=data)
        models.append(replace(described, precision=quantized.student.precision, parent_sha256=student.sha256))
        measured += measure_network(quantized.student.simulated(), data.test, data, models[0])
    return files, models, measured
