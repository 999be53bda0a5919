"""Networks that no converter takes are refused with the layer, the operator and the line that stand in the way."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd import child
from edgekd.errors import ExportError
from edgekd.exporters import onnx, tflite


class Bessel(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = torch.special.bessel_j0(inputs)
        return outputs


class Deciding(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * 2 if inputs.mean() > 0.5 else inputs


class Unsized(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = torch.linalg.lstsq(inputs, inputs).solution
        return outputs


def convert(exporter: ModuleType, network: nn.Module, example: NDArray[np.float32], path: Path) -> None:
    child.call("the converter", exporter.export, network=network, example=example, path=path)


@pytest.mark.parametrize("exporter", [onnx, tflite])
def test_an_operator_that_the_converter_lacks_is_named_with_its_layer(exporter: ModuleType, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), Bessel()))
    said = r"lacks torch's '(special_)?bessel_j0', which '1\.1' uses in 'outputs: Tensor = torch\.special"
    with pytest.raises(ExportError, match=said):
        convert(exporter, network.eval(), np.zeros((1, 4), np.float32), tmp_path / "student")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("exporter", [onnx, tflite])
def test_control_flow_is_named_with_its_line(exporter: ModuleType, tmp_path: Path) -> None:
    said = r"student: .*depends on values, in line \d+ of test__refusals\.py: 'return inputs .*torch\.where"
    with pytest.raises(ExportError, match=said):
        convert(exporter, Deciding().eval(), np.zeros((1, 4), np.float32), tmp_path / "student")


@pytest.mark.slow
def test_other_failures_are_the_converters_own(tmp_path: Path) -> None:
    with pytest.raises(child.ChildCrashError, match="linalg_lstsq"):
        convert(tflite, Unsized().eval(), np.ones((1, 4, 4), np.float32), tmp_path / "student")
