"""Runs a function in a process of its own, so that what crashes there does not take edgekd down.

Converters pull in heavy packages and native code that may abort; parsers meet files of random bytes.
"""

from __future__ import annotations

import ctypes
import errno
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgekd.errors import EdgekdError, write_error

R = TypeVar("R")
_TAIL_LINES = 8


class ChildCrashError(EdgekdError):
    """The child died or raised what it should not have; the message has its last lines."""


def call(
    what: str,
    function: Callable[..., R],
    *args: Any,
    timeout_s: float | None = None,
    **kwargs: Any,
) -> R:
    """Call `function` in a new Python process and return what it returns.

    Args:
        what: What the child does, for the error message: "the TFLite converter".
        function: A function of an importable module, or (through cloudpickle) of the user's script.
        *args: For the function.
        timeout_s: Kill the child after so many seconds.
        **kwargs: For the function.

    Raises:
        EdgekdError: As raised by the function.
        ChildCrashError: The child crashed, was killed or ran out of time.

    >>> call("a sum", sum, [1, 2])
    3
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        request, answer, log = (Path(folder) / name for name in ("request", "answer", "log"))
        request.write_bytes(_dumps((function, args, kwargs)))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgekd.child", str(request), str(answer), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise ChildCrashError(f"{what} took longer than {timeout_s:g} s") from None
            finally:
                process.kill()
                process.wait()
        if not answer.exists():
            raise ChildCrashError(f"{what} died ({_death(code)}){_tail(log.read_text(errors='replace'))}")
        ok, value = pickle.loads(answer.read_bytes())  # noqa: S301 - our own child wrote it
    if ok:
        return value  # type: ignore[no-any-return]  # what the function returned, through pickle
    if isinstance(value, EdgekdError):
        raise value
    raise ChildCrashError(f"{what} failed{_tail(value)}")


def _dumps(value: object) -> bytes:
    # pickle would send a function or network of the user's own script as the name `__main__.x`, which
    # means something else in the child; cloudpickle sends it whole.
    import cloudpickle

    return bytes(cloudpickle.dumps(value))


def _death(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _tail(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()][-_TAIL_LINES:]
    return "; its last lines:\n  " + "\n  ".join(lines) if lines else ""


def _main(request: Path, answer: Path) -> None:
    _die_with_parent()
    result: tuple[bool, object]
    try:
        function, args, kwargs = pickle.loads(request.read_bytes())  # noqa: S301 - our parent wrote it
        result = (True, function(*args, **kwargs))
    except EdgekdError as error:
        result = (False, error)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        result = (
            False,
            write_error(error.filename or tempfile.gettempdir(), error) if full else traceback.format_exc(),
        )
    except Exception:  # noqa: BLE001 - nothing is swallowed: the parent raises it
        result = (False, traceback.format_exc())
    partial = answer.with_suffix(".partial")
    partial.write_bytes(_dumps(result))
    partial.replace(answer)


def _die_with_parent() -> None:
    """A parent killed with -9 can't stop its children; Linux can."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    sys.path[:] = sys.argv[3:]
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
