"""Calibrators: which range of an activation is worth its integers. One plug-in per file."""

from __future__ import annotations

import numpy as np

from edgekd import registry
from edgekd.records import QuantSpec
from edgekd.stats import Stream


def try_calibrator(spec: QuantSpec) -> None:
    """Let a calibrator refuse its options before anything is trained or converted.

    Raises:
        ConfigError: There is no such calibrator, or an option is out of range.

    >>> try_calibrator(QuantSpec(method="percentile", options={"percentile": 99.9}))
    """
    stream = Stream()
    stream.add(np.array([-1.0, 1.0], np.float32))
    registry.function("calibrators", spec.method)(stream=stream, bits=8, **spec.options)
