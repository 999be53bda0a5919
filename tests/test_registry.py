"""Plug-ins are found by file name, by entry point and by `module:function`, and read without importing them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd import registry
from edgekd.errors import ConfigError, MissingExtraError

SOURCE = '''"""Mean squared error of logits."""

import torch_is_not_imported_to_read_this


def loss(*, student, teacher, labels, temperature: float = 4.0, reduction: str):
    """Not the summary."""
'''


def run(code: str, folder: Path) -> str:
    """Run code in a fresh Python that finds modules in `folder` too; gives what it printed."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def install(folder: Path, entry_point: str) -> None:
    """Lay out what `pip install` leaves of a package with one entry point in `edgekd.losses`."""
    info = folder / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[edgekd.losses]\n{entry_point}\n")


@pytest.mark.parametrize("kind", registry.ENTRY)
def test_every_file_without_underscore_is_a_plug_in_and_can_be_described(kind: str) -> None:
    folder = Path(registry.__file__).parent / kind
    files = {file.stem for file in folder.iterdir() if file.suffix == ".py" and file.name[0] != "_"}
    assert files <= set(registry.names(kind))
    for name in files:
        assert registry.describe(kind, name).file == folder / f"{name}.py"
        assert registry.describe(kind, name).summary


def test_unknown_name_lists_what_there_is_and_suggests_the_closest() -> None:
    with pytest.raises(ConfigError, match="unknown loss 'cross_entropi'") as caught:
        registry.describe("losses", "cross_entropi")
    assert "kl" in (caught.value.allowed or "")
    assert caught.value.next_step == "did you mean 'cross_entropy'?"


def test_unknown_name_that_resembles_nothing_gets_no_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.load("losses", "zzzzzz")
    assert caught.value.next_step is None


def test_options_are_read_from_the_source_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "options_are_read.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    found = registry.describe("losses", "options_are_read:loss")
    assert found.summary == "Mean squared error of logits."
    assert [(each.name, each.annotation, each.default, each.required) for each in found.parameters] == [
        ("temperature", "float", "4.0", False),
        ("reduction", "str", None, True),
    ]
    assert "options_are_read" not in sys.modules


def test_reading_every_loss_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from edgekd import registry\n"
        "for name in registry.names('losses'): registry.describe('losses', name)\n"
        "print('kl' in registry.names('losses'), 'torch' in sys.modules)"
    )
    assert run(code, tmp_path) == "True False"


def test_function_of_a_module_in_the_working_folder_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "working_folder_plug_in.py").write_text("def twice(*, x):\n    return 2 * x\n")
    monkeypatch.chdir(tmp_path)
    path_before = list(sys.path)
    assert registry.function("losses", "working_folder_plug_in:twice")(x=21) == 42
    assert sys.path == path_before


def test_missing_function_is_named_with_the_closest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "missing_function_plug_in.py").write_text("def my_loss(*, x):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    for ask in (registry.describe, registry.function):
        with pytest.raises(ConfigError, match=r"my_los'.*did you mean 'my_loss'"):
            ask("losses", "missing_function_plug_in:my_los")


def test_missing_module_is_named() -> None:
    for ask in (registry.describe, registry.function):
        with pytest.raises(ConfigError, match="no Python module 'no_such_module_here'"):
            ask("losses", "no_such_module_here:f")


def test_source_that_is_not_python_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_plug_in.py").write_text("x = 1\ndef f(:\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"broken_plug_in\.py: not Python: .* in line 2"):
        registry.describe("losses", "broken_plug_in:f")


def test_entry_point_of_an_installed_package_is_a_plug_in(tmp_path: Path) -> None:
    install(tmp_path, "third = third_party_loss")
    (tmp_path / "third_party_loss.py").write_text("def loss(*, student, alpha: float = 0.5):\n    return alpha\n")
    code = (
        "from edgekd import registry\n"
        "found = registry.describe('losses', 'third')\n"
        "print('third' in registry.names('losses'), [each.name for each in found.parameters])\n"
        "print(registry.function('losses', 'third')(student=None))"
    )
    assert run(code, tmp_path) == "True ['alpha']\n0.5"


def test_entry_point_with_the_name_of_a_built_in_plug_in_is_refused(tmp_path: Path) -> None:
    install(tmp_path, "kl = third_party_loss")
    code = (
        "from edgekd import registry, errors\n"
        "try: registry.names('losses')\n"
        "except errors.ConfigError as error: print(error)"
    )
    message = run(code, tmp_path)
    assert "'kl'" in message
    assert "edgekd.losses.kl" in message
    assert "third_party_loss" in message


def test_package_of_an_extra_that_is_missing_names_the_extra(tmp_path: Path) -> None:
    # None in sys.modules is how Python itself says that a module can't be imported.
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgekd import registry, errors\n"
        "try: registry.require('torch', 'distilling')\n"
        "except errors.MissingExtraError as error: print(error)"
    )
    assert run(code, tmp_path) == "distilling needs 'torch', which is not installed; pip install 'edgekd[train]'"


def test_what_is_missing_is_named_with_the_one_command_that_adds_it() -> None:
    with pytest.raises(MissingExtraError) as caught:
        registry.require_all(["json", "a_tracker_of_nobody"])
    assert str(caught.value) == "not installed: a_tracker_of_nobody; pip install a_tracker_of_nobody"
