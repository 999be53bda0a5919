"""What is written is whole or absent, what is locked is refused, and what changed is noticed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import store
from edgekd.errors import StoreError
from edgekd.records import Conditions, Measurement

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
HOLDER = """
import sys
from pathlib import Path
from edgekd.store import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
# A file system of 256 kB that ends with the process that made it: the mount is in a namespace of its own.
FULL_DISK = """
import os, sys
from pathlib import Path
from edgekd.errors import StoreError
from edgekd.store import write_bytes
folder = Path(sys.argv[1])
write_bytes(folder / "model", b"old")
try:
    write_bytes(folder / "model", bytes(1_000_000))
except StoreError as error:
    print(error)
print(sorted(os.listdir(folder)), (folder / "model").read_bytes())
"""


def measurement(samples: list[float], host: str = "") -> Measurement:
    return Measurement(
        model_sha256="0" * 64,
        model="m",
        format="tflite",
        precision="fp32",
        role="student",
        target="host",
        metric="latency",
        unit="s",
        samples=tuple(samples),
        conditions=Conditions(host=host),
    )


def listing(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def finished(folder: Path) -> store.RunFolder:
    run = store.RunFolder(folder)
    output = run.begin("export") / "files" / "model.onnx"
    store.write_bytes(output, b"weights")
    run.finish("export", "f1", [output])
    return run


# --- writing -------------------------------------------------------------------------------------


def test_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result"
    store.write_bytes(path, b"old")

    def write_half() -> None:
        with store.atomic_path(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["result"]


def test_the_new_file_takes_the_old_one_s_place_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "result"
    store.write_bytes(path, b"old")
    with store.atomic_path(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert listing(tmp_path) == ["result"]


def test_folder_that_can_t_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="can't write it") as caught:
        store.write_bytes(tmp_path / "file" / "result", b"x")
    assert "--out" in (caught.value.next_step or "")


def test_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=256k tmpfs "$1"'
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
    if not shutil.which("unshare"):
        pytest.skip("no `unshare` (util-linux, Linux only) to mount a small file system with")
    trial = subprocess.run([*namespace, mount, "sh", str(tmp_path)], capture_output=True, text=True, check=False)
    if trial.returncode:
        pytest.skip(f"can't mount a small file system here: {trial.stderr.strip()}")
    done = subprocess.run(
        [*namespace, f'{mount}; "$2" -c "$3" "$1"', "sh", str(tmp_path), sys.executable, FULL_DISK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the disk is full; nothing half-written was left" in done.stdout
    assert "['model'] b'old'" in done.stdout


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_refused(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        store.write_json(tmp_path / "m.json", measurement([1.0, number]))
    assert listing(tmp_path) == []


# --- reading -------------------------------------------------------------------------------------


@settings(deadline=None)  # it waits for the disk
@given(samples=st.lists(NUMBERS, max_size=20), host=st.text(max_size=20))
def test_records_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, samples: list[float], host: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "measurements.json"
    written = [measurement(samples, host), measurement([])]
    store.write_json(path, written)
    assert store.read_json(path, list[Measurement]) == written


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.json: no such file"):
        store.read_json(tmp_path / "gone.json", Measurement)


def test_folder_in_place_of_a_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't read it"):
        store.read_json(tmp_path, Measurement)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file: Invalid JSON"),
        (b'{"fingerprint": "f", "outputs": {"a"', "file: Invalid JSON"),
        (b"\xff\xfe\x00", "file: Invalid JSON"),
        (b'{"fingerprint": "f"}', "outputs: Field required"),
        (b'{"fingerprint": "f", "outputs": {"a": 1}}', "outputs.a: "),
    ],
)
def test_content_that_is_no_record_names_file_and_key(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "stage.json"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        store.read_json(path, store.StageRecord)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


# --- hashes --------------------------------------------------------------------------------------


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    # FIPS 180-4's example "abc".
    (tmp_path / "abc").write_bytes(b"abc")
    assert store.sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(StoreError, match="can't read it"):
        store.sha256_of(tmp_path / "gone")


def test_fingerprint_is_the_same_in_a_process_with_other_hash_seeds() -> None:
    code = "from edgekd.store import fingerprint; print(fingerprint({'b': 1, 'a': [2.5, None]}, 'x'))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert seen == {store.fingerprint({"a": (2.5, None), "b": 1}, "x")}


@given(parts=st.lists(st.text(max_size=5), min_size=2, max_size=2))
def test_fingerprint_keeps_parts_apart(parts: list[str]) -> None:
    assert store.fingerprint(*parts) != store.fingerprint("".join(parts))


def test_fingerprint_of_code_covers_every_file_of_a_folder() -> None:
    everything = store.code_fingerprint(".")
    assert everything != store.code_fingerprint("store.py")
    assert store.code_fingerprint("store.py", "errors.py") == store.code_fingerprint("errors.py", "store.py")


def test_versions_are_those_that_are_installed() -> None:
    import numpy as np

    assert store.tool_versions("numpy", "no-such-distribution") == {
        "numpy": np.__version__,
        "no-such-distribution": "absent",
    }


# --- the run folder ------------------------------------------------------------------------------


def test_lock_of_another_process_is_refused_and_dies_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another edgekd is working"), store.RunFolder(tmp_path).lock():
            pass
        holder.send_signal(signal.SIGKILL)
        assert holder.wait(timeout=30) == -signal.SIGKILL
    with store.RunFolder(tmp_path).lock():
        pass


def test_lock_is_freed_when_the_work_fails(tmp_path: Path) -> None:
    run = store.RunFolder(tmp_path / "new" / "run")
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError
    with run.lock():
        pass


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from edgekd.store import atomic_path\n"
        "with atomic_path(Path(sys.argv[1]) / 'export' / 'model') as partial:\n"
        "    partial.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(listing(tmp_path / "export")) == 1
    with store.RunFolder(tmp_path).lock():
        assert listing(tmp_path / "export") == []


def test_a_stage_is_done_for_its_own_fingerprint_only(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert run.is_done("export", "f1")
    assert not run.is_done("export", "f2")
    assert not run.is_done("distill", "f1")


def test_a_stage_that_began_again_is_not_done_and_keeps_its_files(tmp_path: Path) -> None:
    run = finished(tmp_path)
    folder = run.begin("export")
    assert not run.is_done("export", "f1")
    assert (folder / "files" / "model.onnx").read_bytes() == b"weights"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"weightz")])
def test_output_that_is_gone_or_changed_undoes_the_stage(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    run = finished(tmp_path)
    assert run.damaged("export") == []
    damage(tmp_path / "export" / "files" / "model.onnx")
    assert run.damaged("export") == ["files/model.onnx"]
    assert not run.is_done("export", "f1")


def test_stage_record_holds_the_sha256_of_its_outputs(tmp_path: Path) -> None:
    finished(tmp_path)
    record = store.read_json(tmp_path / "export" / "stage.json", store.StageRecord)
    assert record.outputs == {"files/model.onnx": hashlib.sha256(b"weights").hexdigest()}


def test_a_file_that_is_larger_than_any_of_ours_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "report.json").open("wb") as file:
        file.truncate(1_000_000_000)  # of holes: it takes no room
    with pytest.raises(StoreError, match="1000 MB, more than edgekd writes"):
        store.read_json(tmp_path / "report.json", list[int])


def test_fingerprints_tell_numbers_apart() -> None:
    assert store.fingerprint((1.0, 2.0)) != store.fingerprint((2.0, 1.0))
    assert store.fingerprint((1.0,)) != store.fingerprint((1,))
    assert store.fingerprint([1.0, 2.5]) == store.fingerprint((1.0, 2.5))
    assert store.fingerprint([0.1 + 0.2]) != store.fingerprint([0.3])
