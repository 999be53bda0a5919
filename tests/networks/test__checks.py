"""Options and shapes that no network accepts, each with what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from edgekd.errors import ConfigError, DataError, EdgekdError
from edgekd.networks import ds_cnn, mlp, mlperf_resnet8, mobilenet_v1, resnet

IMAGE = (3, 32, 32)


@pytest.mark.parametrize(
    ("build", "shape", "options", "error", "words"),
    [
        (resnet.build, IMAGE, {"depth": 18}, ConfigError, "depth = 18; allowed: 6n.2.*use 20"),
        (resnet.build, IMAGE, {"depth": 2}, ConfigError, "depth = 2; .*use 8"),
        (resnet.build, IMAGE, {"width": 0}, ConfigError, "width = 0; allowed: a whole number"),
        (resnet.build, IMAGE, {"width": True}, ConfigError, "width = True"),
        (resnet.build, IMAGE, {"shortcut": "C"}, ConfigError, "shortcut = 'C'; allowed: 'A', 'B'"),
        (resnet.build, IMAGE, {"padding": "symetric"}, ConfigError, "did you mean 'symmetric'"),
        (resnet.build, (3, 3, 32), {}, DataError, "3 x 32 are too small; allowed: at least 4 x 4"),
        (resnet.build, (3, 7, 7), {"stem_stride": 2}, DataError, "at least 8 x 8"),
        (resnet.build, (140,), {}, DataError, r"shape \(140,\); allowed: \(channels, height, width\); use .*mlp"),
        (mlperf_resnet8.build, (1, 2, 2), {}, DataError, "at least 4 x 4"),
        (mlperf_resnet8.build, IMAGE, {"width": -1}, ConfigError, "width = -1"),
        (ds_cnn.build, IMAGE, {"blocks": 0}, ConfigError, "blocks = 0"),
        (ds_cnn.build, IMAGE, {"stem_kernel": (0, 3)}, ConfigError, "stem_kernel"),
        (ds_cnn.build, IMAGE, {"stem_kernel": (3,)}, ConfigError, "two whole numbers"),
        (ds_cnn.build, IMAGE, {"dropout": 0.5}, ConfigError, "dropout = 0.5"),
        (ds_cnn.build, (1, 49), {}, DataError, "channels, height, width"),
        (mobilenet_v1.build, (3, 28, 28), {}, DataError, "at least 32 x 32; use a smaller stem_stride"),
        (mobilenet_v1.build, IMAGE, {"width_multiplier": 0.0}, ConfigError, "width_multiplier = 0.0"),
        (mobilenet_v1.build, IMAGE, {"width_multiplier": float("nan")}, ConfigError, "width_multiplier = nan"),
        (mobilenet_v1.build, IMAGE, {"activation": "reluu6"}, ConfigError, "did you mean 'relu6'"),
        (mobilenet_v1.build, IMAGE, {"dropout": -0.1}, ConfigError, "dropout = -0.1"),
        (mlp.build, (), {}, DataError, "shape"),
        (mlp.build, (4,), {"hidden": (16, 0)}, ConfigError, "hidden = 0"),
        (mlp.build, (4,), {"dropout": 1.0}, ConfigError, "dropout = 1.0"),
    ],
)
def test_says_what_is_allowed(
    build: Callable[..., nn.Module],
    shape: tuple[int, ...],
    options: dict[str, Any],
    error: type[EdgekdError],
    words: str,
) -> None:
    with pytest.raises(error) as caught:
        build(classes=10, input_shape=shape, **options)
    assert type(caught.value) is error
    assert re.search(words, str(caught.value)), caught.value
    assert str(caught.value).startswith(f"network {build.__module__.rpartition('.')[2]}: ")


@pytest.mark.parametrize("module", [resnet, mlperf_resnet8, ds_cnn, mobilenet_v1, mlp], ids=lambda each: each.__name__)
def test_no_classes_is_an_error(module: Any) -> None:
    with pytest.raises(ConfigError, match="classes = 0"):
        module.build(classes=0, input_shape=IMAGE)
