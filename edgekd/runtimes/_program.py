"""Finds a program that measures files on a target, and puts one there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import store
from edgekd.errors import TargetError
from edgekd.records import Target
from edgekd.runtimes._machine import SECTION, ask, read_sections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekd.transports import Transport

_PATIENCE_S = 60.0
# Runtimes that are such programs; a target's `program` is that of the first that it has.
_PROGRAMS = ("benchmark_model", "onnxruntime_perf_test")
# Where one stays, on a phone in the one folder that adb's shell may run programs from; or the user's own.
_PLACE = """
own=$1 name=$2; place=/data/local/tmp; [ -d "$place" ] || place="$HOME/.cache"; place="$place/edgekd/$name"
"""
# Shared libraries that lie beside a program are its own.
BESIDE = 'export LD_LIBRARY_PATH="${p%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"'
_LIBRARIES = """[ -z "$3" ] || s libraries sh -c 'cd "${1%/*}" && sha256sum $2' sh "$p" "$3" """
_FIND = f"""{SECTION}
{_PLACE}
p=${{own:-$place}}; [ -n "$own" ] || [ -f "$p" ] || p=$(command -v "$name")
printf '@path\\n%s\\n' "$p"
if [ -f "$p" ]; then
s sha256 sha256sum "$p"
{_LIBRARIES}
[ -z "$3" ] || {BESIDE}
printf '@help\\n'; "$p" --help 2>&1
fi
"""
_LOOK = f"""{SECTION}
{_PLACE}
p=${{own:-$place}}
printf '@path\\n%s\\n' "$p"
[ ! -x "$p" ] || s sha256 sha256sum "$p"
{_LIBRARIES}
"""
_COPY = r"""
d=$1 name=$2 program=$3; shift 3
mkdir -p "$d" && cp "$program" "$d/$name" && { [ $# -eq 0 ] || cp "$@" "$d"; } && chmod 755 "$d"/* && exit
rm -rf "$d"; exit 1
"""
_MOVE = 'mv "$1"/* "$2" && rmdir "$1"'


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A program that runtimes know.

    Attributes:
        name: Of its file, and of the runtime.
        answer: Words of what it prints when asked for `--help`, whatever its version.
        libraries: Shell pattern of the shared libraries that may lie beside it; empty is none.
        published: Whether one can be downloaded; the user brings it otherwise.
    """

    name: str
    answer: str
    libraries: str = ""
    published: bool = True


@dataclass(frozen=True, kw_only=True)
class Found:
    """A program on a target.

    Attributes:
        path: There.
        usage: What it prints when asked for `--help`.
        libraries: sha256 of those that lie beside it, by name.
    """

    path: str
    sha256: str
    usage: str
    libraries: Mapping[str, str] = field(default_factory=dict)


def find(transport: Transport, target: Target, kind: Kind, path: str | None = None) -> Found:
    """Find a target's program: its own `program`, the one that `put` puts there, or one on the path.

    Args:
        transport: A connection to the target.
        target: May name its own program, and which one it must be.
        kind: The program.
        path: Another place to look at.

    Raises:
        TargetError: There is none, it is not the one that the target pins, or it does not answer.
    """
    own, pinned = _wanted(target, kind)
    said = read_sections(ask(transport, target.name, _FIND, own if path is None else path, kind.name, kind.libraries))
    step = f"edgekd targets setup {target.name}"
    if "sha256" not in said:
        missing = f"no {kind.name} at {said['path']}" if said["path"] else f"no {kind.name}"
        raise TargetError(missing, where=target.name, next_step=step if kind.published else f"{step} --from FOLDER")
    found = Found(
        path=said["path"],
        sha256=said["sha256"].split()[0],
        usage=said["help"],
        libraries=_sums(said),
    )
    check(found.path, found.sha256, pinned, target)
    if kind.answer not in found.usage:
        first = next(iter(found.usage.strip().splitlines()), "it printed nothing")
        what = f"{found.path} does not answer as {kind.name} does: {first}"
        asks = "is it for this processor, and its library beside it?" if kind.libraries else "is it for this processor?"
        raise TargetError(what, where=target.name, next_step=f"{asks} {step} --from FOLDER")
    return found


def put(
    transport: Transport,
    target: Target,
    kind: Kind,
    local: Path,
    *,
    libraries: Sequence[Path] = (),
    probe: Callable[[str], object],
) -> None:
    """Put a program on a target, unless the very same is there, and only in place of one when it answers.

    Args:
        transport: A connection to the target.
        target: Says where, if it shall not be the usual place, and which one, by its sha256.
        kind: The program.
        local: Its file here.
        libraries: Files here that go beside it.
        probe: Called with its path over there, before it takes its place; raises where it does not run.

    Raises:
        TargetError: It is another one than the target pins, does not run there, or there is no room for it.
    """
    own, pinned = _wanted(target, kind)
    there = read_sections(ask(transport, target.name, _LOOK, own, kind.name, kind.libraries))
    sha256 = store.sha256_of(local)
    check(str(local), sha256, pinned, target)
    same = there.get("sha256", "").split()[:1] == [sha256]
    if same and {each.name: store.sha256_of(each) for each in libraries}.items() <= _sums(there).items():
        return
    folder, _, name = there["path"].rpartition("/")
    partial = f"{there['path']}.partial"
    pushed = [transport.push(each) for each in (local, *libraries)]
    _succeed(transport, target, kind, _COPY, partial, name, *pushed)
    try:
        probe(f"{partial}/{name}")
    except TargetError:
        _succeed(transport, target, kind, 'rm -rf "$1"', partial)
        raise
    _succeed(transport, target, kind, _MOVE, partial, folder)


def choose(source: Path, target: Target, kind: Kind, *others: str) -> Path:
    """The program in a folder: by the target's name for it, its usual name, or those of published builds.

    Raises:
        TargetError: None of them is there.
    """
    own, _ = _wanted(target, kind)
    names = dict.fromkeys((Path(own or kind.name).name, kind.name, *others))
    for name in names:
        if (source / name).is_file():
            return source / name
    raise TargetError(f"none of {', '.join(names)} in {source}", where=target.name)


def check(path: str, sha256: str, pinned: str | None, target: Target) -> None:
    """Make sure that a program is the one that a target pins.

    Raises:
        TargetError: It is another one.
    """
    if pinned not in (None, sha256):
        what = f"{path} has the sha256 {sha256[:12]}…, not {str(pinned)[:12]}…, which the target pins"
        step = "take the right one, or change the target's program_sha256"
        raise TargetError(what, where=target.name, next_step=step)


def _wanted(target: Target, kind: Kind) -> tuple[str, str | None]:
    """A target's own program, and which one it must be."""
    first = next((name for name in target.runtimes if name in _PROGRAMS), None)
    return (target.program or "", target.program_sha256) if first == kind.name else ("", None)


def _sums(said: Mapping[str, str]) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in said.get("libraries", "").splitlines())
    return {name.strip(): sha256 for sha256, name in lines}


def _succeed(transport: Transport, target: Target, kind: Kind, script: str, *words: str) -> None:
    done = transport.run(["sh", "-c", script, "sh", *words], _PATIENCE_S)
    if done.code:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
        step = "make room there" if "No space left" in last else None
        raise TargetError(f"can't put {kind.name} there: {last}", where=target.name, next_step=step)
