"""`edgekd promote` and `edgekd gate --baseline`, through the installed command, in a real repository."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.baseline.conftest import make

TIGHT = 'name = "tiny"\n[[budgets]]\nmetric = "file_size"\nlimit = "10 B"\n'
WIDE = TIGHT.replace("10 B", "10 kB")


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a run that passes its gate, as the working folder."""
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-config"))
    git("init", "--quiet", "--initial-branch", "main")
    make(tmp_path / "runs" / "v1", recipe=WIDE)
    return tmp_path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """What is in the working folder, by http on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()
        thread.join()


def test_promote_commit_and_gate_the_next_run_against_it(repository: Path, server: str) -> None:
    promoted = call("promote", "runs/v1", "--json")
    assert promoted.returncode == 0, promoted.stderr
    found = json.loads(promoted.stdout)
    assert (found["status"], found["file"]) == ("pass", ".edgekd/baseline.json")
    git("add", ".edgekd")
    git("commit", "--quiet", "--message", "Release")
    git("tag", "v1.0.0")
    (repository / ".edgekd" / "baseline.json").write_text("")

    same = call("gate", "runs/v1", "--baseline", "v1.0.0")
    assert same.returncode == 0, same.stdout
    assert "nothing is known to have changed since v1 (v1.0.0)" in same.stdout

    make(repository / "runs" / "v2", recipe=f"{WIDE}[distill]\nepochs = 3\n", wrong=180)
    worse = call("gate", "runs/v2", "--baseline", "HEAD", "--json", "--write", "markdown=out.md")
    assert worse.returncode == 1
    release = json.loads(worse.stdout)["release"]
    assert release["baseline"] == "v1 (HEAD)"
    assert release["changes"] == [{"what": "recipe: distill.epochs", "before": "-", "after": "3"}]
    assert "Changed since" in (repository / "out.md").read_text(encoding="utf-8")
    assert call("gate", "runs/v2", "--baseline", "v1.0.0", "--tolerance", "accuracy=5 pt").returncode == 0

    git("show", "v1.0.0:.edgekd/baseline.json")
    with (repository / "served.json").open("wb") as file:
        subprocess.run(["git", "show", "v1.0.0:.edgekd/baseline.json"], stdout=file, check=True)
    by_web = call("gate", "runs/v2", "--baseline", f"{server}/served.json?token=1")
    assert by_web.returncode == 1
    assert f"changed since v1 ({server}/served.json)" in by_web.stdout
    assert "token" not in by_web.stdout


def test_a_run_that_the_gate_refuses_is_promoted_by_force_alone(repository: Path) -> None:
    make(repository / "runs" / "v2", recipe=TIGHT)
    refused = call("promote", "runs/v2")
    assert refused.returncode == 1
    assert "not promoted: the gate refuses it; --force promotes it all the same" in refused.stdout
    assert not (repository / ".edgekd").exists()
    forced = call("promote", "runs/v2", "--force", "--out", "kept.json")
    assert forced.returncode == 0
    assert json.loads((repository / "kept.json").read_text())["release"]["checks"][0]["status"] == "fail"


def test_the_next_release_is_held_against_the_last_before_it_is_promoted(repository: Path) -> None:
    assert call("promote", "runs/v1").returncode == 0
    make(repository / "runs" / "v2", recipe=WIDE, wrong=180)
    before = (repository / ".edgekd" / "baseline.json").read_bytes()
    assert call("promote", "runs/v2", "--baseline", ".edgekd/baseline.json").returncode == 1
    assert (repository / ".edgekd" / "baseline.json").read_bytes() == before
    make(repository / "runs" / "v3", recipe=WIDE)
    assert call("promote", "runs/v3", "--baseline", ".edgekd/baseline.json").returncode == 0


def test_a_table_without_a_last_release_is_not_passed_over_in_silence(repository: Path) -> None:
    (repository / "release.toml").write_text(f'{WIDE.partition(chr(10))[2]}[regressions]\naccuracy = "1 pt"\n')
    done = call("gate", "runs/v1", "--budgets", "release.toml")
    assert done.returncode == 0, done.stderr
    assert "not held against the last release: give it with --baseline" in done.stdout


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("gate", "runs/v1", "--baseline", "v9"), 2, "as a git ref: no such git ref 'v9'"),
        (("gate", "runs/v1", "--baseline", "--help"), 2, "'--help' is no git ref"),
        (("gate", "runs/v1", "--baseline", "https://127.0.0.1:1/b.json"), 2, "can't fetch it"),
        (("gate", "runs/v1", "--baseline", "runs/v1/recipe.toml"), 2, "no baseline: it is not JSON"),
        (("gate", "runs/v1", "--baseline", "runs/v1", "--comparison", "x.json"), 2, "x.json: no such file"),
        (("gate", "runs/v1", "--tolerance", "accuracy=1 pt"), 2, "there is no last release; give it with --baseline"),
        (("gate", "runs/v1", "--baseline", "runs/v1", "--tolerance", "acc"), 2, "'acc' is no tolerance"),
        (("promote", "nowhere"), 2, "neither a run folder"),
        (("promote", "runs/v1", "--out", "/proc/no/baseline.json"), 2, "/proc/no/baseline.json: can't write it"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = call(*arguments)
    assert done.returncode == code, done.stdout
    (line,) = done.stderr.splitlines()
    assert words in line


def test_a_file_that_was_swapped_after_measuring_is_not_promoted(repository: Path) -> None:
    (repository / "runs" / "v1" / "export" / "student.fp32.onnx").write_bytes(b"other")
    done = call("promote", "runs/v1", "--force")
    assert done.returncode == 2
    assert "not the file that was measured" in done.stderr
