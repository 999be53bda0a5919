"""edgekd: distil a small student, export it, measure it, gate its release.

Everything public is loaded on first use: `import edgekd` imports neither torch nor tensorflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd import losses
    from edgekd.api import benchmark, compare, distill, export
    from edgekd.datasets import Dataset, Split, open_dataset
    from edgekd.errors import EdgekdError
    from edgekd.records import (
        BenchmarkSpec,
        Budget,
        DataSpec,
        DistillSpec,
        InitSpec,
        MixedPrecisionSpec,
        QuantizationTraining,
        Release,
        Schedule,
    )
    from edgekd.stages.gate import gate

__all__ = [
    "BenchmarkSpec",
    "Budget",
    "DataSpec",
    "Dataset",
    "DistillSpec",
    "EdgekdError",
    "InitSpec",
    "MixedPrecisionSpec",
    "QuantizationTraining",
    "Release",
    "Schedule",
    "Split",
    "benchmark",
    "compare",
    "distill",
    "export",
    "gate",
    "losses",
    "open_dataset",
]

_HOME = {
    "BenchmarkSpec": "records",
    "Budget": "records",
    "DataSpec": "records",
    "Dataset": "datasets",
    "DistillSpec": "records",
    "EdgekdError": "errors",
    "InitSpec": "records",
    "MixedPrecisionSpec": "records",
    "QuantizationTraining": "records",
    "Release": "records",
    "Schedule": "records",
    "Split": "datasets",
    "benchmark": "api",
    "compare": "api",
    "distill": "api",
    "export": "api",
    "gate": "stages.gate",
    "open_dataset": "datasets",
}


def __getattr__(name: str) -> Any:
    if name == "losses":
        return importlib.import_module("edgekd.losses")
    if name not in _HOME:
        raise AttributeError(f"module 'edgekd' has no attribute '{name}'")
    return getattr(importlib.import_module(f"edgekd.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
