"""What runs in a child returns, raises or crashes there; the parent gets a value or one clear error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from edgekd import child
from edgekd.errors import EdgekdError, ModelError

# The parent that is killed: its child writes its own process number, then sleeps.
PARENT = """
import os, sys, time
from edgekd import child
def sleep(path):
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.replace(path + ".new", path)
    time.sleep(600)
child.call("a sleep", sleep, sys.argv[1])
"""
SCRIPT = """
from edgekd import child
class Network:
    def __init__(self, layers):
        self.layers = layers
def deeper(network):
    return Network(network.layers + 1)
print(child.call("a script's own function and class", deeper, Network(2)).layers)
"""


def is_alive(process: int) -> bool:
    """Whether it runs; a zombie that nobody waits for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(done: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.02)
    return False


def test_returns_what_the_function_returns() -> None:
    assert child.call("a division", divmod, 17, 5) == (3, 2)
    assert child.call("a sort", sorted, ["b", "A"], key=str.lower) == ["A", "b"]


def test_runs_in_a_process_of_its_own() -> None:
    assert child.call("asking", os.getpid) != os.getpid()


def test_functions_that_no_module_holds_are_called_too() -> None:
    offset = 40
    assert child.call("a lambda", lambda x: x + offset, 2) == 42


def test_functions_and_classes_of_the_user_s_script_go_there_and_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_none_is_a_value_not_a_crash() -> None:
    assert child.call("nothing", lambda: None) is None


def test_errors_that_a_user_can_fix_keep_their_type_and_parts() -> None:
    def read() -> NoReturn:
        raise ModelError("not a model", where="m.tflite", allowed="TFLite", next_step="export it again")

    with pytest.raises(ModelError) as caught:
        child.call("the parser", read)
    error = caught.value
    assert (error.what, error.where, error.allowed, error.next_step) == (
        "not a model",
        "m.tflite",
        "TFLite",
        "export it again",
    )


def test_other_errors_name_what_failed_and_end_in_the_traceback_s_last_line() -> None:
    with pytest.raises(child.ChildCrashError, match="the parser failed") as caught:
        child.call("the parser", int, "seven")
    assert str(caught.value).endswith("invalid literal for int() with base 10: 'seven'")


def test_abort_is_one_error_with_the_signal_s_name() -> None:
    with pytest.raises(child.ChildCrashError, match=r"the converter died \(SIGABRT\)"):
        child.call("the converter", os.abort)


def test_reading_address_zero_is_one_error_with_the_signal_s_name() -> None:
    def crash() -> None:
        import ctypes

        ctypes.string_at(0)

    with pytest.raises(child.ChildCrashError, match=r"died \(SIGSEGV\)"):
        child.call("the converter", crash)


@pytest.mark.parametrize("code", [0, 3])
def test_exit_without_an_answer_is_an_error_with_the_exit_code(code: int) -> None:
    with pytest.raises(child.ChildCrashError, match=rf"died \(exit code {code}\)"):
        child.call("the converter", os._exit, code)


def test_last_lines_of_output_are_in_the_error() -> None:
    def complain() -> None:
        import os
        import sys

        for line in range(100):
            print(f"line {line}", file=sys.stderr, flush=True)  # noqa: T201 - what a converter does
        os.write(1, b"native code says\n")
        os.abort()

    with pytest.raises(child.ChildCrashError) as caught:
        child.call("the converter", complain)
    text = str(caught.value)
    assert "line 99\n" in text
    assert text.endswith("native code says")
    assert "line 50" not in text


def test_output_of_the_child_stays_out_of_the_parent_s(capfd: pytest.CaptureFixture[str]) -> None:
    child.call("a greeting", print, "hello")
    assert capfd.readouterr() == ("", "")


def test_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    started = tmp_path / "pid"

    def sleep() -> None:
        import os
        import time

        started.write_text(str(os.getpid()))
        time.sleep(600)

    with pytest.raises(child.ChildCrashError, match="the converter took longer than 5 s"):
        child.call("the converter", sleep, timeout_s=5)
    assert not is_alive(int(started.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(started)]) as parent:
        assert wait_until(lambda: started.exists() or parent.poll() is not None)
        grandchild = int(started.read_text())
        assert is_alive(grandchild)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not is_alive(grandchild))


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    child.call("a sum", sum, [1, 2])
    with pytest.raises(EdgekdError):
        child.call("the converter", os.abort)
    assert not list(tmp_path.iterdir())
