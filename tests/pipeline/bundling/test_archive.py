"""Archives have one form, hold files alone, and no byte of them goes unchecked."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import StoreError
from edgekd.pipeline.bundling import archive
from edgekd.pipeline.bundling.archive import read_archive, write_archive

FILES: dict[str, Path | bytes] = {"a.json": b"{}\n", "export/größe.onnx": bytes(range(256)) * 5, "empty": b""}


def written(files: Mapping[str, Path | bytes] = FILES) -> bytes:
    out = io.BytesIO()
    write_archive(out, list(files.items()))
    return out.getvalue()


def read(content: bytes, limit_bytes: int = 10**6) -> dict[str, archive.Member]:
    return read_archive(io.BytesIO(content), "x.tar", lambda _: limit_bytes)


def foreign(*entries: tarfile.TarInfo | str, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive by Python's own tarfile."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for each in entries:
            entry = tarfile.TarInfo(each) if isinstance(each, str) else each
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    return out.getvalue()


def entry(name: str, **facts: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(made, key, value)
    return made


def test_what_was_written_is_read_with_its_places_and_hashes() -> None:
    content = written()
    found = read(content)
    assert list(found) == list(FILES)
    for name, held in FILES.items():
        assert isinstance(held, bytes)
        member = found[name]
        assert content[member.offset :][: member.size_bytes] == held
        assert member.sha256 == hashlib.sha256(held).hexdigest()
    out = io.BytesIO()
    assert write_archive(out, list(FILES.items())) == found


def test_these_are_the_bytes_on_any_python() -> None:
    digest = hashlib.sha256(written({"a/b.txt": b"text"})).hexdigest()
    assert digest == "1dae7ca19881ffd9ea5e163cec1822b748322636b4c79030360d159f5e8d203f"


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(written())
    listed = subprocess.run(["tar", "tvf", file], capture_output=True, text=True, check=True, env={"LC_ALL": "C.UTF-8"})
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert [(row[0], row[1], row[3], row[-1]) for row in rows] == [
        ("-rw-r--r--", "0/0", "1970-01-01", name) for name in FILES
    ]
    subprocess.run(["tar", "xf", file, "-C", tmp_path], check=True)
    assert (tmp_path / "export" / "größe.onnx").read_bytes() == FILES["export/größe.onnx"]


def test_a_file_on_disk_is_the_same_as_its_bytes(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"text")
    assert written({"a": place}) == written({"a": b"text"})
    with pytest.raises(StoreError, match="can't read it"):
        written({"a": tmp_path / "gone"})


def test_a_file_that_shrinks_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"text")
    monkeypatch.setattr(archive, "_size_of", lambda _: 5)
    with pytest.raises(StoreError, match="became shorter"):
        written({"a": place})


def test_every_bit_of_every_byte_counts() -> None:
    content = written({"a.txt": b"text"})
    good = {name: member.sha256 for name, member in read(content).items()}
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        try:
            assert {name: member.sha256 for name, member in read(bytes(changed)).items()} != good, place
        except StoreError:
            continue


@given(st.integers(0, 10239))
def test_what_is_cut_off_is_missed(length: int) -> None:
    with pytest.raises(StoreError, match="ends too early"):
        read(written({"a.txt": b"text"})[:length])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "ends too early"),
        (b"not a tar file" * 100, "no file begins at byte 0"),
        (written() + b"\0", "something lies behind its end"),
        (written() + written(), "something lies behind its end"),
        (foreign(entry("a", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "'a' is a symbolic link"),
        (foreign(entry("a", type=tarfile.LNKTYPE, linkname="b")), "'a' is a link"),
        (foreign(entry("a", type=tarfile.CHRTYPE)), "'a' is a device"),
        (foreign(entry("a", type=tarfile.BLKTYPE)), "'a' is a device"),
        (foreign(entry("a", type=tarfile.FIFOTYPE)), "'a' is a pipe"),
        (foreign(entry("a", type=tarfile.DIRTYPE)), "'a' is a folder"),
        (foreign("x" * 300, form=tarfile.PAX_FORMAT), "is an entry of type b'x'"),
        (foreign("x" * 300, form=tarfile.GNU_FORMAT), "is an entry of type b'L'"),
        (foreign("../a"), "'../a' leads elsewhere"),
        (foreign("a/../../b"), "leads elsewhere"),
        (foreign("./a"), "leads elsewhere"),
        (foreign("a//b"), "leads elsewhere"),
        (foreign("/etc/passwd"), "is an absolute path"),
        (foreign("C:/a"), "names a drive"),
        (foreign("c:a"), "names a drive"),
        (foreign("a\\b"), "has a backslash"),
        (foreign("a\nb"), "can't be printed"),
        (foreign("a\x1b[2J"), "can't be printed"),
        (foreign("a", "a"), "holds 'a' twice"),
        (foreign("a", "A"), "'A' and 'a' are one file on some systems"),
        (foreign("stra\u00dfe", "strasse"), "are one file on some systems"),
        (foreign("\u00e9", "e\u0301"), "are one file on some systems"),
        (foreign("a", "a/b"), "are one file on some systems"),
        (foreign("a/b", "A"), "are one file on some systems"),
        (foreign(entry("a", mtime=1)), "has an owner, a mode or a time of its own"),
        (foreign(entry("a", uid=1000)), "has an owner, a mode or a time of its own"),
        (foreign(entry("a", mode=0o4755)), "has an owner, a mode or a time of its own"),
        (foreign(entry("a", size=10**6 + 1)), "says to have 1,000,001 bytes; allowed: 1,000,000"),
    ],
)
def test_what_is_no_such_archive_is_one_line(content: bytes, words: str) -> None:
    with pytest.raises(StoreError) as refused:
        read(content)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("bomb", bytes(10**7))
    return out.getvalue()


def gzipped() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.addfile(entry("bomb", size=10**7), io.BytesIO(bytes(10**7)))
    return out.getvalue()


@pytest.mark.parametrize("pack", [zipped, gzipped])
def test_other_archives_are_refused(pack: Callable[[], bytes]) -> None:
    with pytest.raises(StoreError, match=r"no file begins at byte 0|ends too early"):
        read(pack())


def test_more_than_the_archive_holds_is_not_waited_for() -> None:
    block = entry("a", size=10**6).tobuf(tarfile.USTAR_FORMAT)
    with pytest.raises(StoreError, match="ends too early"):
        read(block + bytes(1000))


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    with pytest.raises(StoreError, match="holds more than 2 files"):
        read(foreign("a", "b", "c"))


@pytest.mark.parametrize("name", ["../a", "/a", "C:a", "a\\b", "x" * 300])
def test_what_could_not_be_read_is_not_written(name: str) -> None:
    with pytest.raises(StoreError):
        written({name: b""})
