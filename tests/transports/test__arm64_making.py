"""What a set-up does when it can't go on; the real one takes a network and is what the other tests run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import StoreError, TargetError
from edgekd.records import Target
from edgekd.transports.emulated_arm64 import set_up

NAMES = (
    "python3_3.11.2-1_arm64.deb",
    "libstdc++6_12.2.0-14_arm64.deb",
    "numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl",
    "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl",
    "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl",
)


def target_in(folder: Path) -> Target:
    return Target(name="arm", description="", transport="emulated_arm64", runtimes=(), address=str(folder / "root"))


def test_a_folder_that_lacks_something_is_told_of_it(tmp_path: Path) -> None:
    source = tmp_path / "packages"
    source.mkdir()
    (source / NAMES[0]).touch()
    (source / NAMES[2]).touch()
    expected = r"arm: .*packages has no package or wheel of libstdc\+\+6, onnxruntime, ai-edge-litert; .*--keep FOLDER"
    with pytest.raises(TargetError, match=expected) as raised:
        set_up(target_in(tmp_path), source=source)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "root").exists()


def test_what_was_there_stays_when_the_new_one_can_t_be_made(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "root.json").write_text("{}")
    source = tmp_path / "packages"
    source.mkdir()
    for name in NAMES:
        (source / name).write_bytes(b"no archive")
    with pytest.raises(TargetError, match=r"arm: (un)?(packing|reading) "):
        set_up(target_in(tmp_path), source=source)
    assert [file.name for file in (tmp_path / "root").iterdir()] == ["root.json"]
    assert not list(tmp_path.glob(".partial-*"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "thesis.tex").touch()
    with pytest.raises(StoreError, match="not a root file system"):
        set_up(target_in(tmp_path), source=tmp_path)
    assert (tmp_path / "root" / "thesis.tex").exists()


def test_without_apt_the_way_out_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match=r"needs 'apt-get', which is not here; .*--from FOLDER"):
        set_up(target_in(tmp_path))
