"""Files at a ref, from a real repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekd.errors import StoreError
from edgekd.pipeline.baseline.git import current_commit, read_blob

LIMIT = 1000


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(empty_repository: Path) -> Path:
    """A repository with two commits of a file, the first of them tagged; it is the working folder."""
    for text in ("first", "second"):
        (empty_repository / "kept").mkdir(exist_ok=True)
        (empty_repository / "kept" / "file.json").write_text(text)
        git("add", "kept")
        git("commit", "--quiet", "--message", text)
        if text == "first":
            git("tag", "v1.0.0")
    return empty_repository


@pytest.mark.parametrize(
    ("ref", "text"),
    [("main", "second"), ("v1.0.0", "first"), ("HEAD~1", "first"), ("HEAD^", "first"), ("refs/tags/v1.0.0", "first")],
)
def test_a_file_is_read_as_it_was(repository: Path, ref: str, text: str) -> None:
    (repository / "kept" / "file.json").write_text("not committed")
    assert read_blob(ref, "kept/file.json", limit_bytes=LIMIT) == text.encode()


def test_from_a_folder_of_the_repository_paths_still_begin_at_its_root(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "kept")
    assert read_blob("main", "kept/file.json", limit_bytes=LIMIT) == b"second"


@pytest.mark.usefixtures("repository")
def test_a_short_hash_is_a_ref() -> None:
    assert read_blob(git("rev-parse", "--short", "HEAD~1"), "kept/file.json", limit_bytes=LIMIT) == b"first"


@pytest.mark.parametrize(
    ("ref", "path", "words"),
    [
        ("v9", "kept/file.json", "no such git ref 'v9'; in CI fetch it first"),
        ("main", "gone.json", "main:gone.json: no such file at that commit"),
        ("main", "kept", "main:kept: no such file at that commit"),
        ("main", "/etc/passwd", "outside the repository"),
        ("main", "../../etc/passwd", "outside the repository"),
        ("", "kept/file.json", "'' is no git ref"),
        ("--output=pwned", "kept/file.json", "'--output=pwned' is no git ref"),
        ("-h", "kept/file.json", "'-h' is no git ref"),
        ("main --output=pwned", "kept/file.json", "no such git ref"),
        ("$(touch pwned)", "kept/file.json", "no such git ref"),
        ("HEAD:kept", "file.json", "no such git ref"),
    ],
)
def test_what_is_not_there_is_said_and_no_option_gets_through(
    repository: Path, ref: str, path: str, words: str
) -> None:
    with pytest.raises(StoreError) as caught:
        read_blob(ref, path, limit_bytes=LIMIT)
    assert words in str(caught.value)
    assert sorted(each.name for each in repository.iterdir()) == [".git", "kept"]


@pytest.mark.usefixtures("repository")
def test_a_large_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(StoreError, match=r"main:kept/file\.json: 6 bytes; allowed: at most 5"):
        read_blob("main", "kept/file.json", limit_bytes=5)


def test_without_a_repository_or_git_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(StoreError, match="git says: not a git repository"):
        read_blob("main", "file.json", limit_bytes=LIMIT)
    assert current_commit() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="git is not installed"):
        read_blob("main", "file.json", limit_bytes=LIMIT)
    assert current_commit() == ""


def test_the_commit_that_is_checked_out_tells_of_changes(repository: Path) -> None:
    commit = git("rev-parse", "HEAD")
    assert current_commit() == commit
    (repository / "new").touch()
    assert current_commit() == commit
    (repository / "kept" / "file.json").write_text("third")
    assert current_commit() == f"{commit}+"
