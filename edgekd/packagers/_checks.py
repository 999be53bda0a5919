"""What packagers refuse, in the same words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekd.errors import ExportError
from edgekd.records import Cargo


def check_format(cargo: Cargo, packager: str, formats: Sequence[str]) -> None:
    """Refuse a file of another format.

    Raises:
        ExportError: Says which formats there are.
    """
    if cargo.model.format not in formats:
        raise ExportError(
            f"{packager} takes no {cargo.model.format} files",
            where=cargo.model.name,
            allowed=", ".join(formats),
            next_step="leave this packager out for this file",
        )
    if not cargo.model.path.is_file():
        raise ExportError("no such file", where=str(cargo.model.path), next_step="run the export again")


def check_ends(cargo: Cargo) -> None:
    """Refuse a file of several inputs or outputs, or whose outputs are not as many as there are labels.

    Raises:
        ExportError: Says how many there are.
    """
    model = cargo.model
    for word, ends in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(ends) != 1:
            raise ExportError(
                f"{len(ends)} {word}", where=model.name, allowed=f"files with one of the {word}, which it describes"
            )
    size = model.outputs[0].shape[-1] if model.outputs[0].shape else None
    if cargo.labels and cargo.head != "class" and size is not None and size != len(cargo.labels):
        raise ExportError(
            f"{len(cargo.labels)} labels for {size} outputs",
            where=model.name,
            next_step="give one label for each output, in their order",
        )
    bad = [each for each in cargo.labels if not each.strip() or "\n" in each]
    if bad:
        raise ExportError(
            f"label {bad[0]!r}", where=model.name, allowed="text of one line", next_step="rename the class"
        )


def channels_of(cargo: Cargo) -> int:
    """Channels of an image file, whose layout is its format's own."""
    shape = cargo.model.inputs[0].shape
    channels = shape[1] if cargo.model.format == "onnx" else shape[-1]
    if len(shape) != 4 or channels not in (1, 3):
        raise ExportError(f"an image of shape {shape}", where=cargo.model.name, allowed="4 axes, 1 or 3 channels")
    return int(channels)


def check_pixels(cargo: Cargo) -> None:
    """Refuse a uint8 image file that does not take pixels as they are, as apps' libraries feed it.

    Raises:
        ExportError: Its scale and zero point, and those that it would need.
    """
    spec = cargo.model.inputs[0]
    if spec.dtype != "uint8" or spec.scale is None:
        return
    pixels = np.arange(256.0)
    for mean, std in _pairs(cargo.raw_mean, cargo.raw_std):
        wanted = (pixels - mean) / std / spec.scale + (spec.zero_point or 0)
        if np.abs(wanted - pixels).max() > 1.0:
            raise ExportError(
                f"pixels are not what the file takes: scale {spec.scale:g}, zero point {spec.zero_point}",
                where=cargo.model.name,
                allowed=f"scale {1 / std:g}, zero point {mean:g}",
                next_step="fold normalization into the graph before it is quantized",
            )


def _pairs(mean: Sequence[float], std: Sequence[float]) -> list[tuple[float, float]]:
    count = max(len(mean), len(std))
    return [(mean[index % len(mean)], std[index % len(std)]) for index in range(count)]
