"""A run that is killed at any moment and started again ends with the same bytes as one that was not."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Hashes = Callable[[Path], dict[str, str]]


# Up to the last step whose bytes must be the same; the slow test runs all of them.
COMMAND = "export"
# So many views that the teacher's cache is long in the making, and all that training may do besides.
CACHED = (
    *("--set", "distill.augmentations=[{name='mixup'}]"),
    *("--set", "distill.views=120"),
    *("--set", "distill.epochs=5"),
    *("--set", "distill.ema=0.9"),
    *("--set", "distill.seeds=2"),
    *("--set", "distill.control=true"),
    *("--set", "distill.weak_teachers='warn'"),
    *("--set", "teachers.0.train.epochs=4"),
    *("--set", "assistants=[{model='own:build', width=64, train={epochs=4, batch_size=32}}]"),
)


@pytest.fixture(scope="module")
def undisturbed(edgekd: Command, tiny: Path) -> tuple[Path, float]:
    started = time.monotonic()
    finished = edgekd(COMMAND, "tiny.toml", "--out", "undisturbed", cwd=tiny)
    assert finished.returncode == 0, finished.stderr
    return tiny / "undisturbed", time.monotonic() - started


@pytest.fixture(scope="module")
def undisturbed_run(edgekd: Command, tiny: Path) -> tuple[Path, float]:
    """As above, with all steps: packages hold nothing of a killed run either."""
    started = time.monotonic()
    folder = tiny / "undisturbed-run"
    finished = edgekd("run", "tiny.toml", "--out", folder, cwd=tiny, env=own_cache_of(folder))
    assert finished.returncode == 0, finished.stderr
    return folder, time.monotonic() - started


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed_cache(edgekd: Command, tiny: Path) -> tuple[Path, float]:
    """As above, with all of `CACHED`; the cache lies beside the run."""
    started = time.monotonic()
    folder = tiny / "undisturbed-cache"
    finished = edgekd("distill", "tiny.toml", "--out", folder, *CACHED, cwd=tiny, env=own_cache_of(folder))
    assert finished.returncode == 0, finished.stderr
    return folder, time.monotonic() - started


def own_cache_of(folder: Path) -> dict[str, str]:
    """A run that finds another's cache would not build one."""
    return {"EDGEKD_CACHE": str(folder.with_name(f"{folder.name}-cache"))}


def shards(folder: Path) -> dict[str, str]:
    """Hash all that a run's caches hold."""
    root = Path(own_cache_of(folder)["EDGEKD_CACHE"]) / "teachers"
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("view-*.logits"))
    }


@contextlib.contextmanager
def group_of(process: subprocess.Popen[str]) -> Iterator[int]:
    try:
        yield os.getpgid(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def manifest(folder: Path) -> dict[str, str]:
    """All but what measures time, and what is made of that."""
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    timed = ("benchmark/", "package/", "gate/", "report/")
    return {name: file["sha256"] for name, file in listed.items() if not name.startswith(timed)}


def assert_the_same(folder: Path, reference: Path, hashes: Hashes) -> None:
    assert hashes(folder) == hashes(reference)
    assert manifest(folder) == manifest(reference)
    assert not list(folder.rglob(".partial-*"))
    assert not list(folder.rglob("checkpoint.pt"))


def kill_and_run_again(
    command: str, folder: Path, delay_s: float, edgekd: Command, start: Start, tiny: Path, *options: str
) -> None:
    arguments = (command, "tiny.toml", "--out", folder, *options)
    process = start(*arguments, cwd=tiny, env=own_cache_of(folder))
    with group_of(process), contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay_s)
    if process.returncode == 0:  # this machine has become faster
        shutil.rmtree(folder)
        shutil.rmtree(own_cache_of(folder)["EDGEKD_CACHE"])
        kill_and_run_again(command, folder, delay_s / 2, edgekd, start, tiny, *options)
        return
    assert process.returncode == -signal.SIGKILL
    again = edgekd(*arguments, cwd=tiny, env=own_cache_of(folder))
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(
    edgekd: Command, tiny: Path, undisturbed: tuple[Path, float], hashes: Hashes, tmp_path: Path
) -> None:
    assert edgekd(COMMAND, "tiny.toml", "--out", tmp_path / "other", cwd=tiny).returncode == 0
    assert_the_same(tmp_path / "other", undisturbed[0], hashes)


