"""Pictures that Pillow wrote and photographs that cameras did."""

from __future__ import annotations

import io
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.datasets import fingerprint_of, image_folder, open_dataset
from edgekd.errors import ConfigError, DataError
from edgekd.records import DataSpec

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (24, 24, 3), np.uint8)


def save(root: Path, name: str, picture: Image.Image, **options: Any) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, **options)
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for number in range(10):
        save(root, f"cat/{number}.png", Image.fromarray(np.roll(COLOURS, number, axis=0)))
        save(root, f"dog/{number}.JPG", Image.fromarray(np.roll(COLOURS, number, axis=1)), quality=95)
    (root / "cat" / "notes.txt").write_text("no picture")
    (root / "cat" / "._0.png").write_bytes(b"what macOS leaves")
    return root


def test_pixels_are_pillow_s_channels_first(pictures: Path) -> None:
    source = image_folder.load(path=pictures, size=24)
    assert source.classes == ("cat", "dog")
    assert source.train.inputs.shape == (20, 3, 24, 24)
    assert source.train.inputs.dtype == np.uint8
    assert source.scale == 1 / 255
    assert source.train.labels.tolist() == [0] * 10 + [1] * 10
    for number in range(10):
        np.testing.assert_array_equal(source.train.inputs[number], np.roll(COLOURS, number, axis=0).transpose(2, 0, 1))
        with Image.open(pictures / "dog" / f"{number}.JPG") as picture:
            np.testing.assert_array_equal(source.train.inputs[10 + number], np.asarray(picture).transpose(2, 0, 1))


def test_kinds_of_pixels_become_what_is_asked_for(tmp_path: Path) -> None:
    grey = COLOURS[..., 0]
    expected = {
        "a-grey": grey,
        "b-16-bit": grey,
        "c-palette": np.asarray(Image.fromarray(grey).convert("P").convert("L")),
        "d-transparent": np.where(np.arange(24)[:, None] < 12, 0, grey),
        "e-one-bit": np.where(grey > 127, 255, 0),
    }
    save(tmp_path, "x/a-grey.png", Image.fromarray(grey))
    save(tmp_path, "x/b-16-bit.png", Image.fromarray(grey.astype(np.uint16) * 257))
    save(tmp_path, "x/c-palette.png", Image.fromarray(grey).convert("P"))
    alpha = np.where(np.arange(24)[:, None] < 12, 0, 255) * np.ones((1, 24))
    save(tmp_path, "x/d-transparent.png", Image.fromarray(np.dstack([grey, grey, grey, alpha.astype(np.uint8)])))
    save(tmp_path, "x/e-one-bit.png", Image.fromarray(grey > 127))
    for channels in (1, 3):
        source = image_folder.load(path=tmp_path, size=24, channels=channels)
        assert source.train.inputs.shape == (5, channels, 24, 24)
        for pixels, (name, values) in zip(source.train.inputs, expected.items(), strict=True):
            for channel in pixels:
                np.testing.assert_array_equal(channel, values, err_msg=name)


