"""One clip taken apart: its spectrum, its pitch, what rings and what strikes in it, and its rhythm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioSource
from ser_transfer.encoders.handcrafted.frames import HOP, SAMPLING_RATE, cut_frames
from ser_transfer.encoders.handcrafted.pitch import track_pitch
from ser_transfer.exploration.measures import read_beginning

if TYPE_CHECKING:
    from ser_transfer.exploration.exploration import Clip

Array = npt.NDArray[np.float32]

SHOWN_SECONDS = 15.0  # of a clip: more cannot be read off a page's width
N_FFT, N_MELS = 1024, 128  # 64 ms, in which the harmonics of a voice stand apart
# Medians over 0.15 s, which a vowel lasts and a plosive does not, and over 484 Hz, several harmonics of a
# voice. librosa's own kernel, 0.7 s of music, would call most of speech percussive.
HPSS_KERNEL = (15, 31)
RANGE_DB = 70.0  # below the loudest point of the spectrogram
MAX_LAG_SECONDS = 2.0
MIN_LAG_SECONDS = 0.1  # syllables come no faster than ten a second


@dataclass(frozen=True)
class Anatomy:
    """The parts of one clip, at `SAMPLING_RATE` and with a frame every `HOP` samples.

    Attributes:
        waveform: Shape (samples,), full scale 1.
        mel_db: Mel spectrogram, shape (N_MELS, frames), dB below its loudest point, at least -`RANGE_DB`.
            Frame i is centred on sample i * HOP.
        mel_hz: Centre of each mel band, Hz.
        f0_seconds: Time of each frame of `f0_hz`.
        f0_hz: Fundamental frequency; NaN in unvoiced frames.
        harmonic: What goes on in time, shape of `waveform`.
        percussive: What is sudden, shape of `waveform`; the two add up to the waveform.
        lag_seconds: Lags of `onset_autocorrelation`.
        onset_autocorrelation: Of the onset strength without its mean; 1 at lag 0, unless nothing begins.
        repeats_seconds: Lag of its highest peak from `MIN_LAG_SECONDS` on; None where it has none.
        is_cut: Whether the clip is longer than `SHOWN_SECONDS`.
    """

    waveform: Array
    mel_db: Array
    mel_hz: Array
    f0_seconds: Array
    f0_hz: Array
    harmonic: Array
    percussive: Array
    lag_seconds: Array
    onset_autocorrelation: Array
    repeats_seconds: float | None
    is_cut: bool

    @property
    def seconds(self) -> float:
        """Duration of what is shown."""
        return len(self.waveform) / SAMPLING_RATE

    @property
    def harmonic_share(self) -> float:
        """Energy of the harmonic part over that of both, from 0 to 1."""
        harmonic, percussive = (float(np.square(part).sum()) for part in (self.harmonic, self.percussive))
        return harmonic / (harmonic + percussive)


@dataclass(frozen=True)
class Example:
    """A clip that is shown, and its parts."""

    clip: Clip
    anatomy: Anatomy


def take_apart(
    source: AudioSource, *, start_seconds: float | None = None, end_seconds: float | None = None
) -> Anatomy:
    """Take a recording, or a segment of one, apart.

    Args:
        source: As in `ser_transfer.audio.read_audio`.
        start_seconds: Where the segment begins; None for the beginning.
        end_seconds: Where the segment ends; None for the end.

    Raises:
        AudioError: If it cannot be read, or holds no sound.
    """
    import librosa
    from librosa.effects import hpss
    from librosa.onset import onset_strength

    waveform, seconds = read_beginning(source, start_seconds, end_seconds, SHOWN_SECONDS)
    power = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLING_RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS
    )
    harmonic, percussive = hpss(waveform, n_fft=N_FFT, hop_length=HOP, kernel_size=HPSS_KERNEL)
    onsets = onset_strength(y=waveform, sr=SAMPLING_RATE, n_fft=N_FFT, hop_length=HOP)
    correlation = _autocorrelation(onsets)
    lags = np.arange(len(correlation), dtype=np.float32) * (HOP / SAMPLING_RATE)
    f0_seconds, f0_hz = _f0_track(waveform)
    return Anatomy(
        waveform=waveform,
        mel_db=librosa.power_to_db(power, ref=np.max, top_db=RANGE_DB),
        mel_hz=librosa.mel_frequencies(N_MELS + 2, fmax=SAMPLING_RATE / 2)[1:-1],
        f0_seconds=f0_seconds,
        f0_hz=f0_hz,
        harmonic=harmonic,
        percussive=percussive,
        lag_seconds=lags,
        onset_autocorrelation=correlation,
        repeats_seconds=_highest_peak(lags, correlation),
        is_cut=seconds > SHOWN_SECONDS,
    )


def _f0_track(waveform: Array) -> tuple[Array, Array]:
    frames = cut_frames(waveform)
    pitch = track_pitch(frames)
    seconds = (frames.start + np.arange(frames.n_frames) + 0.5) * (HOP / SAMPLING_RATE)
    return seconds.astype(np.float32), np.where(pitch.voiced, pitch.f0, np.nan).astype(np.float32)


def _autocorrelation(onsets: Array) -> Array:
    """Autocorrelation of the onset strength about its mean, up to half the clip or `MAX_LAG_SECONDS`."""
    import librosa

    n_lags = min(len(onsets) // 2, round(MAX_LAG_SECONDS * SAMPLING_RATE / HOP)) + 1
    found = librosa.autocorrelate(onsets.astype(np.float64) - onsets.mean(), max_size=n_lags)
    return np.asarray(found / found[0] if found[0] > 0 else found, np.float32)


def _highest_peak(lags: Array, correlation: Array) -> float | None:
    from scipy.signal import find_peaks

    peaks = [peak for peak in find_peaks(correlation)[0] if lags[peak] >= MIN_LAG_SECONDS]
    return float(lags[max(peaks, key=lambda peak: correlation[peak])]) if peaks else None
