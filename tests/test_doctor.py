"""What is installed, as the packages themselves say."""

import importlib.metadata
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import doctor, registry
from edgekd.config import load_target
from edgekd.errors import ConfigError
from edgekd.progress import Silent
from edgekd.records import Target

PYPROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text()


def test_versions_are_those_of_the_packages() -> None:
    findings = {finding.name: finding for finding in doctor.examine()}
    for packages in registry.EXTRAS.values():
        for distribution, _ in packages:
            finding = findings[distribution]
            if finding.right:
                assert finding.detail == importlib.metadata.version(distribution)
                assert finding.next_step == ""
            else:
                assert finding.detail == "not installed"
                assert finding.next_step.startswith("pip install ")


def test_a_missing_package_names_the_command_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"": (("numpy", "no_such_module"),), "train": (("torch", "no_such_module_either"),)}
    monkeypatch.setattr(registry, "EXTRAS", nowhere)
    steps = {finding.name: finding.next_step for finding in doctor.examine() if not finding.right}
    assert steps == {
        "numpy": "pip install edgekd",
        "torch": "pip install 'edgekd[train]'",
        "arm64-emulated": "edgekd targets setup arm64-emulated",  # the cache is a test's own
    }


def test_extras_are_those_of_the_package() -> None:
    for extra, packages in registry.EXTRAS.items():
        block = re.search(
            rf"^{extra or 'dependencies'} = \[(.*?)\]\n(?=[a-z\[\n])", PYPROJECT, re.MULTILINE | re.DOTALL
        )
        assert block, extra
        for distribution, _ in packages:
            assert f'"{distribution}' in block[1], (extra, distribution)


@pytest.mark.parametrize("name", ["host", "cortex-m4"])
def test_shipped_targets_have_all_they_need_here(name: str) -> None:
    target = load_target(name)
    findings = doctor.check_target(target)
    assert [finding.name for finding in findings][-len(target.runtimes) :] == [
        f"runtime {each}" for each in target.runtimes
    ]
    for finding in findings:
        assert finding.right or finding.next_step


def test_a_runtime_is_looked_for_where_the_target_is(arm64: Target) -> None:
    findings = {
        finding.name: finding
        for finding in doctor.check_target(replace(arm64, runtimes=(*arm64.runtimes, "tflite_micro")))
    }
    assert findings["runtime litert"].right
    missing = findings["runtime tflite_micro"]
    assert (missing.right, missing.next_step) == (False, "edgekd targets setup arm64-emulated")


def test_this_machine_has_nothing_to_set_up() -> None:
    with pytest.raises(ConfigError, match="host: its transport 'local' has nothing to set up"):
        doctor.set_up(load_target("host"), source=None, keep=None, progress=Silent())


def test_an_unknown_runtime_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown runtime 'onnxrun'"):
        doctor.check_target(Target(name="mine", description="", runtimes=("onnxrun",)))


def test_every_extra_that_errors_name_exists() -> None:
    for extra in set(registry.EXTRA_OF.values()):
        assert re.search(rf"^{extra} = \[", PYPROJECT, re.MULTILINE), extra


def test_a_broken_target_of_the_user_s_own_is_one_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "edgekd" / "targets" / "desk.toml"
    file.parent.mkdir(parents=True)
    file.write_text('like = "host"\nthreads = 0\n')
    (found,) = [finding for finding in doctor.examine() if finding.name == "target desk"]
    assert not found.right
    assert "desk.toml: threads: 0" in found.detail
    assert found.next_step == f"change {file}"
