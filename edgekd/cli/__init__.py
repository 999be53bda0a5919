"""One function per subcommand: parse, call the stage, print, exit code; no logic."""

from __future__ import annotations

import errno
import gc
import sys
import sysconfig
import tempfile
import traceback
from pathlib import Path
from types import TracebackType

import click

from edgekd.cli.group import EXIT_BUG, EXIT_INTERRUPTED, EXIT_READER_GONE, EXIT_USER, edgekd
from edgekd.errors import EdgekdError, write_error

__all__ = ["edgekd", "main"]

# What the system refuses whoever asks: no room, no permission.
_NOT_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def main() -> None:
    """Entry point of the command: one line for an error, the right exit code for everything."""
    # What is imported stays; to look through it for what does not takes a tenth of a gate.
    gc.disable()
    try:
        code = _main()
    finally:
        gc.enable()
    sys.exit(code)


def _main() -> int:  # noqa: PLR0911 - one exit code a line
    try:
        code: int = edgekd.main(standalone_mode=False) or 0
    except EdgekdError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USER
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; the same command goes on where this one stopped", err=True)
        return EXIT_INTERRUPTED
    except SystemExit:
        # Click leaves this way when whoever read our output has gone (`| head`). Its 1 would say "gate refused".
        return EXIT_READER_GONE
    except OSError as error:
        if error.errno not in _NOT_OURS:
            return _report_bug(error)
        click.echo(f"error: {write_error(error.filename or tempfile.gettempdir(), error)}", err=True)
        return EXIT_USER
    except Exception as error:  # noqa: BLE001 - the one place; a bug must show its traceback, and not exit as a user's
        return _report_bug(error)
    return code


def _report_bug(error: Exception) -> int:
    own = _own_code(error)
    if own is None:
        traceback.print_exc()
        click.echo("this is a bug in edgekd; please report it with the lines above", err=True)
        return EXIT_BUG
    traceback.print_exception(type(error), error, own)
    code = own.tb_frame.f_code
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    click.echo(
        f"error: {code.co_filename}: your own '{code.co_name}' failed: {reason}; the lines above show where", err=True
    )
    return EXIT_USER


def _own_code(error: Exception) -> TracebackType | None:
    """Find where an error went into code that a recipe names as `module:function`, and never came back to edgekd."""
    ours = Path(__file__).parent.parent
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found, step = None, error.__traceback__
    while step:
        file = Path(step.tb_frame.f_code.co_filename)
        if ours in file.parents:
            found = None
        elif found is None and file.is_file() and not any(place in file.parents for place in installed):
            found = step
        step = step.tb_next
    return found
