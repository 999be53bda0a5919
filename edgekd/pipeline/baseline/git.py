"""Files as they were at some commit, and the commit that is checked out, by the system's git."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import PurePosixPath

from edgekd.errors import StoreError

_TIMEOUT_S = 60.0
_IS_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_FETCH = "in CI fetch it first: git fetch origin REF, or the checkout's fetch-depth: 0"


def read_blob(ref: str, path: str, *, limit_bytes: int) -> bytes:
    """Read a file as it was at a ref of the repository that edgekd runs in; nothing is checked out or fetched.

    Args:
        ref: A branch, tag or commit, with git's `~` and `^`.
        path: From the repository's root.
        limit_bytes: More is refused before it is read.

    Raises:
        StoreError: No git, no repository, no such ref or file, or it is too large.
    """
    where = f"{ref}:{path}"
    if ref.startswith("-") or not ref.strip():
        raise StoreError(f"'{ref}' is no git ref", allowed="a branch, a tag or a commit")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise StoreError("outside the repository", where=where, allowed="a path from the repository's root")
    commit = _answer("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
    if not _IS_COMMIT.fullmatch(commit):
        _require_repository()
        raise StoreError(f"no such git ref '{ref}'", next_step=_FETCH)
    size = _answer("cat-file", "-s", f"{commit}:{path}").strip()
    if not size.isdigit() or _answer("cat-file", "-t", f"{commit}:{path}").strip() != "blob":
        raise StoreError(
            "no such file at that commit",
            where=where,
            next_step="commit what `edgekd promote` wrote, or give REF:PATH",
        )
    if int(size) > limit_bytes:
        raise StoreError(f"{int(size)} bytes", where=where, allowed=f"at most {limit_bytes}")
    return _run("cat-file", "blob", f"{commit}:{path}").stdout


def current_commit() -> str:
    """The commit that is checked out, with `+` where tracked files differ from it; empty without a repository."""
    try:
        commit = _answer("rev-parse", "--verify", "--quiet", "HEAD").strip()
        changed = _answer("status", "--porcelain", "--untracked-files=no").strip() if commit else ""
    except StoreError:
        return ""
    return f"{commit}+" if changed else commit


def _require_repository() -> None:
    done = _run("rev-parse", "--git-dir")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no repository"]
        raise StoreError(f"git says: {lines[0].removeprefix('fatal: ')}")


def _answer(*arguments: str) -> str:
    """What git prints; nothing where it fails."""
    done = _run(*arguments)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def _run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    # A partial clone would fetch what is missing, and ask for a password.
    quiet = {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", *arguments],
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise StoreError("git is not installed", next_step="install it, or give a file or a folder") from None
    except subprocess.TimeoutExpired:
        raise StoreError(f"git took longer than {_TIMEOUT_S:g} s") from None