def test_photographs_are_turned_upright_and_keep_proportions_or_margins(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned: shown rotated by 90 degrees clockwise
    save(tmp_path, "x/a.png", Image.fromarray(wide))
    save(tmp_path, "x/b.png", Image.fromarray(wide), exif=turned)
    cropped = image_folder.load(path=tmp_path, size=20).train.inputs
    np.testing.assert_array_equal(cropped[0], wide[:, 20:40].transpose(2, 0, 1))
    upright, sideways = image_folder.load(path=tmp_path, size=30, fit="stretch").train.inputs
    np.testing.assert_array_equal(upright[:, 15, [2, 15, 27]], np.diag([255] * 3))
    np.testing.assert_array_equal(sideways[:, [2, 15, 27], 15], np.diag([255] * 3))


def test_big_sets_lie_in_a_memory_mapped_file_which_is_found_again(pictures: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options: dict[str, Any] = {"path": pictures, "size": 24, "cache_folder": cache}
    small = image_folder.load(**options)
    assert not cache.exists()
    mapped = image_folder.load(**options, memory_mb=0.01)
    assert isinstance(mapped.train.inputs, np.memmap)
    np.testing.assert_array_equal(mapped.train.inputs, small.train.inputs)
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns
    image_folder.load(**options, memory_mb=0.01)
    assert [(each, each.stat().st_mtime_ns) for each in cache.iterdir()] == [(file, before)]
    shutil.copytree(pictures, tmp_path / "moved")
    image_folder.load(**{**options, "path": tmp_path / "moved"}, memory_mb=0.01)
    assert [each.stat().st_mtime_ns for each in cache.iterdir()] == [before]
    save(pictures, "cat/0.png", Image.fromarray(255 - COLOURS))
    changed = image_folder.load(**options, memory_mb=0.01)
    np.testing.assert_array_equal(changed.train.inputs[0], 255 - COLOURS.transpose(2, 0, 1))
    assert len(list(cache.iterdir())) == 2
    # What is drawn of it stays on disk, and is the same as of the one in memory.
    parts = [open_dataset(DataSpec(source="image_folder", options={**options, "memory_mb": mb})) for mb in (0.01, 99)]
    for name in ("train", "validation", "test"):
        one, other = (getattr(data, name) for data in parts)
        assert isinstance(one.inputs, np.memmap)
        assert not isinstance(other.inputs, np.memmap)
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.positions, other.positions)
    assert len(list(cache.iterdir())) == 2, "copies have no name"
    assert parts[0].sha256 == parts[1].sha256
    file.unlink()
    bad = pictures / "dog" / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        image_folder.load(**options, memory_mb=0.01)
    assert len(list(cache.iterdir())) == 1, "nothing half-made is left"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def hostile() -> dict[str, bytes]:
    whole = io.BytesIO()
    Image.fromarray(COLOURS).save(whole, "PNG")
    header = (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(999)))
    photo = io.BytesIO()
    Image.fromarray(COLOURS).save(photo, "JPEG")
    floats = io.BytesIO()
    Image.fromarray(COLOURS[..., 0].astype(np.float32)).save(floats, "TIFF")
    return {
        "empty": b"",
        "text": b"<html>not found</html>",
        "cut": whole.getvalue()[:300],
        "cut photo": photo.getvalue()[:400],
        "bomb": bomb,
        "floats": floats.getvalue(),
    }


@pytest.mark.parametrize("kind", hostile())
def test_a_bad_picture_is_named(pictures: Path, kind: str) -> None:
    bad = pictures / "dog" / "bad.png"
    bad.write_bytes(hostile()[kind])
    with pytest.raises(DataError, match="not a readable picture") as caught:
        image_folder.load(path=pictures, size=24)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_hold_nothing_say_so(pictures: Path, tmp_path: Path) -> None:
    (pictures / "hen").mkdir()
    with pytest.raises(DataError, match=r"hen: holds no files; allowed: some of .*\.jpg"):
        image_folder.load(path=pictures)
    (tmp_path / "flat").mkdir()
    with pytest.raises(DataError, match=r"flat: holds no folders; put the files of each class"):
        image_folder.load(path=tmp_path / "flat")
    with pytest.raises(DataError, match=r"data.path: no file or folder 'nowhere'"):
        image_folder.load(path=Path("nowhere"))
    with pytest.raises(ConfigError, match="size = 0"):
        image_folder.load(path=pictures, size=0)


def test_the_fingerprint_is_of_pictures_not_of_where_they_or_their_cache_lie(pictures: Path, tmp_path: Path) -> None:
    def fingerprint(path: Path, **options: Any) -> str:
        return fingerprint_of(DataSpec(source="image_folder", options={"path": str(path), **options}))

    first = fingerprint(pictures)
    for file in pictures.rglob("*.*"):
        os.utime(file, (1, 1))
    shutil.copytree(pictures, tmp_path / "moved")
    assert fingerprint(tmp_path / "moved") == first
    assert fingerprint(pictures, cache_folder=str(tmp_path / "cache")) == first
    assert fingerprint(pictures, size=32) != first
    (tmp_path / "moved" / "cat").rename(tmp_path / "moved" / "tom")
    assert fingerprint(tmp_path / "moved") != first


def test_photographs_of_imagenet_are_read(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "imagenet_100").glob("*.JPEG"))[:12]
    (tmp_path / "x").mkdir()
    for file in files:
        (tmp_path / "x" / file.name.replace(".JPEG", ".jpeg")).symlink_to(file)
    pixels = image_folder.load(path=tmp_path, size=64).train.inputs
    for file, found in zip(files, pixels, strict=True):
        with Image.open(file) as picture:
            side = min(picture.size)
            left, top = ((length - side) / 2 for length in picture.size)
            box = (left, top, left + side, top + side)
            wanted = picture.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR, box=box)
        # The JPEG decoder's own halving is a box filter, so pixels differ a little from those of the full photo.
        assert np.abs(found.transpose(1, 2, 0).astype(float) - np.asarray(wanted)).mean() < 3, file.name
