"""Finds the benchmark_model of a target, and puts one there."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import store
from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.runtimes._benchmark_log import read_flags
from edgekd.runtimes._machine import SECTION, ask, read_sections

if TYPE_CHECKING:
    from edgekd.transports import Transport

_PATIENCE_S, _DOWNLOAD_S = 60.0, 60.0
# Of Google's releases: one file a version and a kind of machine, named below the version. They give no sums.
_RELEASES, _RELEASE = "https://storage.googleapis.com/litert/binaries", "2.2.0"
_KINDS = {
    ("Android", "aarch64"): "android_arm64",
    ("Linux", "aarch64"): "linux_arm64",
    ("Linux", "x86_64"): "linux_x86_64",
}
# Files that it writes into its working folder.
RESULT, RUNTIME_INFO = "result.pb", "runtime_info.pb"
# Its first words, whatever follows.
ANSWER = "STARTING!"
_NEEDED = {"graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs"}
NEXT_STEP = "edgekd targets setup {name} --from FOLDER brings another one"
# Where it stays, on a phone in the one folder that adb's shell may run programs from; or the user's own.
_PLACE = """
own=$1; place=/data/local/tmp; [ -d "$place" ] || place="$HOME/.cache"; place="$place/edgekd/benchmark_model"
"""
_FIND = f"""{SECTION}
{_PLACE}
p=${{own:-$place}}; [ -n "$own" ] || [ -f "$p" ] || p=$(command -v benchmark_model)
printf '@path\\n%s\\n' "$p"
[ ! -f "$p" ] || {{ s sha256 sha256sum "$p"; printf '\\n@help\\n'; "$p" --help 2>&1; }}
"""
_LOOK = f"""{SECTION}
{_PLACE}
p=${{own:-$place}}
printf '@path\\n%s\\n' "$p"
[ ! -x "$p" ] || s sha256 sha256sum "$p"
s arch uname -m
s android getprop ro.build.version.release
"""
_COPY = 'mkdir -p "${2%/*}" && cp "$1" "$2" && chmod 755 "$2" && exit; rm -f "$2"; exit 1'


@dataclass(frozen=True, kw_only=True)
class Program:
    """A benchmark_model on a target.

    Attributes:
        path: There.
        knows: Flags that it lists.
        xnnpack: Whether that delegate may take operators.
    """

    path: str
    sha256: str
    knows: frozenset[str]
    xnnpack: bool = True

    @property
    def flags(self) -> Mapping[str, str]:
        """Flags that it knows of those that tell more: what delegates took, and what its log rounds; and a wish."""
        wanted = {
            "use_xnnpack": "true",
            "export_model_runtime_info": "true",
            "model_runtime_info_output_file": RUNTIME_INFO,
            "result_file_path": RESULT,
        }
        known = {name: value for name, value in wanted.items() if name in self.knows}
        return known if self.xnnpack else {**known, "use_xnnpack": "false"}


def find_program(transport: Transport, target: Target) -> Program:
    """Find the program of a target: its own `program`, the one that `set_up` puts there, or one on the path.

    Raises:
        TargetError: There is none, it is not the one that the target pins, or it does not answer.
    """
    return _probe(transport, target, target.program or "")


def set_up(transport: Transport, *, target: Target, source: Path | None, keep: Path | None) -> None:
    """Put a program on a target, unless the very same is there, and only in place of one when it answers.

    Args:
        transport: A connection to it.
        target: Says where, if it shall not be the usual place, and which one, by its sha256.
        source: A folder with the program; without one it is downloaded, and must be the one that the target pins.
        keep: A folder that gets a copy of what was downloaded.

    Raises:
        TargetError: It can't be had, is another one, or does not run there.
        ConfigError: Nothing says what a download must be.
    """
    there = read_sections(ask(transport, target.name, _LOOK, target.program or ""))
    kind = _KINDS.get(("Android" if there["android"].strip() else "Linux", there["arch"]))
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        local = _choose(source, target) if source else _download(kind, target, Path(folder), keep)
        sha256 = store.sha256_of(local)
        if target.program_sha256 not in (None, sha256):
            raise _another(f"{local}", sha256, target)
        if there.get("sha256", "").split()[:1] == [sha256]:
            return
        partial = f"{there['path']}.partial"
        _succeed(transport, target, _COPY, transport.push(local), partial)
        try:
            _probe(transport, target, partial)
        except TargetError:
            _succeed(transport, target, 'rm -f "$1"', partial)
            raise
        _succeed(transport, target, 'mv "$1" "$2"', partial, there["path"])


def _probe(transport: Transport, target: Target, path: str) -> Program:
    said = read_sections(ask(transport, target.name, _FIND, path))
    step = f"edgekd targets setup {target.name}"
    if "sha256" not in said:
        missing = f"no benchmark_model at {path}" if path else "no benchmark_model"
        raise TargetError(missing, where=target.name, next_step=step)
    path, sha256, usage = said["path"], said["sha256"].split()[0], said["help"]
    if target.program_sha256 not in (None, sha256):
        raise _another(path, sha256, target)
    if ANSWER not in usage:
        first = next(iter(usage.strip().splitlines()), "it printed nothing")
        what = f"{path} does not answer as benchmark_model does: {first}"
        raise TargetError(what, where=target.name, next_step=f"is it for this processor? {step} --from FOLDER")
    knows = read_flags(usage)
    if knows and (unknown := sorted(_NEEDED - knows)):  # the oldest list none
        flags = " ".join(f"--{name}" for name in unknown)
        raise TargetError(
            f"{path} does not know {flags}", where=target.name, next_step=NEXT_STEP.format(name=target.name)
        )
    return Program(path=path, sha256=sha256, knows=knows, xnnpack=target.xnnpack)


def _another(path: str, sha256: str, target: Target) -> TargetError:
    pinned = str(target.program_sha256)
    what = f"{path} has the sha256 {sha256[:12]}…, not {pinned[:12]}…, which the target pins"
    return TargetError(what, where=target.name, next_step="take the right one, or change the target's program_sha256")


def _choose(source: Path, target: Target) -> Path:
    """The program in a folder: by the target's name for it, its usual name, or those of published builds."""
    names = dict.fromkeys(
        (Path(target.program or "benchmark_model").name, "benchmark_model", "android_aarch64_benchmark_model")
    )
    for name in names:
        if (source / name).is_file():
            return source / name
    raise TargetError(f"none of {', '.join(names)} in {source}", where=target.name)


