"""One command measures on every kind of target, at the same time, and makes one report of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.records import Target
from tests.runtimes.test_benchmark_model import CLUSTERS, put
from tests.transports import adbd as adbd_
from tests.transports import phone_says
from tests.transports import sshd as sshd_

Command = Callable[..., subprocess.CompletedProcess[str]]
RESNET8 = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"


@pytest.fixture
def places(
    tmp_path: Path, ssh: Target, sshd: sshd_.Server, phone: Target, adbd: adbd_.Phone, arm64: Target
) -> dict[str, str]:
    """Targets beside the user: a machine behind ssh, a phone behind adb, arm64; and what finds them."""
    phone_says.lay_out(adbd.folder, CLUSTERS)
    program = put(adbd, "classic")
    (tmp_path / "pi.toml").write_text(f'like = "raspberry-pi-5"\naddress = "{ssh.name}"\n')
    (tmp_path / "pixel.toml").write_text(f'like = "pixel-8"\naddress = "{phone.address}"\nprogram = "{program}"\n')
    (tmp_path / "arm64.toml").write_text(f'like = "arm64-emulated"\naddress = "{arm64.address}"\n')
    return {
        "PATH": f"{sshd.path}{os.pathsep}{os.environ['PATH']}",
        "ANDROID_ADB_SERVER_PORT": adbd.server_port,
    }


@pytest.mark.slow
def test_all_kinds_of_target_in_one_command(
    edgekd: Command, places: dict[str, str], shared_data: Path, tmp_path: Path
) -> None:
    targets = "host,pi.toml,pixel.toml,arm64.toml,cortex-m4,ethos-u55-128"
    quick = ("--runs", 10, "--time-limit", 2)
    done = edgekd(
        "bench", shared_data / RESNET8, "--target", targets, *quick, "--out", "run", "--json", cwd=tmp_path, env=places
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    bases = {each["target"]: each["basis"] for each in found if each["metric"] == "latency"}
    assert bases == {
        "host": "measured",
        "pi": "measured",
        "pixel": "measured",
        "arm64": "emulated",
        "cortex-m4": "emulated",
        "ethos-u55-128": "estimated",
    }
    assert len({each["model_sha256"] for each in found}) == 1
    report = (tmp_path / "run" / "report.html").read_text()
    assert all(name in report for name in bases)


@pytest.mark.slow
def test_ctrl_c_ends_all_machines_and_leaves_nothing(
    places: dict[str, str], adbd: adbd_.Phone, shared_data: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = ["bench", str(shared_data / RESNET8), "--target", "host,pi.toml,pixel.toml", "--time-limit", "200"]
    with subprocess.Popen(
        [sys.executable, "-m", "edgekd", *command, "--runs", "1000000000", "--sustained", "10m"],
        cwd=tmp_path,
        env={**os.environ, **places, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(15)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not list(scratch.glob("edgekd-*"))
    assert not list(adbd.folder.glob("edgekd-*"))
    mine = subprocess.run(["pgrep", "-f", f"{scratch}/edgekd-.*runner.py"], capture_output=True, text=True, check=False)
    assert mine.stdout == ""
