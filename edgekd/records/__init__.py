"""The types that flow between the stages: frozen, keyword-only, plain data."""

from edgekd.records.names import PRECISIONS, Basis, Format, Options, Precision, Role, Status, decode_precision
from edgekd.records.results import Check, Conditions, EpochRecord, Measurement, Model, Release, Run, TensorSpec
from edgekd.records.specs import (
    AugmentationTerm,
    BenchmarkSpec,
    Budget,
    DataSpec,
    DistillSpec,
    ExportSpec,
    LossTerm,
    NetworkSpec,
    QuantSpec,
    Recipe,
    Target,
    TeacherSpec,
)

__all__ = [
    "PRECISIONS",
    "AugmentationTerm",
    "Basis",
    "BenchmarkSpec",
    "Budget",
    "Check",
    "Conditions",
    "DataSpec",
    "DistillSpec",
    "EpochRecord",
    "ExportSpec",
    "Format",
    "LossTerm",
    "Measurement",
    "Model",
    "NetworkSpec",
    "Options",
    "Precision",
    "QuantSpec",
    "Recipe",
    "Release",
    "Role",
    "Run",
    "Status",
    "Target",
    "TeacherSpec",
    "TensorSpec",
    "decode_precision",
]
