"""Sound to log-mel energies or MFCC, as Kaldi computes them, with kaldi-native-fbank."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import ConfigError

# What is left at Kaldi's defaults and what is not; all of it is told to whoever writes the firmware.
_FIXED = {
    "samples": "float32, -1 to 1",
    "window": "povey",
    "preemphasis": 0.97,
    "remove_dc_offset": True,
    "dither": 0.0,
    "fft": "next power of two, power spectrum",
    "mel_scale": "1127 ln(1 + f/700)",
    "log_floor": float(np.finfo(np.float32).eps),
    "edges": "whole windows only",
}
_LIFTER = 22.0


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """Parameters of the front end.

    Attributes:
        seconds: Every sound is cut to so much, or silence is added at its end.
        rms: Root mean square that every sound is brought to, before padding; 0 leaves sounds as loud as they are.
        bins: Triangular filters on the mel scale, from `low_hz` to `high_hz` (0: half the sample rate).
        coefficients: Kept of the cosine transform; for `mfcc` only.
    """

    features: Literal["log_mel", "mfcc"]
    sample_rate: int
    seconds: float
    rms: float
    window_ms: float
    hop_ms: float
    bins: int
    coefficients: int
    low_hz: float
    high_hz: float

    def __post_init__(self) -> None:
        """Refuse what kaldi-native-fbank would end the process for.

        Raises:
            ConfigError: A parameter out of range.
        """
        half = self.sample_rate / 2
        high = self.high_hz or half
        rules = (
            ("sample_rate", 1000 <= self.sample_rate <= 384_000, "1000 to 384000 Hz"),
            ("seconds", 0 < self.seconds <= 3600, "up to 3600"),
            ("hop_ms", self.hop_ms > 0 and self.hop_ms * self.sample_rate >= 1000, "at least one sample"),
            ("rms", 0 <= self.rms <= 1, "0 to 1"),
            ("window_ms", self.hop_ms <= self.window_ms <= self.seconds * 1000, "hop_ms to the length of the sound"),
            ("low_hz", 0 <= self.low_hz < half, "0 to half the sample rate"),
            ("high_hz", self.low_hz < high <= half, "low_hz to half the sample rate; 0 for that"),
            ("bins", 3 < self.bins <= 256, "4 to 256"),
            ("coefficients", self.features != "mfcc" or 1 <= self.coefficients <= self.bins, "1 to bins"),
        )
        for key, holds, allowed in rules:
            if not holds:
                raise ConfigError(f"{key} = {getattr(self, key)}", where="dataset audio_folder", allowed=allowed)
        if (empty := self._empty_filters()) > 0:
            raise ConfigError(
                f"bins = {self.bins}: {empty} of the filters are narrower than the spectrum's lines",
                where="dataset audio_folder",
                next_step="take fewer bins, a longer window or a higher low_hz",
            )

    @property
    def samples(self) -> int:
        """Length of a sound after padding or cutting."""
        return round(self.seconds * self.sample_rate)

    @property
    def shape(self) -> tuple[int, int]:
        """(frames, values of a frame)."""
        window, hop = self._window, int(self.sample_rate * 0.001 * self.hop_ms)
        return 1 + (self.samples - window) // hop, self.coefficients if self.features == "mfcc" else self.bins

    def describe(self) -> dict[str, Any]:
        """All that firmware needs to do the same."""
        told = {**asdict(self), "high_hz": self.high_hz or self.sample_rate / 2, **_FIXED, "frames": self.shape[0]}
        if self.features == "mfcc":
            return {**told, "cosine_transform": "II, orthonormal", "cepstral_lifter": _LIFTER}
        del told["coefficients"]
        return told

    def compute(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn a sound into frames.

        Args:
            sound: (n,), -1 to 1, at `sample_rate`, of any length.

        Returns:
            (frames, bins or coefficients), natural logarithms of mel energies or their cosine transform.
        """
        kaldi = registry.require("kaldi_native_fbank", "dataset 'audio_folder'")
        whole = np.zeros(self.samples, np.float32)
        kept = sound[: self.samples]
        loudness = float(np.sqrt(np.mean(np.square(kept, dtype=np.float64)))) if len(kept) else 0.0
        whole[: len(kept)] = kept * np.float32(self.rms / loudness) if self.rms > 0 and loudness > 0 else kept
        mfcc = self.features == "mfcc"
        options = kaldi.MfccOptions() if mfcc else kaldi.FbankOptions()
        options.frame_opts.samp_freq = self.sample_rate
        options.frame_opts.frame_length_ms = self.window_ms
        options.frame_opts.frame_shift_ms = self.hop_ms
        options.frame_opts.dither = 0.0
        options.mel_opts.num_bins = self.bins
        options.mel_opts.low_freq = self.low_hz
        options.mel_opts.high_freq = self.high_hz
        options.use_energy = False
        if mfcc:
            options.num_ceps = self.coefficients
            options.cepstral_lifter = _LIFTER
        computer = kaldi.OnlineMfcc(options) if mfcc else kaldi.OnlineFbank(options)
        computer.accept_waveform(self.sample_rate, whole)
        computer.input_finished()
        return np.stack([computer.get_frame(index) for index in range(computer.num_frames_ready)])

    @property
    def _window(self) -> int:
        return int(self.sample_rate * 0.001 * self.window_ms)  # as Kaldi rounds

    def _empty_filters(self) -> int:
        """Filters under whose triangle no line of the spectrum falls: they would always give the floor."""
        lines = np.arange(2 ** math.ceil(math.log2(self._window)) // 2) * self.sample_rate
        mel = 1127 * np.log1p(lines / 2 ** math.ceil(math.log2(self._window)) / 700)
        low, high = 1127 * np.log1p(np.array([self.low_hz, self.high_hz or self.sample_rate / 2]) / 700)
        edges = np.linspace(low, high, self.bins + 2)
        return sum(not ((mel > left) & (mel < right)).any() for left, right in zip(edges[:-2], edges[2:], strict=True))
