"""Pictures to squares of bytes."""

from __future__ import annotations

import struct
import warnings
from types import ModuleType
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import DataError

# What Pillow raises on damaged or hostile pictures, besides its decompression bombs.
_UNREADABLE = (OSError, ValueError, TypeError, SyntaxError, EOFError, LookupError, OverflowError, struct.error)


def decode(
    file: BinaryIO, size: int, channels: Literal[1, 3], fit: Literal["crop", "stretch"], pillow: ModuleType, where: str
) -> NDArray[np.uint8]:
    """Decode a picture.

    Args:
        file: Open at its beginning.
        size: Height and width of what is returned.
        channels: 1 for grey (ITU-R 601 luma), 3 for red, green, blue.
        fit: `crop` cuts margins, `stretch` gives up proportions.
        pillow: The module `PIL.Image`.
        where: Its name in messages.

    Returns:
        (channels, size, size).

    Raises:
        DataError: It can't be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)  # an error from twice the size on
            with pillow.open(file) as picture:
                if picture.mode in ("RGB", "L", "YCbCr"):
                    # A JPEG's decoder halves a huge photo for free; twice the size leaves the filter enough to do.
                    picture.draft(picture.mode, (2 * size, 2 * size))
                return to_square(picture, size, channels, fit, pillow)
    except (*_UNREADABLE, pillow.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"not a readable picture ({reason})", where=where) from None


def to_square(
    picture: Any, size: int, channels: Literal[1, 3], fit: Literal["crop", "stretch"], pillow: ModuleType
) -> NDArray[np.uint8]:
    """Turn an open picture upright, convert and resize it (bilinear, over all pixels that a new one covers).

    Raises:
        ValueError: A kind of pixel whose range is not known.
    """
    operations = registry.require("PIL.ImageOps", "pictures")
    upright = operations.exif_transpose(picture)
    if upright.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip them at 255
        values = np.asarray(upright).astype(np.int64)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise ValueError("pixels of more than 16 bits")
        upright = pillow.fromarray((values // 257).astype(np.uint8))
    elif upright.mode == "F":
        raise ValueError("pixels are floating-point numbers")
    if upright.has_transparency_data:
        shown = upright.convert("RGBA")
        upright = pillow.alpha_composite(pillow.new("RGBA", shown.size, (0, 0, 0, 255)), shown)
    converted = upright.convert("L" if channels == 1 else "RGB")
    bilinear = pillow.Resampling.BILINEAR
    if fit == "crop":
        square = operations.fit(converted, (size, size), bilinear)
    else:
        square = converted.resize((size, size), bilinear)
    pixels: NDArray[np.uint8] = np.asarray(square, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
