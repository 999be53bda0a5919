"""Logits come back as NumPy rounds them, or with an error; what was computed is never lost and never mixed up."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from edgekd.cache import (
    DENSE_CLASSES,
    CacheManifest,
    TeacherCache,
    building,
    cache_folders,
    cache_root,
    choose_kept,
    clear_cache,
    sample_bytes,
)
from edgekd.errors import ConfigError, StoreError

HALF = 2.0**-11  # of float16: half a unit in the last place, relative to a number that is not subnormal
HOLDER = """
import sys
from pathlib import Path
from edgekd.cache import building
with building(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def manifest_of(**changes: Any) -> CacheManifest:
    plain = CacheManifest(
        teacher="t",
        data="d",
        depends={"teacher weights": "w1", "data": "d1"},
        samples=10,
        views=2,
        classes=5,
        kept=5,
        precision="fp32",
        shard_samples=4,
    )
    return replace(plain, **changes)


def draw(manifest: CacheManifest, *, spread: float = 4.0, seed: int = 0) -> NDArray[np.float32]:
    shape = manifest.views, manifest.samples, manifest.classes
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def build(folder: Path, manifest: CacheManifest, logits: NDArray[np.float32]) -> TeacherCache:
    cache = TeacherCache.open(folder, manifest)
    for view, samples in cache.missing():
        cache.write(view, samples, logits[view, samples.start : samples.stop])
    return cache


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != ".lock"}


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_samples", [1, 4, 10, 100])
def test_dense_logits_come_back_in_any_order_within_half_a_unit_of_float16(tmp_path: Path, shard_samples: int) -> None:
    manifest = manifest_of(shard_samples=shard_samples)
    logits = draw(manifest, spread=100)
    build(tmp_path, manifest, logits)
    cache = TeacherCache.load(tmp_path)
    assert cache.is_complete
    cache.check()
    for view in range(2):
        order = np.random.default_rng(view).permutation(10)
        for chosen in (order, order[:3], order[:1], np.array([2, 2, 9])):
            found, exact = cache.read(view, chosen), logits[view, chosen].astype(np.float64)
            assert found.dtype == np.float32
            assert (np.abs(found - exact) <= np.maximum(np.abs(exact) * HALF, 2.0**-25)).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 200), st.integers(1, 199), st.sampled_from([0.1, 3.0, 30.0]), st.integers(0, 9))
def test_sparse_logits_keep_the_largest_their_sum_and_a_uniform_tail(
    tmp_path_factory: pytest.TempPathFactory, classes: int, kept: int, spread: float, seed: int
) -> None:
    kept = min(kept, classes - 1)
    manifest = manifest_of(samples=7, views=1, classes=classes, kept=kept, shard_samples=3)
    logits = draw(manifest, spread=spread, seed=seed)
    found = build(tmp_path_factory.mktemp("sparse"), manifest, logits).read(0, np.arange(7))
    exact = logits[0].astype(np.float64)
    rounding = np.abs(exact).max(1) * HALF + 1e-6
    # Float16 may make two logits equal; which of them is among the largest is told by their exact values.
    top = np.argsort(-exact, axis=1, kind="stable")[:, :kept]
    largest = np.take_along_axis(found, top, 1)
    assert (np.abs(largest - np.take_along_axis(exact, top, 1)) <= rounding[:, None]).all()
    assert (np.abs(logsumexp(found, axis=1) - logsumexp(exact, axis=1)) <= rounding + 1e-5).all()
    rest = np.ones_like(exact, bool)
    np.put_along_axis(rest, top, values=False, axis=1)
    tail = found[rest].reshape(7, -1)
    np.testing.assert_array_equal(tail, np.repeat(tail[:, :1], tail.shape[1], 1), "all alike")
    assert (tail <= largest.min(1, keepdims=True)).all(), "and none above what was kept"
    lost = np.abs(softmax(found, 1)[rest].reshape(7, -1).sum(1) - softmax(exact, 1)[rest].reshape(7, -1).sum(1))
    assert (lost <= 2 * rounding + 1e-5).all()