@pytest.mark.slow
def test_training_goes_on_after_its_last_epoch(
    edgekd: Command, start: Start, tiny: Path, undisturbed: tuple[Path, float], hashes: Hashes, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    log = folder / "log.txt"
    process = start(COMMAND, "tiny.toml", "--out", folder, cwd=tiny)
    with group_of(process):
        wait_for(lambda: log.exists() and "student: epoch 5/" in log.read_text(), process)
    assert not (folder / "distill" / "stage.json").exists()
    again = edgekd(COMMAND, "tiny.toml", "--out", folder, cwd=tiny)
    assert again.returncode == 0, again.stderr
    assert "student: going on after epoch" in again.stderr
    assert "teachers: nothing changed" in again.stderr
    assert_the_same(folder, undisturbed[0], hashes)


@pytest.mark.slow
@pytest.mark.parametrize("trial", [0, 1])
def test_a_killed_run_ends_with_the_same_bytes(
    trial: int,
    edgekd: Command,
    start: Start,
    tiny: Path,
    undisturbed: tuple[Path, float],
    hashes: Hashes,
    tmp_path: Path,
) -> None:
    reference, took_s = undisturbed
    delay_s = random.Random(trial).uniform(0.1, 0.9) * took_s  # noqa: S311 - any moment will do
    kill_and_run_again(COMMAND, tmp_path / "killed", delay_s, edgekd, start, tiny)
    assert_the_same(tmp_path / "killed", reference, hashes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_killed_runs_end_with_the_same_bytes(
    edgekd: Command, start: Start, tiny: Path, undisturbed_run: tuple[Path, float], hashes: Hashes, tmp_path: Path
) -> None:
    reference, took_s = undisturbed_run
    moments = random.Random(20)  # noqa: S311 - any moment will do
    for trial in range(20):
        folder = tmp_path / f"killed-{trial}"
        kill_and_run_again("run", folder, moments.uniform(0.1, 1.0) * took_s, edgekd, start, tiny)
        assert_the_same(folder, reference, hashes)


@pytest.mark.slow
def test_a_killed_cache_goes_on_at_the_first_shard_that_is_missing(
    edgekd: Command, start: Start, tiny: Path, undisturbed_cache: tuple[Path, float], hashes: Hashes, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    arguments = ("distill", "tiny.toml", "--out", folder, *CACHED)
    process = start(*arguments, cwd=tiny, env=own_cache_of(folder))
    with group_of(process):
        wait_for(lambda: len(shards(folder)) >= 3, process)
    root = Path(own_cache_of(folder)["EDGEKD_CACHE"]) / "teachers"
    before = {file: file.stat().st_mtime_ns for file in root.rglob("view-*.logits")}
    reference = undisturbed_cache[0]
    assert 3 <= len(before) < len(shards(reference))
    again = edgekd(*arguments, cwd=tiny, env=own_cache_of(folder))
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert shards(folder) == shards(reference)
    assert_the_same(folder, reference, hashes)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("trial", range(2))
def test_a_killed_run_with_all_of_it_ends_with_the_same_bytes(
    trial: int,
    edgekd: Command,
    start: Start,
    tiny: Path,
    undisturbed_cache: tuple[Path, float],
    hashes: Hashes,
    tmp_path: Path,
) -> None:
    reference, took_s = undisturbed_cache
    folder = tmp_path / "killed"
    delay_s = random.Random(trial).uniform(0.2, 0.9) * took_s  # noqa: S311 - any moment will do
    kill_and_run_again("distill", folder, delay_s, edgekd, start, tiny, *CACHED)
    assert shards(folder) == shards(reference)
    assert_the_same(folder, reference, hashes)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_killed_runs_with_all_of_it_end_with_the_same_bytes(
    edgekd: Command, start: Start, tiny: Path, undisturbed_cache: tuple[Path, float], hashes: Hashes, tmp_path: Path
) -> None:
    reference, took_s = undisturbed_cache
    moments = random.Random(21)  # noqa: S311 - any moment will do
    for trial in range(20):
        folder = tmp_path / f"killed-{trial}"
        kill_and_run_again("distill", folder, moments.uniform(0.1, 0.95) * took_s, edgekd, start, tiny, *CACHED)
        assert shards(folder) == shards(reference)
        assert_the_same(folder, reference, hashes)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["distill", "export"])
def test_ctrl_c_leaves_a_run_that_can_go_on(
    stage: str,
    edgekd: Command,
    start: Start,
    tiny: Path,
    undisturbed: tuple[Path, float],
    hashes: Hashes,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "interrupted"
    sign = {"distill": "distill/checkpoint.pt", "export": "export/.partial-*"}[stage]
    process = start(COMMAND, "tiny.toml", "--out", folder, cwd=tiny)
    with group_of(process) as group:
        wait_for(lambda: bool(list(folder.glob(sign))), process)
        os.killpg(group, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, (stdout, stderr)
    assert stderr.splitlines()[-1] == "interrupted; the same command goes on where this one stopped"
    assert "Traceback" not in stderr
    assert "error" not in stderr
    assert stdout == ""
    assert not list(folder.rglob(".partial-*"))
    assert edgekd(COMMAND, "tiny.toml", "--out", folder, cwd=tiny).returncode == 0
    assert_the_same(folder, undisturbed[0], hashes)
