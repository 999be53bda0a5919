"""TFLite compiled for an Arm Ethos-U accelerator by Vela, with its estimates and the configuration they hold for."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from edgekd import store
from edgekd.errors import ExportError
from edgekd.packagers._checks import check_format
from edgekd.records import Cargo, NpuSummary, decode_precision
from edgekd.registry import require_all

FORMATS = ("tflite",)
PRECISIONS = ("static_wi8_ai8", "static_wi8_ai16")
SUITS = "accelerator"
NEEDS = ("ethosu",)

_TIMEOUT_S = 600.0
_KIB = 1024


def pack(
    *,
    cargo: Cargo,
    folder: Path,
    accelerator: str = "ethos-u55-128",
    system_config: str | None = None,
    memory_mode: str | None = None,
    config: Path | None = None,
    optimise: Literal["performance", "size"] = "performance",
) -> tuple[Path, ...]:
    """Write `{name}_vela.tflite`, and `{name}_vela.json` with Vela's estimates and its whole configuration.

    One flag changes the estimates threefold, so the file and its figures are told by configuration; the fast one that
    Vela takes where none is given is named, too.

    Args:
        cargo: Of a TFLite file with integer activations.
        folder: Made when missing.
        accelerator: As Vela calls it: `ethos-u55-32` to `ethos-u85-2048`.
        system_config: A section of `config`, or one of Vela's own; `None` takes Vela's default.
        memory_mode: The same.
        config: Vela's `.ini` of the chip.
        optimise: For speed, or for the smallest memory.

    Returns:
        The compiled file, and the summary.

    Raises:
        MissingExtraError: Vela is not installed.
        ExportError: A float file; Vela refused it; or nothing of it runs on the accelerator.
    """
    check_format(cargo, "vela", FORMATS)
    if not decode_precision(cargo.model.precision).activations.startswith("int"):
        raise ExportError(
            f"an accelerator runs no {cargo.model.precision}",
            where=cargo.model.name,
            allowed=", ".join(PRECISIONS),
        )
    require_all(NEEDS)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as temporary:
        source, out = Path(temporary) / f"{cargo.stem}.tflite", Path(temporary) / "out"
        shutil.copyfile(cargo.model.path, source)
        command = ["--accelerator-config", accelerator, "--optimise", optimise.capitalize(), "--output-dir", str(out)]
        for flag, value in (("--system-config", system_config), ("--memory-mode", memory_mode), ("--config", config)):
            command += [flag, str(value)] if value is not None else []
        log = _run([str(source), *command], cargo.model.name)
        summary = _summary(out, log, optimise)
        if summary.npu_operators == 0:
            raise ExportError(
                "nothing of it runs on the accelerator",
                where=cargo.model.name,
                next_step="see what `vela` says of each operator",
            )
        paths = (folder / f"{cargo.stem}_vela.tflite", folder / f"{cargo.stem}_vela.json")
        store.write_bytes(paths[0], (out / paths[0].name).read_bytes())
        store.write_json(paths[1], summary)
    return paths


def _run(arguments: list[str], name: str) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"Vela took longer than {_TIMEOUT_S:g} s", where=name) from None
    if done.returncode:
        # Above the last line are its usage, or a traceback.
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ExportError(f"Vela refused it: {''.join(last)}", where=name, next_step="change the options or the file")
    return done.stdout


def _summary(folder: Path, log: str, optimise: str) -> NpuSummary:
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