def test_more_classes_than_two_bytes_count(tmp_path: Path) -> None:
    classes = 2**16 + 5000
    manifest = manifest_of(samples=3, views=1, classes=classes, kept=8)
    logits = draw(manifest, spread=1)
    places = np.array([[0, 65_535, 65_536, classes - 1]] * 3)
    np.put_along_axis(logits[0], places, np.arange(20, 32, dtype=np.float32).reshape(3, 4), 1)
    cache = build(tmp_path, manifest, logits)
    found = cache.read(0, np.arange(3))
    np.testing.assert_array_equal(np.take_along_axis(found, places, 1), np.arange(20, 32).reshape(3, 4))
    np.testing.assert_array_equal(found.argmax(1), classes - 1)
    (shard,) = tmp_path.glob("*.logits")
    assert shard.stat().st_size == 3 * (8 * (2 + 4) + 4) + 32


@pytest.mark.parametrize("kept", [5, 2])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 70_000.0, -1e9])
def test_logits_that_float16_does_not_hold_are_refused_and_nothing_is_written(
    tmp_path: Path, kept: int, wrong: float
) -> None:
    manifest = manifest_of(kept=kept)
    cache = TeacherCache.open(tmp_path, manifest)
    logits = np.zeros((4, 5), np.float32)
    logits[2, :] = wrong
    with pytest.raises(StoreError, match=r'^t: the teacher gives logits that float16 does not hold.*cache = "off"'):
        cache.write(0, range(4), logits)
    assert not list(tmp_path.glob("*.logits"))


# --- how much is kept ----------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 2_000_000), st.integers(1, 64), st.integers(1, 100_000), st.integers(1, 10**12))
def test_what_is_kept_fits_the_budget_and_no_more_would(samples: int, views: int, classes: int, budget: int) -> None:
    def size(kept: int) -> int:
        return samples * views * sample_bytes(classes, kept)

    needed = min(size(min(4, classes)), size(classes))
    if needed > budget:
        with pytest.raises(ConfigError, match=f"allowed: {needed} bytes or more") as caught:
            choose_kept(samples=samples, views=views, classes=classes, budget_bytes=budget)
        if "set views = " in str(caught.value):
            fitting = int(str(caught.value).rsplit("set views = ", 1)[1])
            assert choose_kept(samples=samples, views=fitting, classes=classes, budget_bytes=budget) >= 1
            assert fitting < views
        return
    kept = choose_kept(samples=samples, views=views, classes=classes, budget_bytes=budget)
    assert size(kept) <= budget
    assert kept == classes or (size(classes) > budget and (kept == classes - 1 or size(kept + 1) > budget))


@pytest.mark.parametrize("classes", [1, 10, DENSE_CLASSES, DENSE_CLASSES + 1, 1000])
def test_without_a_budget_few_classes_are_kept_whole(classes: int) -> None:
    kept = choose_kept(samples=5, views=1, classes=classes, budget_bytes=None)
    assert kept == (classes if classes <= 64 else 32)


# --- going on, and what does not fit -------------------------------------------------------------


def test_a_build_goes_on_at_what_is_missing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    manifest = manifest_of()
    logits = draw(manifest)
    build(tmp_path / "whole", manifest, logits)
    cache = TeacherCache.open(tmp_path / "part", manifest)
    order = [(0, range(4)), (0, range(4, 8)), (0, range(8, 10)), (1, range(4)), (1, range(4, 8)), (1, range(8, 10))]
    assert list(cache.missing()) == order
    for view, samples in order[:4]:
        assert not cache.is_complete
        cache.write(view, samples, logits[view, samples.start : samples.stop])
    next(file for file in (tmp_path / "part").glob("*.logits") if file.name.startswith("view-0000-00001")).unlink()
    assert list(TeacherCache.open(tmp_path / "part", manifest).missing()) == [order[1], order[4], order[5]]
    build(tmp_path / "part", manifest, logits)
    assert files(tmp_path / "part") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depends": {"teacher weights": "w2", "data": "d1"}}, "other teacher weights;"),
        ({"depends": {"teacher weights": "w1", "data": "d2", "torch": "3"}}, "other data, torch;"),
        ({"samples": 11}, "other samples;"),
        ({"views": 3, "kept": 2}, "other kept, views;"),
        ({"format": 2}, "other format;"),
    ],
)
def test_a_cache_of_something_else_says_what_differs(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    build(tmp_path / "own", manifest_of(), draw(manifest_of()))
    before = files(tmp_path / "own")
    with pytest.raises(StoreError) as caught:
        TeacherCache.open(tmp_path / "own", manifest_of(**changes))
    assert words in str(caught.value)
    assert f"`edgekd cache clear {tmp_path / 'own'}`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "own") == before


def test_names_and_the_precision_that_was_chosen_do_not_make_it_another_one(tmp_path: Path) -> None:
    build(tmp_path, manifest_of(precision="bf16"), draw(manifest_of()))
    found = TeacherCache.open(tmp_path, manifest_of(teacher="other", data="other"))
    assert found.manifest.precision == "bf16"
    assert found.is_complete


# --- damage --------------------------------------------------------------------------------------


def test_a_shard_of_another_size_is_found_by_looking(tmp_path: Path) -> None:
    cache = build(tmp_path, manifest_of(), draw(manifest_of()))
    shard = tmp_path / "view-0001-00001.logits"
    whole = shard.read_bytes()
    for content in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"\0"):
        shard.write_bytes(content)
        for look in (lambda: list(cache.missing()), cache.check):
            with pytest.raises(StoreError, match=r"view-0001-00001.logits: this part of the cache is damaged.*delete"):
                look()
    shard.unlink()
    with pytest.raises(StoreError, match="can't read it"):
        cache.check()
    cache = build(tmp_path, manifest_of(), draw(manifest_of()))
    cache.check()
    assert shard.read_bytes() == whole


