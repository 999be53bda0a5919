"""Programs are put on a real far side, by adb and on this machine, and downloaded from a real server."""

from __future__ import annotations

import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import doctor, store
from edgekd.errors import ConfigError, TargetError
from edgekd.progress import Silent
from edgekd.records import Target
from edgekd.runtimes._benchmark_program import download, find_program, set_up
from edgekd.transports.adb import connect
from tests.transports import adbd as adbd_
from tests.transports.programs import write_program

NAME = "interpreter_benchmark"


@pytest.fixture
def mine(phone: Target) -> Target:
    return replace(phone, runtimes=("benchmark_model",), program=f"/data/local/tmp/edgekd/{NAME}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of the user's."""
    script = Path(__file__).with_name("interpreter_benchmark.py")
    write_program(tmp_path / "source" / NAME, f'exec "{sys.executable}" "{script}" classic "$@"')
    return tmp_path / "source"


@pytest.fixture(autouse=True)
def _nothing_there(adbd: adbd_.Phone) -> None:
    shutil.rmtree(adbd.folder / "edgekd", ignore_errors=True)


def test_it_is_put_there_and_stays(mine: Target, adbd: adbd_.Phone, source: Path) -> None:
    doctor.set_up(mine, source=source, keep=None, progress=Silent())
    there = adbd.folder / "edgekd" / NAME
    assert there.read_bytes() == (source / NAME).read_bytes()
    assert there.stat().st_mode & 0o777 == 0o755
    assert [each.name for each in there.parent.iterdir()] == [NAME]
    with connect(mine) as transport:
        program = find_program(transport, mine)
    assert (program.sha256, "use_xnnpack" in program.knows) == (store.sha256_of(there), True)
    finding = doctor.check_target(mine)[-1]
    assert (finding.name, finding.right) == ("runtime benchmark_model", True)


def test_it_is_pushed_only_where_it_differs_be_it_of_the_same_size(
    mine: Target, adbd: adbd_.Phone, source: Path
) -> None:
    there = adbd.folder / "edgekd" / NAME
    with connect(mine) as transport:
        set_up(transport, target=mine, source=source, keep=None)
        first = there.stat().st_ino
        set_up(transport, target=mine, source=source, keep=None)
        assert there.stat().st_ino == first
        content = (source / NAME).read_bytes()
        (source / NAME).write_bytes(content.replace(b"classic", b"litert "))
        set_up(transport, target=mine, source=source, keep=None)
    assert there.stat().st_ino != first
    assert there.read_bytes() == (source / NAME).read_bytes()
    assert len(content) == (source / NAME).stat().st_size


def test_one_that_does_not_run_there_takes_no_place(mine: Target, adbd: adbd_.Phone, source: Path) -> None:
    there = adbd.folder / "edgekd" / NAME
    with connect(mine) as transport:
        set_up(transport, target=mine, source=source, keep=None)
        content = there.read_bytes()
        # Of another processor: the head of an arm64 program.
        (source / NAME).write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100))
        with pytest.raises(TargetError, match=r"does not answer as benchmark_model does: .*is it for this processor"):
            set_up(transport, target=mine, source=source, keep=None)
    assert there.read_bytes() == content
    assert [each.name for each in there.parent.iterdir()] == [NAME]


def test_one_that_lists_flags_must_list_those_that_are_needed(mine: Target, adbd: adbd_.Phone) -> None:
    listed = "INFO: STARTING!\\nFlags:\\n\\t--graph=\\tstring\\n\\t--num_runs=50\\tint32\\n\\t--min_secs=1\\tfloat\\n"
    write_program(adbd.folder / "edgekd" / NAME, f"printf '{listed}'")
    with connect(mine) as transport, pytest.raises(TargetError) as refused:
        find_program(transport, mine)
    text = str(refused.value)
    assert (
        f"{NAME} does not know --max_secs --num_threads --warmup_min_secs --warmup_runs; edgekd targets setup" in text
    )


def test_a_folder_without_it(mine: Target, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=rf"none of {NAME}, benchmark_model, android_aarch64_benchmark_model in "):
        doctor.set_up(mine, source=tmp_path, keep=None, progress=Silent())


def test_the_published_name_will_do(mine: Target, adbd: adbd_.Phone, source: Path) -> None:
    (source / NAME).rename(source / "android_aarch64_benchmark_model")
    doctor.set_up(mine, source=source, keep=None, progress=Silent())
    assert (adbd.folder / "edgekd" / NAME).exists()


def test_a_pinned_one_is_the_only_one(mine: Target, adbd: adbd_.Phone, source: Path) -> None:
    pinned = replace(mine, program_sha256=store.sha256_of(source / NAME))
    doctor.set_up(pinned, source=source, keep=None, progress=Silent())
    with pytest.raises(TargetError, match=r"not 111111111111…, which the target pins"):
        doctor.set_up(replace(mine, program_sha256="1" * 64), source=source, keep=None, progress=Silent())
    (adbd.folder / "edgekd" / NAME).write_text("changed")
    finding = doctor.check_target(pinned)[-1]
    assert not finding.right
    assert "which the target pins" in finding.detail


def test_nothing_is_downloaded_that_nobody_has_vouched_for(mine: Target, adbd: adbd_.Phone) -> None:
    # What a phone says of its processor.
    write_program(adbd.folder / "bin" / "uname", "echo aarch64")
    try:
        with pytest.raises(ConfigError) as refused:
            doctor.set_up(mine, source=None, keep=None, progress=Silent())
    finally:
        (adbd.folder / "bin" / "uname").unlink()
    text = str(refused.value)
    assert "/android_arm64/benchmark_model must be: it is published without a sum" in text
    assert "--from FOLDER" in text
    assert "program_sha256" in text
    with pytest.raises(TargetError, match="no published benchmark_model for this processor"):
        doctor.set_up(mine, source=None, keep=None, progress=Silent())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "benchmark_model").write_bytes(bytes(range(256)) * 1000)
    handler = lambda *words: Quiet(*words, directory=str(tmp_path / "web"))  # noqa: E731 - a class's stand-in
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_comes_whole(server: str, tmp_path: Path) -> None:
    download(f"{server}/benchmark_model", tmp_path / "it", "phone", "")
    assert (tmp_path / "it").read_bytes() == bytes(range(256)) * 1000


@pytest.mark.parametrize("address", ["{server}/nothing", "http://127.0.0.1:9/it", "http://no-such-host.invalid/it"])
def test_a_download_that_fails_says_the_other_way(server: str, address: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as refused:
        download(address.format(server=server), tmp_path / "it", "phone", "take a file of yours")
    text = str(refused.value)
    assert text.startswith("phone: can't download ")
    assert text.endswith("; take a file of yours")
    assert "\n" not in text
