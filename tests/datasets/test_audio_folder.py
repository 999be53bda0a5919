"""Sounds written by soundfile, and the spoken digits, as a front end for firmware would see them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

from edgekd.datasets import audio_folder, fingerprint_of, open_dataset
from edgekd.datasets._front_end import FrontEnd
from edgekd.errors import ConfigError, DataError
from edgekd.records import DataSpec

soundfile = pytest.importorskip("soundfile")  # has no types

SETTINGS: dict[str, Any] = {"sample_rate": 8000, "seconds": 0.3, "bins": 24, "window_ms": 32.0, "hop_ms": 16.0}


def tone(hertz: float, rate: int = 8000, seconds: float = 0.3) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(0.4 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate))


def write(root: Path, name: str, sound: Any, rate: int = 8000, subtype: str = "PCM_16") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, sound, rate, subtype=subtype)
    return file


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Three speakers, two classes, six sounds each."""
    root = tmp_path / "tones"
    for speaker in ("ann", "bob", "eve"):
        for number in range(6):
            write(root, f"low/{speaker}_{number}.wav", tone(300 + 5 * number))
            write(root, f"high/{speaker}_{number}.flac", tone(2000 + 9 * number))
    (root / "README.txt").write_text("not a class")
    (root / ".cache").mkdir()
    return root


def test_folders_are_classes_and_no_speaker_is_in_two_splits(tones: Path) -> None:
    options = {"path": tones, "group_pattern": r"^([a-z]+)_", **SETTINGS}
    data = open_dataset(DataSpec(source="audio_folder", test=0.3, validation=0.4, options=options))
    assert data.classes == ("high", "low")
    assert data.input_shape == (1, 17, 24)
    speakers = [
        set(split.groups.tolist()) for split in (data.train, data.validation, data.test) if split.groups is not None
    ]
    assert sorted(each for part in speakers for each in part) == [0, 1, 2]
    # What is standardised is the training split, and what is told is what was done.
    np.testing.assert_allclose(data.train.inputs.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-4)
    np.testing.assert_allclose(data.train.inputs.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-4)
    raw = audio_folder.load(**options)
    told = data.front_end
    again = (raw.train.inputs[data.test.positions] - np.array(told["mean"])) / np.array(told["deviation"])
    np.testing.assert_allclose(np.asarray(data.test.inputs, np.float64), again, atol=1e-5)


def test_a_tone_is_in_the_bin_of_its_pitch(tones: Path) -> None:
    source = audio_folder.load(path=tones, standardise=False, **SETTINGS)
    loudest = source.train.inputs[:, 0, 4].argmax(axis=1)
    mel = 1127 * np.log(1 + np.array([20, 300, 2000, 4000]) / 700)
    bins = (mel[1:3] - mel[0]) / (mel[3] - mel[0]) * 25 - 1
    low, high = loudest[source.train.labels == 1], loudest[source.train.labels == 0]
    assert (abs(low - bins[0]) <= 1.5).all()
    assert (abs(high - bins[1]) <= 1.5).all()


def test_rates_channels_and_sample_formats_give_the_same_sound(tmp_path: Path) -> None:
    sound = signal.lfilter([1], [1, -0.9], np.random.default_rng(0).normal(0, 0.02, 24000))
    smooth = signal.resample_poly(signal.resample_poly(sound, 1, 8), 8, 1)  # nothing above what 8 kHz hold
    write(tmp_path, "x/a.wav", smooth[::6], 8000, "PCM_24")
    write(tmp_path, "x/b.wav", np.stack([smooth[::6] * 1.5, smooth[::6] * 0.5], axis=1), 8000, "FLOAT")
    write(tmp_path, "x/c.wav", smooth, 48000, "PCM_24")
    write(tmp_path, "x/d.flac", signal.resample_poly(smooth, 147, 160), 44100, "PCM_24")
    settings = {**SETTINGS, "high_hz": 2500.0}
    a, b, c, d = np.asarray(audio_folder.load(path=tmp_path, standardise=False, **settings).train.inputs, np.float64)
    np.testing.assert_allclose(a, b, atol=1e-3)
    inner = np.s_[:, 1:-1, :]  # the filters see past the ends of the sound
    np.testing.assert_allclose(a[inner], c[inner], atol=0.1)
    np.testing.assert_allclose(a[inner], d[inner], atol=0.1)


def test_long_sounds_are_cut_and_short_ones_end_in_silence(tmp_path: Path) -> None:
    long = tone(500, seconds=2)
    write(tmp_path, "x/a.wav", long)
    write(tmp_path, "x/b.wav", long[:2400])
    write(tmp_path, "x/c.wav", long[:1200])
    a, b, c = audio_folder.load(path=tmp_path, standardise=False, **SETTINGS).train.inputs[:, 0]
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a[:8], c[:8])
    np.testing.assert_allclose(c[-7:], np.log(np.finfo(np.float32).eps), rtol=1e-5)


