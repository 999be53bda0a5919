"""Releases against what TensorFlow's converter wrote into files."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.inspection import inspect
from edgekd.lints import _litert
from edgekd.lints._graph import parse
from edgekd.lints._tflite_releases import release_of

# Written by the converter and not rewritten by a quantizer since.
AS_CONVERTED = (
    "ai_edge_quantizer/conv_fc_mnist", "ai_edge_quantizer/weight_sharing_fcs", "dtln/model_1", "dtln/model_quant_2",
    "mlperf_tiny/anomaly_detection/ad01_fp32", "mlperf_tiny/image_classification/pretrainedResnet_large_int8",
    "tflm/hello_world_int8",
)  # fmt: skip


def needed(path: Path) -> tuple[str, str]:
    anatomy = inspect(path)
    releases = [release_of(node.operator, node.version) for node in anatomy.nodes]
    newest = max((each for each in releases if each is not None), key=parse)
    return newest, anatomy.metadata.get("min_runtime_version", "")


@pytest.mark.parametrize("name", AS_CONVERTED)
def test_the_newest_operator_needs_what_the_converter_wrote(shared_data: Path, name: str) -> None:
    newest, written = needed(shared_data / "models" / f"{name}.tflite")
    assert newest == written


def test_quantizers_leave_the_metadata_behind(shared_data: Path) -> None:
    newest, written = needed(shared_data / "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite")
    assert (newest, written) == ("1.14.0", "1.5.0")


def test_releases_rise_with_versions() -> None:
    for name, newest in _litert.VERSIONS.items():
        known = [release_of(name, version) for version in range(1, newest + 1)]
        rising = [parse(each) for each in known if each is not None]
        assert rising == sorted(rising), name
