"""Sounds as log-mel energies or MFCC: FOLDER/CLASS/*.wav or *.flac, or all of them in one .npz file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.datasets import Source, Split
from edgekd.datasets._archive import Archive
from edgekd.datasets._front_end import FrontEnd
from edgekd.datasets._labels import number_classes, number_groups, sort_classes
from edgekd.datasets._places import find, scan
from edgekd.errors import ConfigError, DataError

_SUFFIXES = (".flac", ".wav")
_PURPOSE = "dataset 'audio_folder'"


def load(
    *,
    path: Path,
    features: Literal["log_mel", "mfcc"] = "log_mel",
    sample_rate: int = 16000,
    seconds: float = 1.0,
    rms: float = 0.0,
    window_ms: float = 25.0,
    hop_ms: float = 10.0,
    bins: int = 40,
    coefficients: int = 13,
    low_hz: float = 20.0,
    high_hz: float = 0.0,
    group_pattern: str | None = None,
    group_key: str | None = None,
    label_key: str = "label",
    classes: tuple[str, ...] | None = None,
    standardise: bool = True,
) -> Source:
    """Load sounds and compute what a network for speech or noises takes.

    Channels are averaged, other sample rates resampled (soxr, very high quality), long sounds cut, short ones
    followed by silence. All parameters go into the front end's record, so that firmware can do the same.

    Args:
        path: A folder with a sub-folder for each class, or with train/ and test/ that hold those; or an .npz with
            `audio` (all sounds in a row, int16 or float), `offsets` (N + 1 places where they begin) and `rate`.
            A relative one is also looked for in the folders of `EDGEKD_DATA`.
        features: Logarithms of mel energies, or cepstral coefficients (MFCC) of them.
        sample_rate: In Hz, of what the features are computed from.
        seconds: Length of every sample.
        rms: Root mean square that every sound is brought to (full scale is 1), so that microphones and distances
            matter less; 0 leaves sounds as loud as they are.
        window_ms: Length of a frame.
        hop_ms: From one frame to the next.
        bins: Mel filters.
        coefficients: For `mfcc`.
        low_hz: Where the lowest filter begins.
        high_hz: Where the highest ends; 0 for half the sample rate.
        group_pattern: Regular expression that finds the speaker (its group, or the whole match) in a file's name.
        group_key: For an .npz: array of each sound's speaker.
        label_key: For an .npz: array of each sound's class.
        classes: Names, in an order of one's own; else those of the folders or the .npz.
        standardise: Give each bin or coefficient mean 0 and deviation 1 over the training split.

    Returns:
        Inputs (N, 1, frames, bins or coefficients).

    Raises:
        DataError: A sound that can't be read, or nothing to read.
        ConfigError: Parameters that make no sense together.
    """
    front_end = FrontEnd(
        features=features,
        sample_rate=sample_rate,
        seconds=seconds,
        rms=rms,
        window_ms=window_ms,
        hop_ms=hop_ms,
        bins=bins,
        coefficients=coefficients,
        low_hz=low_hz,
        high_hz=high_hz,
    )
    place = find(path, folder=True)
    test = None
    if place.is_dir():
        found = scan(place, _SUFFIXES)
        names = tuple(classes) if classes else found.classes
        train = _load_files(found.train, found.train_labels, found.classes, names, front_end, group_pattern, place)
        if found.test:
            test = _load_files(found.test, found.test_labels, found.classes, names, front_end, group_pattern, place)
    else:
        names, train = _load_archive(place, tuple(classes or ()), label_key, group_key, front_end)
    return Source(
        train=train,
        test=test,
        classes=names,
        scale=1.0,
        front_end=front_end.describe(),
        standardise=3 if standardise else None,
    )


def files(*, path: Path, **_: object) -> list[Path]:
    """Every sound, or the .npz."""
    place = find(path, folder=True)
    if not place.is_dir():
        return [place]
    found = scan(place, _SUFFIXES)
    return [*found.train, *found.test]


def _load_files(
    paths: Sequence[Path],
    labels: Sequence[int],
    folders: tuple[str, ...],
    classes: tuple[str, ...],
    front_end: FrontEnd,
    pattern: str | None,
    root: Path,
) -> Split:
    groups = None if pattern is None else number_groups([_group_of(each, pattern, root) for each in paths])
    return Split(
        inputs=_compute([partial(_read_file, each, front_end) for each in paths], front_end),
        labels=number_classes([folders[label] for label in labels], classes, str(root)),
        groups=groups,
    )


def _load_archive(
    path: Path, classes: tuple[str, ...], label_key: str, group_key: str | None, front_end: FrontEnd
) -> tuple[tuple[str, ...], Split]:
    with Archive(path, "name the arrays with data.label_key and data.group_key") as archive:
        audio, offsets, rate = (archive.take(key) for key in ("audio", "offsets", "rate"))
        labels = archive.take(label_key)
        groups = None if group_key is None else archive.take(group_key)
    count = len(labels) if labels.ndim == 1 else -1
    if audio.ndim != 1 or audio.dtype not in (np.int16, np.float32, np.float64):
        raise DataError(
            f"'audio' of shape {audio.shape} and type {audio.dtype}", where=str(path), allowed="(n,) of int16 or floats"
        )
    if offsets.shape != (count + 1,) or offsets.dtype.kind not in "iu":
        raise DataError(
            f"'offsets' of shape {offsets.shape} and type {offsets.dtype} for {max(count, 0)} labels",
            where=str(path),
            allowed="(N + 1,) of integers",
        )
    begins = offsets.astype(np.int64)
    if begins[0] < 0 or begins[-1] > len(audio) or (np.diff(begins) <= 0).any():
        raise DataError("'offsets' that do not rise within 'audio'", where=str(path))
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not 1000 <= rate.item() <= 384_000:
        raise DataError(f"'rate' is {rate}", where=str(path), allowed="one number, from 1000 to 384000 Hz")
    if groups is not None and groups.shape != (count,):
        raise DataError(f"'{group_key}' of shape {groups.shape}", where=str(path), allowed=f"({count},)")
    names = [str(each) for each in labels.tolist()]
    known = classes or sort_classes(names)
    native = float(rate.item())

    def read(index: int) -> NDArray[np.float32]:
        sound = audio[begins[index] : begins[index + 1]]
        scaled = sound.astype(np.float32) / np.float32(32768 if audio.dtype == np.int16 else 1)
        return _prepare(scaled, native, front_end, f"{path}: sound {index}")

    inputs = _compute([partial(read, index) for index in range(count)], front_end)
    numbers = number_classes(names, known, str(path))
    return known, Split(inputs=inputs, labels=numbers, groups=None if groups is None else number_groups(groups))


def _compute(readers: Sequence[Callable[[], NDArray[np.float32]]], front_end: FrontEnd) -> NDArray[np.float32]:
    frames, width = front_end.shape
    inputs = np.empty((len(readers), 1, frames, width), np.float32)

    def fill(index: int) -> None:
        inputs[index, 0] = front_end.compute(readers[index]())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(len(readers))):
            pass  # an error of a thread is raised here
    return inputs


def _read_file(path: Path, front_end: FrontEnd) -> NDArray[np.float32]:
    soundfile = registry.require("soundfile", _PURPOSE)
    try:
        with soundfile.SoundFile(path) as file:
            # No more than is kept, and a little for the resampler to see past the end.
            frames = int((front_end.seconds + 0.1) * file.samplerate)
            sound = file.read(frames, dtype="float32", always_2d=True).mean(axis=1)
            rate = file.samplerate
    except soundfile.SoundFileError as error:
        raise DataError(f"not a readable sound ({str(error).splitlines()[0]})", where=str(path)) from None
    return _prepare(sound, rate, front_end, str(path))


def _prepare(sound: NDArray[np.float32], rate: float, front_end: FrontEnd, where: str) -> NDArray[np.float32]:
    if not len(sound):
        raise DataError("a sound without samples", where=where)
    if not np.isfinite(sound).all():
        raise DataError("samples that are NaN or infinity", where=where)
    if rate == front_end.sample_rate:
        return sound
    soxr = registry.require("soxr", _PURPOSE)
    resampled: NDArray[np.float32] = soxr.resample(sound, rate, front_end.sample_rate, quality="VHQ")
    return resampled


def _group_of(path: Path, pattern: str, root: Path) -> str:
    try:
        match = re.search(pattern, path.name)
    except re.error as error:
        raise ConfigError(f"'{pattern}' is no regular expression: {error}", where="data.group_pattern") from None
    if match is None:
        raise DataError(f"no group: '{pattern}' does not match", where=str(path.relative_to(root)))
    return match[1 if match.re.groups else 0] or ""
