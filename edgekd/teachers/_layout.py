"""How a sample, channels first, becomes what a file of another framework takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ModelError

LayoutOption = Literal["auto", "channels_first", "channels_last"]
Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The axes of a sample in another order, then another shape.

    Attributes:
        order: Which axis of the sample comes first, second, ...
        shape: Of the sample as the file takes it.
        original: Shape of the sample, channels first.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    original: tuple[int, ...]

    def apply(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Arrange (B, *input_shape) as the file takes it.

        >>> last = Arrangement(order=(1, 2, 0), shape=(4, 4, 3), original=(3, 4, 4))
        >>> last.apply(np.zeros((2, 3, 4, 4), "f")).shape
        (2, 4, 4, 3)
        """
        turned = samples.transpose(0, *(axis + 1 for axis in self.order))
        return np.ascontiguousarray(turned.reshape(len(samples), *self.shape))

    def undo(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring what has the file's shape, such as a reconstruction, back to channels first."""
        if samples.shape[1:] != self.shape:
            return samples
        back = np.argsort(self.order)
        turned = [self.original[axis] for axis in self.order]
        return samples.reshape(len(samples), *turned).transpose(0, *(int(axis) + 1 for axis in back))


def arrange(
    found: Shape,
    *,
    input_shape: tuple[int, ...],
    layout: LayoutOption,
    usual: Literal["channels_first", "channels_last"],
    where: str,
) -> Arrangement:
    """Find how samples have to be arranged for a file.

    Args:
        found: Shape of one sample in the file; `None` is any size.
        input_shape: Shape of one sample here, channels first.
        layout: The file's; `auto` takes the one that fits, and `usual` where both do.
        usual: What files of this format mostly have.
        where: The file, for messages.

    Raises:
        ModelError: Nothing fits, or several ways would.

    >>> arrange((32, 32, 3), input_shape=(3, 32, 32), layout="auto", usual="channels_first", where="a.onnx").order
    (1, 2, 0)
    """
    axes = range(len(input_shape))
    orders = {"channels_first": tuple(axes), "channels_last": (*axes[1:], 0)}
    if layout != "auto":
        orders = {layout: orders[layout]}
    elif usual == "channels_last":
        orders = dict(reversed(orders.items()))
    shapes = {name: tuple(input_shape[axis] for axis in order) for name, order in orders.items()}
    for name, shape in shapes.items():
        if len(found) == len(shape) and all(size in (None, here) for size, here in zip(found, shape, strict=True)):
            return Arrangement(order=orders[name], shape=shape, original=input_shape)
    # Other numbers of axes: a flat vector, or axes of size 1 that are missing or more.
    fixed = tuple(size for size in found if size is not None)
    if len(fixed) == len(found) and math.prod(fixed) == math.prod(input_shape):
        flat = len(fixed) == 1
        fitting = [name for name, shape in shapes.items() if flat or _without_ones(shape) == _without_ones(fixed)]
        # Where all axes but one have size 1, or the channels do, both orders give the same numbers.
        same = len(_without_ones(input_shape)) <= 1 or input_shape[0] == 1
        if len(fitting) == 1 or (fitting and same):
            return Arrangement(order=orders[fitting[0]], shape=fixed, original=input_shape)
        if fitting:
            raise ModelError(
                f"takes {fixed}, which samples of shape {input_shape} can be put into in two ways",
                where=where,
                next_step="say layout = 'channels_first' or 'channels_last' in the teacher's options",
            )
    raise ModelError(
        f"takes samples of shape {_text(found)}, the data's are {input_shape}",
        where=where,
        allowed=" or ".join(dict.fromkeys(str(shape) for shape in shapes.values())),
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _text(shape: Shape) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ("," * (len(shape) == 1)) + ")"
