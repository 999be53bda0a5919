"""ONNX Runtime's own format for mobile builds, with the operators that such a build has to have."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import onnx

from edgekd import store
from edgekd.errors import ExportError
from edgekd.packagers._checks import check_format
from edgekd.records import Cargo

FORMATS = ("onnx",)
SUITS, KEEPS = "all", "values"

_TIMEOUT_S = 600.0
# Its package imports torch where there is one, which takes seconds and is for other tools.
_TOOL = """
import runpy, sys
sys.modules["torch"] = None
sys.argv[0] = "convert_onnx_models_to_ort"
runpy.run_module("onnxruntime.tools.convert_onnx_models_to_ort", run_name="__main__")
"""


def pack(*, cargo: Cargo, folder: Path, platform: Literal["arm", "amd64"] = "arm") -> tuple[Path, ...]:
    """Write `{name}.ort`, optimized ahead of time, and `{name}.required_operators.config` for a reduced build.

    Both are made by onnxruntime's `convert_onnx_models_to_ort`; the config goes to its build script as
    `--include_ops_by_config`. The same bytes every time where `setarch -R` works (Linux, not in every container).

    Args:
        cargo: Of an ONNX file.
        folder: Made when missing.
        platform: Of the processor that it will run on; `amd64` lets layouts in that only x86 kernels have.

    Returns:
        The model and the configuration.

    Raises:
        ExportError: Weights of 4 bits; or onnxruntime could not convert it: the message has its last lines.
    """
    check_format(cargo, "ort", FORMATS)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as temporary:
        # The converter writes beside the file, too.
        source, out = Path(temporary) / f"{cargo.stem}.onnx", Path(temporary) / "out"
        shutil.copyfile(cargo.model.path, source)
        _convert(source, out, platform, cargo.model.name)
        _refuse_four_bits(cargo)
        paths = (folder / f"{cargo.stem}.ort", folder / f"{cargo.stem}.required_operators.config")
        store.write_bytes(paths[0], (out / paths[0].name).read_bytes())
        store.write_bytes(paths[1], _config(out).encode())
    return paths


def _refuse_four_bits(cargo: Cargo) -> None:
    """Refuse what onnxruntime writes and then can't read."""
    graph = onnx.load(str(cargo.model.path), load_external_data=False).graph
    if any(each.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4) for each in graph.initializer):
        raise ExportError(
            "weights of 4 bits, which the ORT format does not hold",
            where=cargo.model.name,
            next_step="ship the .onnx file",
        )


def _convert(source: Path, out: Path, platform: str, name: str) -> None:
    command = [*_fixed_addresses(), sys.executable, "-c", _TOOL, str(source), "--output_dir", str(out)]
    command += ["--optimization_style", "Fixed"]
    try:
        done = subprocess.run(
            [*command, "--target_platform", platform],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"onnxruntime's converter took longer than {_TIMEOUT_S:g} s", where=name) from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ExportError(
            f"onnxruntime's converter refused it: {''.join(last)}",
            where=name,
            next_step="check that onnxruntime runs the file",
        )


def _fixed_addresses() -> list[str]:
    """Where the system can do it, a prefix that gives a process the same addresses every time.

    The file's table of kernels is in the order of a hash table that is seeded by an address.
    """
    setarch = shutil.which("setarch")
    if setarch is None or subprocess.run([setarch, "-R", "true"], capture_output=True, check=False).returncode:
        return []
    return [setarch, "-R"]


def _config(folder: Path) -> str:
    """The configuration without its comments, which name the folder of the conversion."""
    (file,) = folder.glob("*.config")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not re.match(r"\s*#", line)]
    return "\n".join(line for line in lines if line.strip()) + "\n"
