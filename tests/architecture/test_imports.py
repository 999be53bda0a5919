"""What edgekd must not load: a Raspberry Pi and a CI runner have no torch, and `--help` must be fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAMEWORKS = "torch tensorflow litert_torch jax transformers sklearn"
HEAVY = f"{FRAMEWORKS} scipy.stats onnx onnxruntime onnxscript ai_edge_litert ai_edge_quantizer tflite_micro vl_convert"


def loaded(code: str, modules: str) -> str:
    """Those of `modules` that a fresh Python has loaded after `code`."""
    report = f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    report += f"print('loaded:', *sorted(set('{modules}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("loaded:")[2].strip()


def test_a_module_that_is_loaded_is_seen() -> None:
    assert loaded("import scipy.stats", HEAVY) == "scipy.stats"


@pytest.mark.parametrize(
    "code",
    [
        "import edgekd",
        "import sys, edgekd.cli; sys.argv = ['edgekd', '--help']; edgekd.cli.main()",
        "import sys, edgekd.cli; sys.argv = ['edgekd', 'gate', '--help']; edgekd.cli.main()",
        "import edgekd.config",
        "import edgekd.stages.gate",
        "import edgekd.stages.report",
        "import edgekd.stages.benchmark",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert loaded(code, HEAVY) == ""


def test_reading_every_plug_in_of_every_kind_loads_no_framework() -> None:
    code = "from edgekd import registry as r; [r.describe(kind, name) for kind in r.ENTRY for name in r.names(kind)]"
    assert loaded(code, FRAMEWORKS) == ""


@pytest.mark.parametrize("kind", ["announcers", "formats", "runtimes", "transports"])
def test_what_measures_and_tells_is_imported_without_a_framework(kind: str) -> None:
    code = f"from edgekd import registry as r; [r.load('{kind}', name) for name in r.names('{kind}')]"
    assert loaded(code, FRAMEWORKS) == ""


def test_import_contracts_hold() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_import_contracts_see_every_folder() -> None:
    # A folder without __init__.py is no package: import-linter would pass over it in silence.
    folders = {file.parent for file in (ROOT / "edgekd").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
