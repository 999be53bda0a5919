"""Errors that a user can cause or fix; the CLI prints them without a traceback."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from pathlib import Path


class EdgekdError(Exception):
    """What went wrong, where, what is allowed and what to do next, in one message.

    Args:
        what: The problem, with the offending value.
        where: File, key or target.
        allowed: What would have been accepted.
        next_step: What to do now.

    >>> print(EdgekdError("unknown key 'epoch'", where="recipe.toml: distill", next_step="did you mean 'epochs'?"))
    recipe.toml: distill: unknown key 'epoch'; did you mean 'epochs'?
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        allowed: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.what, self.where, self.allowed, self.next_step = what, where, allowed, next_step
        text = f"{where}: {what}" if where else what
        if allowed:
            text += f"; allowed: {allowed}"
        if next_step:
            text += f"; {next_step}"
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own pickling would pass the text as `what`; errors cross process borders.
        return (_rebuild, (type(self), self.what, self.where, self.allowed, self.next_step))


def _rebuild(
    kind: type[EdgekdError],
    what: str,
    where: str | None,
    allowed: str | None,
    next_step: str | None,
) -> EdgekdError:
    return kind(what, where=where, allowed=allowed, next_step=next_step)


class ConfigError(EdgekdError):
    """One problem, or several found together, in a recipe, target or command line."""

    @classmethod
    def of(cls, problems: Sequence[EdgekdError]) -> ConfigError:
        """Join problems found in one pass into one error, a line each."""
        if len(problems) == 1:
            only = problems[0]
            return cls(only.what, where=only.where, allowed=only.allowed, next_step=only.next_step)
        return cls("\n".join([f"{len(problems)} problems", *(f"  {problem}" for problem in problems)]))


class DataError(EdgekdError):
    """A dataset that is missing, malformed or unfit for the network."""


class ModelError(EdgekdError):
    """A weights or model file that can't be read, or that does not fit."""


class TrainingError(EdgekdError):
    """Training that can't go on, such as a loss that is not a number."""


class ExportError(EdgekdError):
    """A conversion or quantization that failed or whose file is not what it claims."""


class MeasurementError(EdgekdError):
    """Measurements that can't be taken or must not be merged."""


class StoreError(EdgekdError):
    """A run folder that is locked, damaged, full or not one."""


class MissingExtraError(EdgekdError):
    """An optional part of edgekd that is not installed."""


class TargetError(EdgekdError):
    """A target that can't be reached or lacks what it needs."""

    exit_code = 3


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Suggest the closest known word, as a sentence, or nothing when none is close.

    >>> did_you_mean("resnet_8", ["resnet", "mlp"])
    "did you mean 'resnet'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else None


def write_error(path: Path | str, error: OSError) -> StoreError:
    """Say what to do about a file or folder that the system would not let us write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            "the disk is full; nothing half-written was left",
            where=str(path),
            next_step="free some space and run the same command again: it goes on where it was",
        )
    return StoreError(
        f"can't write it: {error.strerror or error}",
        where=str(path),
        next_step="choose a folder you may write to with --out",
    )