def test_train_and_test_folders_are_kept_apart(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 1)):
        for name in ("a", "b"):
            for number in range(count):
                write(tmp_path, f"{part}/{name}/{number}.wav", tone(300 + number))
    source = audio_folder.load(path=tmp_path, classes=("b", "a"), **SETTINGS)
    assert source.test is not None
    assert source.train.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert source.test.labels.tolist() == [1, 0]
    write(tmp_path, "test/c/0.wav", tone(100))
    with pytest.raises(DataError, match="class 'c' has no training files"):
        audio_folder.load(path=tmp_path, **SETTINGS)
    (tmp_path / "validation").mkdir()
    with pytest.raises(DataError, match=r"folder 'validation' beside 'train'.*holds out"):
        audio_folder.load(path=tmp_path, **SETTINGS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable sound"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "not a readable sound"),
        (b"MZ" + bytes(500), "not a readable sound"),
    ],
)
def test_a_bad_sound_is_named(tones: Path, content: bytes, words: str) -> None:
    bad = tones / "low" / "bad.wav"
    bad.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        audio_folder.load(path=tones, **SETTINGS)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sounds_of_nothing_and_of_nan_are_named(tones: Path) -> None:
    bad = write(tones, "low/bad.wav", np.zeros(0))
    with pytest.raises(DataError, match=r"bad.wav: a sound without samples"):
        audio_folder.load(path=tones, **SETTINGS)
    write(tones, "low/bad.wav", np.full(2000, np.nan), subtype="FLOAT")
    with pytest.raises(DataError, match=r"bad.wav: samples that are NaN"):
        audio_folder.load(path=tones, **SETTINGS)
    bad.unlink()
    with pytest.raises(DataError, match=r"high/ann_0.flac: no group: '\^\[0-9\]' does not match"):
        audio_folder.load(path=tones, group_pattern="^[0-9]", **SETTINGS)
    with pytest.raises(ConfigError, match="no regular expression"):
        audio_folder.load(path=tones, group_pattern="(", **SETTINGS)
    with pytest.raises(DataError, match="label 'high' is no class; allowed: hihg, low; did you mean 'hihg'"):
        audio_folder.load(path=tones, classes=("hihg", "low"), **SETTINGS)


def test_damaged_flac_gives_an_error_or_samples(tones: Path) -> None:
    file = tones / "high" / "ann_0.flac"
    whole = file.read_bytes()
    for seed in range(20):
        random = np.random.default_rng(seed)
        damaged = bytearray(whole[: random.integers(len(whole))] if seed % 2 else whole)
        for place in random.integers(0, max(len(damaged), 1), 5) if damaged else []:
            damaged[place] = random.integers(256)
        file.write_bytes(damaged)
        try:
            assert np.isfinite(audio_folder.load(path=tones, **SETTINGS).train.inputs).all()
        except DataError as error:
            assert "ann_0.flac" in str(error)  # noqa: PT017 - either outcome is fine, another exception is not


def test_the_fingerprint_is_of_sounds_and_folders_not_of_where_they_lie(tones: Path, tmp_path: Path) -> None:
    def fingerprint(path: Path, **options: Any) -> str:
        return fingerprint_of(DataSpec(source="audio_folder", options={"path": str(path), **options}))

    first = fingerprint(tones)
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(tones, moved)
    assert fingerprint(moved) == first
    assert fingerprint(moved, bins=30) != first
    (moved / "low").rename(moved / "deep")
    assert fingerprint(moved) != first
    (moved / "deep").rename(moved / "low")
    (moved / "low" / "ann_0.wav").write_bytes((moved / "low" / "ann_1.wav").read_bytes())
    assert fingerprint(moved) != first


def test_an_archive_is_the_same_as_the_files_it_was_made_of(tones: Path, tmp_path: Path) -> None:
    files = audio_folder.files(path=tones)
    sounds = [soundfile.read(file, dtype="int16")[0] for file in files]
    arrays: dict[str, Any] = {
        "audio": np.concatenate(sounds),
        "offsets": np.cumsum([0, *map(len, sounds)]),
        "rate": 8000,
        "label": [file.parent.name for file in files],
        "who": [file.name[:3] for file in files],
    }
    np.savez(tmp_path / "own.npz", **arrays)
    packed = audio_folder.load(path=tmp_path / "own.npz", group_key="who", **SETTINGS)
    loose = audio_folder.load(path=tones, group_pattern="^...", **SETTINGS)
    assert packed.classes == loose.classes
    np.testing.assert_array_equal(packed.train.inputs, loose.train.inputs)
    np.testing.assert_array_equal(packed.train.labels, loose.train.labels)
    assert packed.train.groups is not None
    assert loose.train.groups is not None
    np.testing.assert_array_equal(packed.train.groups, loose.train.groups)
    for change, words in (
        ({"audio": arrays["audio"][:10]}, "do not rise within 'audio'"),
        ({"audio": arrays["audio"].astype(np.uint8)}, "type uint8; allowed"),
        ({"offsets": arrays["offsets"][:-1]}, r"'offsets' of shape \(36,\)"),
        ({"offsets": arrays["offsets"][::-1]}, "do not rise"),
        ({"rate": [8000, 16000]}, "'rate' is"),
        ({"rate": 0}, "'rate' is 0"),
        ({"who": ["ann"]}, r"'who' of shape \(1,\)"),
    ):
        np.savez(tmp_path / "own.npz", **{**arrays, **change})
        with pytest.raises(DataError, match=words):
            audio_folder.load(path=tmp_path / "own.npz", group_key="who", **SETTINGS)


def test_spoken_digits_are_read_by_speaker(shared_data: Path) -> None:
    options: dict[str, Any] = {
        "path": shared_data / "fsdd" / "fsdd_int16_8khz.npz",
        "group_key": "speaker",
        "sample_rate": 8000,
    }
    options["hop_ms"] = 20.0
    data = open_dataset(DataSpec(source="audio_folder", test=0.34, validation=0.25, options=options))
    assert data.classes == tuple("0123456789")
    speakers = [np.unique(part.groups) for part in (data.train, data.validation, data.test) if part.groups is not None]
    assert [len(each) for each in speakers] == [3, 1, 2]
    assert len(np.unique(np.concatenate(speakers))) == 6
    assert FrontEnd(**{key: data.front_end.get(key, 13) for key in FrontEnd.__dataclass_fields__}).shape == (49, 40)
