"""Vela against the figures that MLPerf Tiny's files are known to have, and against what it does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import ConfigError, ModelError
from edgekd.inspection import inspect
from edgekd.vela import compile_file

RESNET8 = "image_classification/pretrainedResnet_quant.tflite"


@pytest.fixture(scope="module")
def mlperf(shared_data: Path) -> Path:
    pytest.importorskip("ethosu", reason="install ethos-u-vela, which the extra npu brings")
    return shared_data / "models" / "mlperf_tiny"


@pytest.mark.parametrize(
    ("name", "latency_ms", "sram_kib"), [(RESNET8, 0.403, 50.6), ("anomaly_detection/ad01_int8.tflite", 0.402, 0.75)]
)
def test_known_figures_of_files_of_mlperf_tiny(mlperf: Path, name: str, latency_ms: float, sram_kib: float) -> None:
    compiled, summary = compile_file(mlperf / name, accelerator="ethos-u55-128")
    assert summary.inference_s * 1e3 == pytest.approx(latency_ms, abs=0.0005)
    assert summary.sram_bytes / 1024 == pytest.approx(sram_kib, abs=0.05)
    configuration = (summary.accelerator, summary.system_config, summary.memory_mode)
    assert configuration == ("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
    assert (summary.cpu_operators, summary.basis) == (0, "estimated")
    assert compiled[4:8] == b"TFL3"


def test_name_of_the_file_does_not_matter(mlperf: Path, tmp_path: Path) -> None:
    odd = tmp_path / "--odd name.bin"
    odd.write_bytes((mlperf / RESNET8).read_bytes())
    compiled, _ = compile_file(odd, accelerator="ethos-u65-256", memory_mode="Shared_Sram")
    (tmp_path / "compiled.tflite").write_bytes(compiled)
    assert inspect(tmp_path / "compiled.tflite").operators == (("ethos-u", 1),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accelerator": "ethos-u55-999"}, "invalid choice: 'ethos-u55-999'"),
        ({"system_config": "Nowhere"}, "Nowhere not found"),
        ({"memory_mode": "Nowhere"}, "Nowhere not found"),
        ({"config": Path("none.ini")}, "File not found"),
    ],
)
def test_unknown_configuration_is_an_error_in_vela_s_words(mlperf: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        compile_file(mlperf / RESNET8, **{"accelerator": "ethos-u55-128", **options})  # type: ignore[arg-type]  # of each kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", b"cut"])
def test_broken_file_is_one_line(mlperf: Path, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes((mlperf / RESNET8).read_bytes()[:3000] if content == b"cut" else content)
    with pytest.raises(ModelError, match=r"^Vela (refused it|crashed)") as caught:
        compile_file(broken, accelerator="ethos-u55-128")
    assert "\n" not in str(caught.value)
