"""Log-mel energies and MFCC against Kaldi's formulas, written in NumPy float64 and SciPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.fft import dct

from edgekd.datasets._front_end import FrontEnd
from edgekd.errors import ConfigError

PLAIN = FrontEnd(
    features="log_mel",
    sample_rate=16000,
    seconds=0.5,
    rms=0.0,
    window_ms=25.0,
    hop_ms=10.0,
    bins=40,
    coefficients=13,
    low_hz=20.0,
    high_hz=0.0,
)


def mel(hertz: Any) -> Any:
    return 1127 * np.log(1 + np.asarray(hertz) / 700)


def reference(sound: NDArray[np.float32], told: dict[str, Any]) -> NDArray[np.float64]:
    """Kaldi's feature-window.cc, feature-fbank.cc and feature-mfcc.cc, from what the manifest tells alone."""
    rate = told["sample_rate"]
    whole = np.zeros(round(told["seconds"] * rate))
    kept = np.asarray(sound[: len(whole)], np.float64)
    whole[: len(kept)] = kept * (told["rms"] / np.sqrt((kept**2).mean()) if told["rms"] else 1)
    window, hop = (int(rate * 0.001 * told[key]) for key in ("window_ms", "hop_ms"))
    frames = np.stack([whole[start : start + window] for start in range(0, len(whole) - window + 1, hop)])
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = frames - told["preemphasis"] * before
    n = np.arange(window)
    frames = frames * (0.5 - 0.5 * np.cos(2 * np.pi * n / (window - 1))) ** 0.85
    padded = 2 ** int(np.ceil(np.log2(window)))
    power = np.abs(np.fft.rfft(frames, padded)) ** 2
    edges = np.linspace(mel(told["low_hz"]), mel(told["high_hz"]), told["bins"] + 2)
    lines = mel(np.arange(padded // 2) * rate / padded)
    energies = np.empty((len(frames), told["bins"]))
    for index in range(told["bins"]):
        left, middle, right = edges[index : index + 3]
        weights = np.minimum((lines - left) / (middle - left), (right - lines) / (right - middle)).clip(0)
        energies[:, index] = power[:, : padded // 2] @ weights
    logs: NDArray[np.float64] = np.log(np.maximum(energies, told["log_floor"]))
    if told["features"] == "log_mel":
        return logs
    cepstra: NDArray[np.float64] = dct(logs, type=2, norm="ortho", axis=1)[:, : told["coefficients"]]
    lifter = told["cepstral_lifter"]
    cepstra *= 1 + lifter / 2 * np.sin(np.pi * np.arange(told["coefficients"]) / lifter)
    return cepstra


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["log_mel", "mfcc"]),
    st.sampled_from([(8000, 32.0, 20.0, 24), (16000, 25.0, 10.0, 40), (11025, 30.0, 12.5, 20)]),
    st.sampled_from([(20.0, 0.0), (100.0, 3800.0)]),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 2**32 - 1),
)
def test_features_are_kaldi_s(
    features: Any, rates: tuple[int, float, float, int], limits: tuple[float, float], rms: float, seed: int
) -> None:
    rate, window, hop, bins = rates
    front_end = replace(
        PLAIN,
        features=features,
        sample_rate=rate,
        rms=rms,
        window_ms=window,
        hop_ms=hop,
        bins=bins,
        low_hz=limits[0],
        high_hz=limits[1],
    )
    random = np.random.default_rng(seed)
    length = int(random.integers(1, rate))
    sound = np.sin(np.arange(length) * random.uniform(0.01, 2)) * 0.3 + random.normal(0, 0.05, length) + 0.1
    found = front_end.compute(sound.astype(np.float32))
    wanted = reference(sound.astype(np.float32), front_end.describe())
    assert found.shape == wanted.shape == front_end.shape
    assert front_end.describe()["frames"] == len(found)
    assert found.dtype == np.float32
    # The float32 FFT is what limits it: relative to a frame's loudest bin, in the quietest ones.
    np.testing.assert_allclose(found, wanted, atol=2e-2 if features == "mfcc" else 5e-3)


def test_silence_is_the_floor_and_every_call_gives_the_same() -> None:
    silent = PLAIN.compute(np.zeros(100, np.float32))
    np.testing.assert_allclose(silent, np.log(np.finfo(np.float32).eps), rtol=1e-5)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    np.testing.assert_array_equal(PLAIN.compute(noise), PLAIN.compute(noise))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": 0.02}, "window_ms"),
        ({"rms": -0.1}, "rms"),
        ({"window_ms": 5.0}, "window_ms"),
        ({"hop_ms": 0.01}, "hop_ms"),
        ({"low_hz": 8000.0}, "low_hz"),
        ({"high_hz": 9000.0}, "high_hz"),
        ({"high_hz": 10.0}, "high_hz"),
        ({"bins": 3}, "bins"),
        ({"bins": 200}, "bins = 200: .* narrower"),
        ({"features": "mfcc", "coefficients": 41}, "coefficients"),
    ],
)
def test_parameters_that_make_no_sense_are_named(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        replace(PLAIN, **changes)
