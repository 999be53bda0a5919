"""What is printed: to people, to their logs, and to machines; and how far long work is."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from edgekd import store
from edgekd.errors import EdgekdError, write_error
from edgekd.progress import Silent

if TYPE_CHECKING:
    from edgekd import progress

_log = logging.getLogger("edgekd")
_PLAIN_INTERVAL_S = 10.0
# Off a terminal a row is a line, for grep and for logs; on one, rich asks the terminal.
WIDE = 400


class Terminal:
    """Prints to people, keeps what it prints in a log, and stays out of the way of `--json`.

    Args:
        as_json: Print nothing but the result, as JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        off_terminal = not sys.stdout.isatty()
        self.out = Console(soft_wrap=off_terminal, width=WIDE if off_terminal else None, emoji=False)
        self.err = Console(stderr=True, emoji=False)
        self._log: Console | None = None

    @contextlib.contextmanager
    def logging_to(self, folder: Path) -> Iterator[None]:
        """Keep everything that is printed or logged in the folder's `log.txt`.

        Raises:
            StoreError: The folder can't be made or written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _LogFile(folder / "log.txt")
        except OSError as error:
            raise write_error(folder, error) from error
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._log = Console(file=file, width=WIDE, no_color=True, emoji=False)
        _log.addHandler(handler)
        try:
            yield
        except EdgekdError as error:
            _log.debug("error: %s", error)  # to the log; the command prints it when all is closed
            raise
        finally:
            _log.removeHandler(handler)
            self._log = None
            file.close()

    def print(self, *renderables: RenderableType) -> None:
        """Print for people; strings may hold markup."""
        for console in (None if self.as_json else self.out, self._log):
            if console:
                for renderable in renderables:
                    console.print(renderable)

    def say(self, text: str) -> None:
        """Print a line for people as it is: paths may hold what looks like markup."""
        self.print(Text(text))

    def result(self, value: object) -> None:
        """Print for machines, if they asked."""
        if self.as_json:
            sys.stdout.write(json.dumps(store.to_json(value), indent=1) + "\n")
            sys.stdout.flush()

    def show_log(self) -> None:
        """Show what the library logs, without the per-epoch detail that goes to the log file."""
        _log.setLevel(logging.DEBUG)
        _log.addHandler(_LogToConsole(self.err))

    @contextlib.contextmanager
    def progress(self) -> Iterator[progress.Progress]:
        """Show long work: a bar with time left on a terminal, a line now and then elsewhere."""
        if self.as_json:
            yield Silent()
        elif self.err.is_terminal:
            columns = (
                TextColumn("[cyan]{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            with Progress(*columns, console=self.err, transient=True) as bars:
                yield _Bars(bars)
        else:
            yield _Lines(self.err)


class _LogFile(io.TextIOWrapper):
    """A log that stops when it can't be written; a full disk is for those to tell whose work is lost by it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("ab", buffering=0), encoding="utf-8", write_through=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


class _LogToConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self.console.print(escape(record.getMessage()), style=style, highlight=False, soft_wrap=True)


class _Bars:
    """Draws one bar a task."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task: TaskID | None = None

    def start(self, task: str, total: int) -> None:
        self.task = self.bars.add_task(task, total=total)

    def advance(self, count: int = 1) -> None:
        if self.task is not None:
            self.bars.advance(self.task, count)

    def end(self) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None

    def beside(self) -> _Bars:
        return _Bars(self.bars)


class _Lines:
    """Writes a line every ten seconds, for logs of CI and cron."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.task, self.total, self.done, self.resumed = "", 1, 0, 0
        self.started = self.written = time.monotonic()

    def start(self, task: str, total: int) -> None:
        self.task, self.total, self.done, self.resumed = task, max(total, 1), 0, 0
        self.started = self.written = time.monotonic()

    def advance(self, count: int = 1) -> None:
        if self.done == 0 and count > 1:
            self.resumed = count
        self.done += count
        now = time.monotonic()
        fresh = self.done - self.resumed
        if now - self.written >= _PLAIN_INTERVAL_S and fresh:
            self.written = now
            left = (now - self.started) / fresh * (self.total - self.done)
            self.console.print(
                f"{self.task}: {self.done / self.total:.0%}, {left:.0f} s left",
                style="dim",
                highlight=False,
                soft_wrap=True,
            )

    def end(self) -> None:
        self.done = 0

    def beside(self) -> _Lines:
        return _Lines(self.console)
