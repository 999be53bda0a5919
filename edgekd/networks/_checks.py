"""What all networks demand of their options and of the data's shape."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.errors import ConfigError, DataError, did_you_mean


def check_count(network: str, option: str, value: int, *, at_least: int = 1) -> None:
    """Refuse an option that is not a whole number of at least so many.

    >>> check_count("mlp", "width", 16)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(
            f"{option} = {value!r}", where=f"network {network}", allowed=f"a whole number, at least {at_least}"
        )


def check_choice(network: str, option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse an option that is none of the choices.

    >>> check_choice("resnet", "shortcut", "A", ("A", "B"))
    """
    if value not in choices:
        raise ConfigError(
            f"{option} = {value!r}",
            where=f"network {network}",
            allowed=", ".join(repr(choice) for choice in choices),
            next_step=did_you_mean(str(value), choices),
        )


def check_image(network: str, input_shape: Sequence[int], *, at_least: int) -> int:
    """Refuse a shape that is not an image of sufficient size.

    Args:
        network: For the message.
        input_shape: (channels, height, width).
        at_least: Smallest height and width; the product of the network's strides, so that no stage halves one pixel.

    Returns:
        The number of channels.

    Raises:
        DataError: Another rank, a size below 1, or an image that is too small.

    >>> check_image("resnet", (3, 32, 32), at_least=4)
    3
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(
            f"the data has shape {shape}",
            where=f"network {network}",
            allowed="(channels, height, width)",
            next_step="use the network 'mlp' for data that are not images",
        )
    channels, height, width = shape
    if min(height, width) < at_least:
        raise DataError(
            f"images of {height} x {width} are too small",
            where=f"network {network}",
            allowed=f"at least {at_least} x {at_least}",
            next_step="use a smaller stem_stride, larger images or a network with fewer strides",
        )
    return channels
