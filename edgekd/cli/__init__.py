"""One function per subcommand: parse, call the stage, print, exit code; no logic."""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback

import click

from edgekd.cli import caches, exporting, facts, lint, packaging, stages
from edgekd.cli.group import EXIT_BUG, EXIT_INTERRUPTED, EXIT_READER_GONE, EXIT_USER, edgekd
from edgekd.errors import EdgekdError, write_error

__all__ = ["caches", "edgekd", "exporting", "facts", "lint", "main", "packaging", "stages"]

# What the system refuses whoever asks: no room, no permission.
_NOT_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def main() -> None:
    """Entry point of the command: one line for an error, the right exit code for everything."""
    sys.exit(_main())


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
            return _report_bug()
        click.echo(f"error: {write_error(error.filename or tempfile.gettempdir(), error)}", err=True)
        return EXIT_USER
    except Exception:  # noqa: BLE001 - the one place; a bug must show its traceback, and not exit with a user's code
        return _report_bug()
    return code


def _report_bug() -> int:
    traceback.print_exc()
    click.echo("this is a bug in edgekd; please report it with the lines above", err=True)
    return EXIT_BUG
