"""What the contract does not ask: that it is arm64, that nothing of this machine leaks in, what is said without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import TargetError
from edgekd.records import Target
from edgekd.transports import emulated_arm64
from edgekd.transports._arm64_root import read_root, root_folder

NOWHERE = Target(name="far", description="", transport="emulated_arm64", runtimes=())


def test_without_a_root_file_system_the_error_says_how_to_get_one(own_cache: Path) -> None:
    with pytest.raises(TargetError) as raised:
        emulated_arm64.connect(NOWHERE)
    expected = f"far: no arm64 root file system in {own_cache / 'arm64-root'}; make it: edgekd targets setup far"
    assert str(raised.value) == expected
    assert raised.value.exit_code == 3
    finding = emulated_arm64.state(NOWHERE)
    assert (finding.right, finding.next_step) == (False, "edgekd targets setup far")


def test_a_damaged_one_is_no_crash(own_cache: Path) -> None:
    (own_cache / "arm64-root").mkdir()
    (own_cache / "arm64-root" / "root.json").write_text('{"python": 3}')
    with pytest.raises(TargetError, match=r"far: .*arm64-root: not what edgekd wrote: .*edgekd targets setup far"):
        emulated_arm64.connect(NOWHERE)


def test_without_qemu_the_error_says_how_to_get_it(
    arm64: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = read_root(arm64)
    (tmp_path / "root.json").write_text(
        json.dumps({"processor": facts.processor, "python": facts.python, "wheels": {}, "packages": {}})
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        TargetError, match=r"no qemu-aarch64-static on the path or in .*; install qemu-user-static, or: "
    ):
        emulated_arm64.connect(replace(arm64, address=str(tmp_path)))


def test_programs_see_an_arm64_and_nothing_of_this_python(arm64: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/this/machine")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/this/machine")
    program = (
        "import json, os, platform, sys, numpy;"
        "leaked = 'LD_LIBRARY_PATH' in os.environ;"
        "print(json.dumps([platform.machine(), sys.path, numpy.__file__, os.cpu_count(), leaked]))"
    )
    with emulated_arm64.connect(arm64) as transport:
        machine, path, numpy_at, processors, leaked = json.loads(
            transport.run([transport.python, "-c", program], 120).stdout
        )
    root = str(root_folder(arm64).resolve())
    assert machine == "aarch64"
    assert all(place in ("", *[each for each in path if each.startswith(root)]) for place in path)
    assert numpy_at.startswith(root)
    assert (processors, leaked) == (1, False)


@pytest.mark.slow
def test_a_timeout_leaves_no_emulator_behind(arm64: Target, tmp_path: Path) -> None:
    program = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    with emulated_arm64.connect(arm64) as transport, pytest.raises(TargetError, match=r"python3.*longer than 20 s"):
        transport.run([transport.python, "-c", program], 20)
    pid = int((tmp_path / "pid").read_text())
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_crash_there_is_a_signal_here(arm64: Target) -> None:
    with emulated_arm64.connect(arm64) as transport:
        assert transport.run([transport.python, "-c", "import os; os.abort()"], 120).code == -6


def test_other_versions_than_this_environment_s_are_found(arm64: Target, tmp_path: Path) -> None:
    root = root_folder(arm64)
    for entry in root.iterdir():
        if entry.name != "root.json":
            (tmp_path / entry.name).symlink_to(entry)
    facts = json.loads((root / "root.json").read_text())
    facts["wheels"]["numpy"] = "0.1"
    (tmp_path / "root.json").write_text(json.dumps(facts))
    with emulated_arm64.connect(replace(arm64, address=str(tmp_path))) as transport:
        packages = next(finding for finding in transport.check() if finding.name == "packages")
    assert not packages.right
    assert "numpy 0.1" in packages.detail
    assert packages.next_step == "edgekd targets setup arm64-emulated"