def _download(kind: str | None, target: Target, folder: Path, keep: Path | None) -> Path:
    """Download the program of a release for one kind of machine, and hold it against the pinned sha256."""
    offline = f"edgekd targets setup {target.name} --from FOLDER takes a file of yours"
    if kind is None:
        raise TargetError(
            "there is no published benchmark_model for this processor", where=target.name, next_step=offline
        )
    url = f"{_RELEASES}/{_RELEASE}/{kind}/benchmark_model"
    if target.program_sha256 is None:
        raise ConfigError(
            f"nothing says what {url} must be: it is published without a sum",
            where=target.name,
            next_step=f"{offline}; or write the program_sha256 that you trust into the target, then it is downloaded",
        )
    local = folder / "benchmark_model"
    download(url, local, target.name, offline)
    if keep and store.sha256_of(local) == target.program_sha256:
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, keep)
    return local


def download(url: str, local: Path, where: str, next_step: str) -> None:
    """Download a file.

    Raises:
        TargetError: It can't be had.
    """
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_S) as answer, local.open("wb") as file:  # noqa: S310 - https
            shutil.copyfileobj(answer, file)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer, too
        raise TargetError(f"can't download {url}: {error}", where=where, next_step=next_step) from None


def _succeed(transport: Transport, target: Target, script: str, *words: str) -> None:
    done = transport.run(["sh", "-c", script, "sh", *words], _PATIENCE_S)
    if done.code:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
        step = "make room there" if "No space left" in last else None
        raise TargetError(f"can't put benchmark_model there: {last}", where=target.name, next_step=step)