def test_every_single_bit_is_guarded_by_the_checksum(tmp_path: Path) -> None:
    manifest = manifest_of(samples=2, views=1)
    cache = build(tmp_path, manifest, draw(manifest))
    (shard,) = tmp_path.glob("*.logits")
    whole = shard.read_bytes()
    assert len(whole) == 2 * 5 * 2 + 32
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        shard.write_bytes(flipped)
        with pytest.raises(StoreError, match="damaged"):
            cache.check()


def test_reading_leaves_files_alone(tmp_path: Path) -> None:
    manifest = manifest_of(classes=90, kept=6)
    build(tmp_path, manifest, draw(manifest))

    def state() -> dict[str, tuple[str, int]]:
        return {
            file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
            for file in tmp_path.iterdir()
        }

    before = state()
    for file in tmp_path.iterdir():
        file.chmod(0o444)
    cache = TeacherCache.load(tmp_path)
    logits = cache.read(0, np.arange(10))
    logits += 1  # the caller's own
    cache.check()
    np.testing.assert_array_equal(cache.read(0, np.arange(10)), logits - 1)
    assert state() == before


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest_of()
    logits = draw(manifest)
    build(tmp_path / "whole", manifest, logits)
    cache = TeacherCache.open(tmp_path / "part", manifest)
    cache.write(0, range(4), logits[0, :4])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="the disk is full") as caught:
            cache.write(0, range(4, 8), logits[0, 4:8])
        assert "\n" not in str(caught.value)
    assert list(files(tmp_path / "part")) == ["manifest.json", "view-0000-00000.logits"]
    build(tmp_path / "part", manifest, logits)
    assert files(tmp_path / "part") == files(tmp_path / "whole")


# --- where they lie ------------------------------------------------------------------------------


def test_caches_are_found_and_cleared(own_cache: Path) -> None:
    assert cache_root() == own_cache / "teachers"
    assert cache_folders() == []
    for name in ("b", "a"):
        build(cache_root() / name, manifest_of(), draw(manifest_of()))
    (cache_root() / "no-cache").mkdir()
    assert [folder.name for folder in cache_folders()] == ["a", "b"]
    size = sum(len(content) for content in files(cache_root() / "a").values())
    assert TeacherCache.load(cache_root() / "a").disk_bytes == size
    assert clear_cache(cache_root() / "a") == size
    assert not (cache_root() / "a").exists()
    assert [folder.name for folder in cache_folders()] == ["b"]
    for name in ("a", "no-cache"):
        with pytest.raises(StoreError, match=r"manifest\.json: no such file"):
            clear_cache(cache_root() / name)
    assert (cache_root() / "no-cache").is_dir()


def test_caches_lie_in_the_user_s_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "edgekd" / "teachers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "edgekd" / "teachers"


def test_another_builder_waits_and_a_killed_one_s_leftovers_go(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    entered = threading.Event()

    def enter() -> None:
        with building(tmp_path):
            entered.set()

    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (tmp_path / ".partial-1-view-0000-00000.logits").write_bytes(b"half")
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.5)
        holder.kill()
        assert entered.wait(30)
        waiting.join(30)
    assert files(tmp_path) == {}


def test_a_folder_that_can_t_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't write it"), building(tmp_path / "file" / "cache"):
        pass
