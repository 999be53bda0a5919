"""Subcommands for what a release is proven by: one archive of it, and whether all in it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli.group import EXIT_REFUSED, command, exit_code, json_option
from edgekd.cli.stages import refuse_options
from edgekd.signing import TOOLS, Tool

if TYPE_CHECKING:
    from edgekd.console import Terminal
    from edgekd.records import Release

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_STATES = {
    "ok": "",
    "changed": "not the bytes that the run made: run the recipe again, or bring the file back",
    "missing": "run the recipe again, or bring the file back",
    "extra": "the run did not make it: take it away before the folder ships",
    "orphan": "its bytes are right, but what it was made from is changed, missing or unknown",
}


@command("""
    edgekd bundle runs/digits
    edgekd bundle runs/digits --out digits-1.2.tar --sign ~/.ssh/id_ed25519
    edgekd bundle runs/digits --sign minisign.key
    edgekd bundle runs/digits --refused --json
""")
@click.argument("folder", metavar="RUN", type=_PATH)
@click.option("--out", type=_FILE, help="File to write [default: RUN.bundle.tar].")
@click.option("--sign", "key", metavar="KEY", type=_FILE, help="Sign it with this key, into FILE.sig.")
@click.option("--sign-with", "tool", type=click.Choice(TOOLS), help="The tool that signs [default: told by the key].")
@click.option("--refused", is_flag=True, help="Bundle it although the gate did not pass it, as evidence of that.")
@json_option
def bundle(folder: Path, out: Path | None, key: Path | None, tool: Tool | None, refused: bool, as_json: bool) -> int:
    """Make one archive of a finished run that passed: what ships, how it was made, measurements, verdict, report.

    Equal runs give equal bytes. Nothing is written of a run that the gate refused (exit 1) or left open (exit 4).
    """
    from edgekd import pipeline, store
    from edgekd.console import Terminal
    from edgekd.units import human

    terminal = Terminal(as_json=as_json)
    if tool and not key:
        raise click.UsageError("--sign-with needs --sign KEY")
    contents = pipeline.collect(folder)
    release, code = contents.release, _code_of(contents.release)
    status = release.status if release else None
    if code and not refused:
        terminal.print(_verdict(release))
        terminal.say("nothing was bundled: this is no release; with --refused it is bundled as evidence of that")
        terminal.result({"status": status, "path": None})
        return code
    made = pipeline.write_bundle(
        contents, out or folder.resolve().with_name(f"{folder.resolve().name}.bundle.tar"), key=key, tool=tool
    )
    terminal.print(_verdict(release))
    if code:
        terminal.say("bundled as evidence: this is no release")
    terminal.say(f"bundle: {made.path} ({made.files} files, {human(made.size_bytes, 'B')}, sha256 {made.sha256})")
    if made.signature:
        terminal.say(f"signature: {made.signature}")
    terminal.result({"status": status, **store.to_json(made)})
    return 0


@command("""
    edgekd verify runs/digits
    edgekd verify digits.bundle.tar --key allowed_signers
    edgekd verify digits.bundle.tar --key minisign.pub --json
""")
@click.argument("place", metavar="RUN | BUNDLE", type=_PATH)
@click.option("--key", type=_FILE, help="Of a bundle: public key, or ssh's file of allowed signers.")
@click.option("--refused", is_flag=True, help="Of a bundle: do not mind that its verdict is no pass.")
@json_option
def verify(place: Path, key: Path | None, refused: bool, as_json: bool) -> int:
    """Hold a run's files against its manifest, or all that a bundle says against its files; exit 1 when one differs.

    Offline. Of a run: bytes, what each file was made from, and that nothing else lies among the files that ship. Of a
    bundle also the verdict, which must be a pass, and the signature; nothing is extracted.
    """
    from edgekd.console import Terminal

    terminal = Terminal(as_json=as_json)
    if place.is_file():
        return _verify_bundle(terminal, place, key, refused=refused)
    refuse_options("for bundles only", "key", "refused")
    return _verify_run(terminal, place)


def _verify_run(terminal: Terminal, folder: Path) -> int:
    from edgekd import pipeline
    from edgekd.console import plain_table

    found = pipeline.verify(folder)
    wrong = [name for name, state in found.items() if state != "ok"]
    rows = [(state, name, _STATES[state]) for name, state in found.items()]
    terminal.print(plain_table(("state", "file", ""), rows))
    terminal.print(f"{len(found) - len(wrong)} of {len(found)} files are what the manifest says")
    terminal.result(found)
    return EXIT_REFUSED if wrong else 0


def _verify_bundle(terminal: Terminal, path: Path, key: Path | None, *, refused: bool) -> int:
    from edgekd import pipeline
    from edgekd.console import plain_table

    found = pipeline.verify_bundle(path, key=key)
    terminal.print(plain_table(("state", "what", ""), [(each.state, each.name, each.detail) for each in found.claims]))
    if found.is_right:
        terminal.print(_verdict(found.release))
    status = found.release.status if found.release else None
    terminal.result({"status": status, "right": found.is_right, "claims": found.claims, "files": found.files})
    if not found.is_right:
        return EXIT_REFUSED
    return 0 if refused else _code_of(found.release)


def _code_of(release: Release | None) -> int:
    return exit_code(release) if release else EXIT_REFUSED


def _verdict(release: Release | None) -> str:
    from edgekd.console import verdict_lines

    return verdict_lines(release) if release else "NO VERDICT: it was not held against budgets, as `edgekd run` does"
