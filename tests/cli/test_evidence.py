"""`edgekd bundle` and `verify`, through the installed command."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from edgekd.cli import edgekd as command_line
from edgekd.cli import main
from tests.finished import make_run

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Call the command in this process, since starting it takes longer than what it does."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = ["edgekd", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(command, ended.value.code, said.out, said.err)

    return run


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("passed") / "run")


@pytest.fixture
def run(passed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(passed, tmp_path / "run"))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed: on Debian: apt-get install openssh-client")
    secret = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", secret], check=True)
    return secret, tmp_path / "id.pub"


GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "bundle.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^edgekd (.*)$", GUIDE, re.MULTILINE))
def test_commands_of_the_guide_parse(line: str) -> None:
    name, *words = shlex.split(line)
    command = command_line.get_command(click.Context(command_line), name)
    assert command
    command.make_context(name, words)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_run_that_passed_is_bundled_beside_it_and_verified(run: Path, tmp_path: Path) -> None:
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgekd", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    made = call("bundle", "run")
    assert made.returncode == 0, made.stderr
    assert "PASS: every budget is met" in made.stdout
    assert "run.bundle.tar (17 files" in made.stdout
    assert names(tmp_path) == {"run", "run.bundle.tar"}
    checked = call("verify", "run.bundle.tar")
    assert checked.returncode == 0, checked.stdout
    assert "PASS: every budget is met" in checked.stdout
    assert "not signed" in checked.stdout
    assert call("verify", run).returncode == 0


def test_json_is_all_that_is_printed(call: Call, run: Path) -> None:
    made = json.loads(call("bundle", run, "--out", "x.tar", "--json").stdout)
    assert (made["status"], made["path"], made["files"], made["signature"]) == ("pass", "x.tar", 17, None)
    found = json.loads(call("verify", "x.tar", "--json").stdout)
    assert (found["status"], found["right"], {*found["files"].values()}) == ("pass", True, {"ok"})
    assert {claim["state"] for claim in found["claims"]} == {"ok", "unchecked"}


def test_a_signature_is_made_checked_and_never_taken_for_granted(
    call: Call, run: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    secret, public = keys
    made = call("bundle", run, "--out", "x.tar", "--sign", secret)
    assert made.returncode == 0, made.stderr
    assert "signature: x.tar.sig" in made.stdout
    unchecked = call("verify", "x.tar")
    assert unchecked.returncode == 0
    assert "signed, not checked: give --key" in unchecked.stdout
    checked = call("verify", "x.tar", "--key", public)
    assert checked.returncode == 0, checked.stdout
    assert "ED25519 key SHA256:" in checked.stdout
    with (tmp_path / "x.tar.sig").open("r+b") as file:
        file.seek(100)
        file.write(b"AAAA")
    assert call("verify", "x.tar", "--key", public).returncode == 1
    # A bundle that is written again without a signature must not lie beside the old one.
    assert call("bundle", run, "--out", "x.tar").returncode == 0
    assert not (tmp_path / "x.tar.sig").exists()
    unsigned = call("verify", "x.tar", "--key", public)
    assert unsigned.returncode == 1
    assert "not signed: no x.tar.sig beside it" in unsigned.stdout


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        ({"limit": "10 B"}, 1, "FAIL: a budget is broken"),
        ({"accurate": 105}, 4, "INCONCLUSIVE: not proven yet"),
    ],
)
def test_what_did_not_pass_is_bundled_only_as_evidence(
    call: Call, tmp_path: Path, facts: dict[str, object], code: int, words: str
) -> None:
    run = make_run(tmp_path / "run", **facts)  # type: ignore[arg-type]  # as in its signature
    refused = call("bundle", run)
    assert refused.returncode == code
    assert words in refused.stdout
    assert "nothing was bundled" in refused.stdout
    assert names(tmp_path) == {"run"}
    made = call("bundle", run, "--refused")
    assert made.returncode == 0, made.stderr
    assert words in made.stdout
    assert "bundled as evidence: this is no release" in made.stdout
    checked = call("verify", "run.bundle.tar")
    assert checked.returncode == code
    assert words in checked.stdout
    assert call("verify", "run.bundle.tar", "--refused").returncode == 0


def test_a_benchmark_of_bare_files_is_no_release(call: Call, run: Path, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    shutil.copy(run / "benchmark" / "measurements.json", tmp_path / "bench")
    assert call("bundle", "bench").returncode == 1
    assert call("bundle", "bench", "--refused").returncode == 0
    checked = call("verify", "bench.bundle.tar")
    assert checked.returncode == 1
    assert "NO VERDICT" in checked.stdout


def test_a_bundle_that_was_changed_is_refused_by_name(call: Call, run: Path, tmp_path: Path) -> None:
    assert call("bundle", run, "--out", "x.tar").returncode == 0
    content = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(content.replace(b"A. N. Author", b"A. N. Other "))
    changed = call("verify", "x.tar")
    assert changed.returncode == 1
    assert "recipe.toml (changed)" in changed.stdout
    assert "PASS" not in changed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bundle", "gone"), "gone: no manifest: not a run folder"),
        (("bundle", "run", "--out", "run"), "Invalid value for '--out'"),
        (("bundle", "run", "--sign-with", "minisign"), "--sign-with needs --sign KEY"),
        (("bundle", "run", "--sign", "gone"), "gone: can't read it: No such file or directory"),
        (("bundle", "run", "--sign", "run/recipe.toml"), "neither a key nor a signature"),
        (("verify", "gone"), "gone: no manifest"),
        (("verify", "run/recipe.toml"), "run/recipe.toml: "),
        (("verify", "run", "--key", "id.pub"), "--key is for bundles only"),
        (("verify", "run", "--refused"), "--refused is for bundles only"),
    ],
)
def test_what_can_t_be_done_is_one_line(
    call: Call, run: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = names(tmp_path)
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or done.stderr.startswith("Usage: ")
    assert names(tmp_path) == before
    assert call("verify", run).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_leaves_no_half_bundle(run: Path, tmp_path: Path) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed: on Debian: apt-get install openssh-client")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "id"], check=True)
    ask = tmp_path / "ask"
    ask.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nsleep 60\n")  # somebody who thinks about the passphrase
    ask.chmod(0o755)
    before = names(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekd", "bundle", str(run), "--out", "x.tar", "--sign", "id"],
        cwd=tmp_path,
        env={**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "asked").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert any(name.startswith(".partial-") for name in names(tmp_path))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert names(tmp_path) == before | {"asked"}
