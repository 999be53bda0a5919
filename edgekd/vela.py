"""Vela, Arm's compiler for Ethos-U accelerators: runs it and reads what it estimates."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from edgekd import store
from edgekd.errors import ConfigError, ModelError
from edgekd.records import NpuSummary

_TIMEOUT_S = 600.0
_KIB = 1024
# Vela's own errors of what it was told, not of the file.
_CONFIGURATION = re.compile(r"(?:CliOptionError|ConfigOptionError|InputFileError): ['\"]?(?:Error: )?(.+?)['\"]?$")


def compile_file(
    path: Path,
    *,
    accelerator: str,
    system_config: str | None = None,
    memory_mode: str | None = None,
    config: Path | None = None,
    optimise: Literal["performance", "size"] = "performance",
) -> tuple[bytes, NpuSummary]:
    """Compile a TFLite file and read Vela's estimates, with the whole configuration that they hold for.

    Args:
        path: A TFLite file, of any name.
        accelerator: As Vela calls it: `ethos-u55-32` to `ethos-u85-2048`.
        system_config: A section of `config`, or one of Vela's own; `None` takes Vela's default, the fastest.
        memory_mode: The same.
        config: Vela's `.ini` of the chip.
        optimise: For speed, or for the smallest memory.

    Returns:
        The compiled file, in which what Vela does not take is as it was, and the estimates.

    Raises:
        ConfigError: Vela has no such accelerator, system configuration, memory mode or `.ini`.
        ModelError: Vela refused the file, crashed, or took too long.
    """
    options = ["--accelerator-config", accelerator, "--optimise", optimise.capitalize()]
    for flag, value in (("--system-config", system_config), ("--memory-mode", memory_mode), ("--config", config)):
        options += [flag, str(value)] if value is not None else []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as temporary:
        source, out = Path(temporary) / "model.tflite", Path(temporary) / "out"
        shutil.copyfile(path, source)
        log = _run([str(source), *options, "--output-dir", str(out)])
        return (out / "model_vela.tflite").read_bytes(), _read_summary(out, log, optimise)


def _run(arguments: list[str]) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"Vela took longer than {_TIMEOUT_S:g} s") from None
    if done.returncode == 0:
        return done.stdout
    # Above the last line are warnings, its usage, or a traceback.
    last = next(iter((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]), "it said nothing")
    if done.returncode < 0:
        raise ModelError(f"Vela crashed ({signal.Signals(-done.returncode).name}): {last}")
    if told := _CONFIGURATION.search(last):
        raise ConfigError(f"Vela: {told[1]}")
    if last.startswith("vela: error: "):
        raise ConfigError(f"Vela: {last.removeprefix('vela: error: ')}")
    raise ModelError(f"Vela refused it: {last}")


def _read_summary(folder: Path, log: str, optimise: str) -> NpuSummary:
    (file,) = folder.glob("*_summary_*.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        (row,) = csv.DictReader(lines)
    # The table has times and memories, only the printed text how much is left to the processor.
    counts = {
        kind: int(match[1]) if (match := re.search(rf"^{kind} operators = (\d+)", log, re.MULTILINE)) else 0
        for kind in ("CPU", "NPU")
    }
    return NpuSummary(
        tool=f"ethos-u-vela {store.tool_versions('ethos-u-vela')['ethos-u-vela']}",
        accelerator=row["accelerator_configuration"].lower().replace("_", "-"),
        system_config=row["system_config"],
        memory_mode=row["memory_mode"],
        optimise=optimise,
        inference_s=float(row["inference_time"]),
        sram_bytes=float(row["sram_memory_used"]) * _KIB,
        on_chip_flash_bytes=float(row["on_chip_flash_memory_used"]) * _KIB,
        off_chip_flash_bytes=float(row["off_chip_flash_memory_used"]) * _KIB,
        dram_bytes=float(row["dram_memory_used"]) * _KIB,
        npu_operators=counts["NPU"],
        cpu_operators=counts["CPU"],
    )
