"""MLPerf Tiny's keyword spotting network, DS-CNN (Zhang et al. 2017, "Hello Edge")."""

from __future__ import annotations

from torch import Tensor, nn

from edgekd.errors import ConfigError
from edgekd.networks._checks import check_count, check_image
from edgekd.networks._layers import SameConv2d, initialise, pool_all


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    blocks: int = 4,
    stem_kernel: tuple[int, int] = (10, 4),
    stem_stride: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a network of depthwise separable convolutions, all of one width.

    With 49 x 10 MFCC features, 12 classes and the defaults it has 24,908 parameters as Keras counts them,
    the batch norms' means and variances included.

    Args:
        classes: Number of logits.
        input_shape: (channels, height, width); for speech (1, frames, coefficients).
        width: Channels of all layers.
        blocks: Depthwise separable blocks.
        stem_kernel: (height, width) of the first convolution; smaller for small inputs.
        stem_stride: Its step in both directions.
        dropout: Share of the stem's output dropped in training, and twice that before the last layer;
            MLPerf Tiny trains with 0.2.

    Returns:
        A module from (batch, channels, height, width) to logits (batch, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: Not images, or too small ones.

    >>> import torch
    >>> build(classes=12, input_shape=(1, 49, 10))(torch.zeros(2, 1, 49, 10)).shape
    torch.Size([2, 12])
    """
    check_count("ds_cnn", "classes", classes)
    check_count("ds_cnn", "width", width)
    check_count("ds_cnn", "blocks", blocks)
    check_count("ds_cnn", "stem_stride", stem_stride)
    if len(stem_kernel) != 2 or any(isinstance(size, bool) or size < 1 for size in stem_kernel):
        raise ConfigError(
            f"stem_kernel = {stem_kernel!r}", where="network ds_cnn", allowed="two whole numbers, at least 1"
        )
    if not 0 <= dropout < 0.5:
        raise ConfigError(f"dropout = {dropout}", where="network ds_cnn", allowed="0 to 0.5, 0.5 excluded")
    channels = check_image("ds_cnn", input_shape, at_least=stem_stride)
    network = _DsCnn(
        channels=channels,
        classes=classes,
        width=width,
        blocks=blocks,
        stem_kernel=(stem_kernel[0], stem_kernel[1]),
        stem_stride=stem_stride,
        dropout=dropout,
    )
    initialise(network)
    return network


def _with_norm(conv: SameConv2d) -> tuple[nn.Module, ...]:
    return conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), nn.ReLU()  # Keras' epsilon


class _DsCnn(nn.Module):
    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        width: int,
        blocks: int,
        stem_kernel: tuple[int, int],
        stem_stride: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_with_norm(SameConv2d(channels, width, stem_kernel, stride=stem_stride)), nn.Dropout(dropout)
        )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    *_with_norm(SameConv2d(width, width, 3, groups=width)),
                    *_with_norm(SameConv2d(width, width, 1)),
                )
                for _ in range(blocks)
            )
        )
        self.dropout = nn.Dropout(2 * dropout)
        self.linear = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.dropout(self.blocks(self.stem(inputs)))
        logits: Tensor = self.linear(pool_all(x))
        return logits
