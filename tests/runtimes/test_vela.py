"""What Vela says becomes events; what it does not say of a file is not made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import ConfigError
from edgekd.records import Target
from edgekd.runtimes import vela
from edgekd.transports.local import connect
from edgekd.vela import compile_file

NPU = Target(name="npu", description="", runtimes=("vela",), accelerator="ethos-u55-128")


def run(model: Path, target: Target = NPU, mode: str = "latency") -> list[dict[str, Any]]:
    job = vela.prepare(model=model, target=target, threads=1, mode=mode, runs=1, time_limit_s=1)
    with connect(target) as transport:
        return vela.run(transport, job=job, model=model)


@pytest.fixture
def installed() -> None:
    pytest.importorskip("ethosu", reason="install ethos-u-vela, which the extra npu brings")


@pytest.mark.usefixtures("installed")
def test_a_file_in_part_on_the_accelerator_gives_its_share_alone(shared_data: Path) -> None:
    events = run(shared_data / "models/ai_edge_quantizer/partly_quantized_mnist.tflite")
    assert [each for each in events if each["event"] == "estimate"] == [
        {"event": "estimate", "metric": "npu_share", "value": 1 / 8}
    ]
    (warning,) = [each["message"] for each in events if each["event"] == "warning"]
    assert warning.startswith("7 of its 8 operators do not run on ethos-u55-128: ")
    assert events[-1] == {"event": "done"}


@pytest.mark.usefixtures("installed")
def test_dram_counts_where_the_configuration_has_some(shared_data: Path) -> None:
    large = Target(name="npu", description="", runtimes=("vela",), accelerator="ethos-u85-256")
    events = run(shared_data / "models/tflm/hello_world_int8.tflite", large)
    found = {each["metric"]: each["value"] for each in events if each["event"] == "estimate"}
    assert found.keys() == {"npu_share", "latency", "sram_size", "dram_size"}
    assert all(value > 0 for value in found.values())
    (told,) = [each["delegate"] for each in events if each["event"] == "load"]
    assert told == "ethos-u85-256, Ethos_U85_SYS_DRAM_Mid, Dedicated_Sram_384KB"


@pytest.mark.usefixtures("installed")
def test_a_file_that_vela_made_is_not_estimated_again(shared_data: Path, tmp_path: Path) -> None:
    compiled, _ = compile_file(shared_data / "models/tflm/hello_world_int8.tflite", accelerator="ethos-u55-128")
    (tmp_path / "model.tflite").write_bytes(compiled)
    error = run(tmp_path / "model.tflite")[-1]
    assert error["message"] == "Vela has compiled it already; give the file that it was made of"


@pytest.mark.usefixtures("installed")
def test_a_broken_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"")
    error = run(tmp_path / "broken.tflite")[-1]
    assert (error["event"], error["kind"]) == ("error", "model_rejected")


def test_without_vela_there_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)  # noqa: ARG005
    assert run(Path(), mode="environment") == [
        {"event": "error", "kind": "runtime_missing", "message": "No module named 'ethosu'"}
    ]


def test_a_target_without_an_accelerator_is_an_error() -> None:
    with pytest.raises(ConfigError, match="mcu: the runtime 'vela' needs an accelerator"):
        run(Path(), Target(name="mcu", description="", runtimes=("vela",)))
