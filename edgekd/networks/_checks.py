"""What all networks demand of their options and of the data's shape."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.errors import ConfigError, DataError, did_you_mean
from edgekd.records import Tokens


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


def check_share(network: str, option: str, value: float) -> None:
    """Refuse an option that is not a share of at least 0, below 1.

    >>> check_share("bert", "dropout", 0.1)
    """
    if isinstance(value, bool) or not 0 <= value < 1:
        raise ConfigError(f"{option} = {value!r}", where=f"network {network}", allowed="0 to 1, 1 excluded")


def check_tokens(network: str, input_shape: Sequence[int], tokens: Tokens | None) -> tuple[int, Tokens]:
    """Refuse data that are no texts.

    Args:
        network: For the message.
        input_shape: (tokens,).
        tokens: What the data's numbers mean.

    Returns:
        How many tokens a text has, filled up, and what they are.

    Raises:
        DataError: The data are no tokens.

    >>> check_tokens("bert", (64,), Tokens(vocabulary=100))[0]
    64
    """
    if tokens is None or len(input_shape) != 1:
        raise DataError(
            f"the data has shape {tuple(input_shape)}" + (" and no tokens" if tokens is None else ""),
            where=f"network {network}",
            allowed="texts: token numbers of shape (tokens,)",
            next_step="take a source of texts, such as 'text'",
        )
    return int(input_shape[0]), tokens
