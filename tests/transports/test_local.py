from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgekd.errors import TargetError
from edgekd.records import Target
from edgekd.transports.local import connect

HOST = Target(name="host", description="", runtimes=())


def test_timeout_ends_children_of_the_program_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)']);"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); time.sleep(120)"
    )
    with connect(HOST) as transport, pytest.raises(TargetError, match=r"host: .*longer than"):
        transport.run([transport.python, "-c", program], 3)
    pid = int(pid_file.read_text())
    for _ in range(100):
        if not _runs(pid):
            return
        time.sleep(0.1)
    pytest.fail("the child still runs")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_signal_is_a_negative_code() -> None:
    with connect(HOST) as transport:
        assert transport.run([transport.python, "-c", "import os; os.abort()"], 60).code == -6


def test_it_runs_in_the_scratch_folder(tmp_path: Path) -> None:
    with connect(HOST) as transport:
        (tmp_path / "f").touch()
        remote = transport.push(tmp_path / "f")
        folder = transport.run([transport.python, "-c", "import os; print(os.getcwd())"], 60).stdout.strip()
        assert remote.startswith(folder)
        assert folder != os.getcwd()  # noqa: PTH109 - compared with what the program prints
    assert not Path(folder).exists()
