"""What a recording looks like: waveform, mel spectrogram and F0, as HTML that follows the page's theme.

Everything drawn over time stands in a lane (`lane`): all lanes of a tab share one axis, from 0 to the end of
the recording, and the script of the player moves one line through all of them.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.handcrafted.frames import HOP, SAMPLING_RATE, cut_frames
from ser_transfer.encoders.handcrafted.pitch import track_pitch

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform

Array = npt.NDArray[np.floating]

N_COLUMNS = 900  # of what is drawn over time: more than that cannot be seen on a page's width
N_FFT, N_MELS = 1024, 96  # 64 ms, in which the harmonics of a voice stand apart
RANGE_DB = 70.0  # below the loudest point of the spectrogram
HZ_TICKS = (250, 500, 1000, 2000, 4000)
F0_SECONDS = 120.0  # in a longer recording the line of the F0 is thinner than a pixel's width of time
F0_PIECE_SECONDS = 30.0  # tracked at once: its autocorrelations take 100 MB
TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
LEVEL_FLOOR = 1e-9


@dataclass(frozen=True)
class F0Track:
    """The course of the voice.

    Attributes:
        seconds: Middle of each frame, of shape (n,).
        hz: Fundamental frequency, of shape (n,); NaN where there is no voice.
    """

    seconds: Array
    hz: Array

    def __str__(self) -> str:
        voiced = self.hz[np.isfinite(self.hz)]
        if not len(self.hz):
            return f"F0 is drawn up to {F0_SECONDS:.0f} s"
        if not len(voiced):
            return "no voiced frame"
        return f"F0 {voiced.min():.0f} to {voiced.max():.0f} Hz, median {np.median(voiced):.0f} Hz"


def f0_track(waveform: Waveform) -> F0Track:
    """Follow the fundamental frequency, as the handcrafted features do; empty beyond `F0_SECONDS`.

    Args:
        waveform: At 16 kHz.
    """
    if len(waveform) > F0_SECONDS * SAMPLING_RATE:
        return F0Track(np.zeros(0), np.zeros(0))
    seconds, hz = [], []
    size = int(F0_PIECE_SECONDS * SAMPLING_RATE)
    for start in range(0, len(waveform), size):
        piece = waveform[start : start + size]
        if not np.any(piece != piece[0]):
            continue
        frames = cut_frames(piece)
        pitch = track_pitch(frames)
        first = start / SAMPLING_RATE + frames.start * HOP / SAMPLING_RATE
        seconds.append(first + (np.arange(frames.n_frames) + 0.5) * HOP / SAMPLING_RATE)
        hz.append(np.where(pitch.voiced, pitch.f0, np.nan))
    if not seconds:
        return F0Track(np.zeros(1), np.full(1, np.nan))
    return F0Track(np.concatenate(seconds), np.concatenate(hz))


def sound_lanes(waveform: Waveform) -> str:
    """Draw waveform and mel spectrogram with F0, one lane each, and the axis of time below them.

    Args:
        waveform: At 16 kHz.
    """
    seconds = len(waveform) / SAMPLING_RATE
    track = f0_track(waveform)
    level = 20 * np.log10(max(float(np.sqrt(np.mean(np.square(waveform)))), LEVEL_FLOOR))
    drawn = lane("waveform", waveform_svg(waveform), extra="lane-waveform")
    drawn += lane(
        "mel spectrogram",
        _mel_image(waveform, seconds, track, f"Mel spectrogram of {seconds:.1f} s. {track}."),
        note=str(track),
        extra="lane-mel",
    )
    words = f"Waveform of {seconds:.1f} s, mean level {level:.0f} dB of full scale. {track}."
    return f'<p class="only-read">{escape(words)}</p>{drawn}{axis(seconds)}'


def lane(name: str, content: str, *, note: str = "", extra: str = "") -> str:
    """Give a strip along the recording's time, with its name beside it.

    Args:
        name: What the strip is.
        content: HTML that fills it.
        note: A remark below the name.
        extra: A further CSS class.
    """
    remark = f'<span class="lane-note">{escape(note)}</span>' if note else ""
    return (
        f'<div class="lane-row {extra}"><div class="lane-name">{escape(name)}{remark}</div>'
        f'<div class="lane">{content}</div></div>'
    )


def axis(seconds: float) -> str:
    """Give the axis of time that stands below lanes."""
    step = next((each for each in TICK_STEPS if seconds / each <= 8), TICK_STEPS[-1])
    ticks = []
    for number in range(int(seconds / step) + 1):
        at = 100 * number * step / seconds
        # The last one would hang over the edge.
        edge = " last" if at > 96 else " first" if number == 0 else ""
        ticks.append(f'<span class="tick{edge}" style="left:{at:.2f}%">{clock(number * step)}</span>')
    row = '<div class="lane-row lane-axis" aria-hidden="true"><div class="lane-name"></div>'
    return f'{row}<div class="axis">{"".join(ticks)}</div></div>'


def clock(seconds: float) -> str:
    """Write a moment as a player does: 7.5 s, 2:03."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def waveform_svg(waveform: Waveform) -> str:
    """Draw the extremes of each column, scaled to the loudest."""
    edges = np.unique(np.linspace(0, len(waveform), min(N_COLUMNS, len(waveform)) + 1).astype(int)[:-1])
    low, high = (part.reduceat(waveform, edges) for part in (np.minimum, np.maximum))
    peak = max(float(np.abs(waveform).max()), LEVEL_FLOOR)
    x = 1000 * edges / len(waveform)
    upper = [f"{a:.1f},{50 - 48 * b / peak:.1f}" for a, b in zip(x, high, strict=True)]
    lower = [f"{a:.1f},{50.4 - 48 * b / peak:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
    return (
        '<svg class="wave" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="{" ".join(upper + lower)}"/></svg>'
    )


def curve_svg(times: Array, values: Array, seconds: float, words: str) -> str:
    """Draw a course over time as a filled curve; what lies below 0 hangs down and is marked.

    Args:
        times: Seconds, of shape (n,).
        values: Of shape (n,); scaled to the largest.
        seconds: Of the whole recording.
        words: What is seen, for those who do not see it.
    """
    largest = max(float(np.abs(values).max(initial=0.0)), LEVEL_FLOOR)
    floor = 100.0 if not np.any(values < -0.02 * largest) else 72.0
    x = np.concatenate([[0.0], np.asarray(times) / seconds, [1.0]]) * 1000
    y = floor - (floor - 4) * np.concatenate([values[:1], values, values[-1:]]) / largest
    parts = []
    for kind, bounded in (("for", np.minimum(y, floor)), ("against", np.clip(y, floor, 100.0))):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, bounded, strict=True))
        parts.append(f'<polygon class="{kind}" points="0,{floor} {points} 1000,{floor}"/>')
    return (
        f'<svg class="curve" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words)}">{"".join(parts)}</svg>'
    )


def _mel_image(waveform: Waveform, seconds: float, track: F0Track, words: str) -> str:
    """Draw the spectrogram as an image, and over it the F0 and the names of frequencies."""
    import librosa

    hop = max(HOP, -(-len(waveform) // N_COLUMNS))
    power = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLING_RATE, n_fft=N_FFT, hop_length=hop, n_mels=N_MELS
    )
    decibels = librosa.power_to_db(power, ref=np.max, top_db=RANGE_DB)
    band_hz = librosa.mel_frequencies(N_MELS + 2, fmax=SAMPLING_RATE / 2)[1:-1]
    image = (
        f'<img class="mel" alt="{escape(words)}" src="{_png(decibels / RANGE_DB + 1)}"/>'
        f'<svg class="f0" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
    )
    for points in _voiced_lines(track, seconds, band_hz):
        image += f'<polyline class="halo" points="{points}"/><polyline points="{points}"/>'
    heights = [100 * (1 - _band(hz, band_hz) / N_MELS) for hz in HZ_TICKS]
    ticks = "".join(
        f'<span class="hz" style="top:{height:.1f}%">{hz if hz < 1000 else f"{hz // 1000}k"}</span>'
        for hz, height in zip(HZ_TICKS, heights, strict=True)
    )
    return f'{image}</svg><span class="hz-ticks" aria-hidden="true">{ticks}</span>'


def _voiced_lines(track: F0Track, seconds: float, band_hz: Array) -> list[str]:
    """Give the points of each unbroken stretch of voice."""
    voiced = np.isfinite(track.hz)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(int)))
    lines = []
    for start, end in edges.reshape(-1, 2):
        x = 1000 * track.seconds[start:end] / seconds
        y = 100 * (1 - _band(track.hz[start:end], band_hz) / N_MELS)
        lines.append(" ".join(f"{a:.1f},{b:.2f}" for a, b in zip(x, y, strict=True)))
    return lines


def _band(hz: float | Array, band_hz: Array) -> npt.NDArray[np.float64]:
    """Find the band of a frequency, counted in middles of bands from the lowest edge."""
    return np.asarray(np.interp(hz, band_hz, np.arange(len(band_hz)) + 0.5))


def _png(values: Array) -> str:
    """Write values from 0 to 1, lowest row first, as the data URI of a coloured image."""
    from matplotlib import colormaps
    from PIL import Image

    pixels = (255 * colormaps["magma"](np.flipud(values.clip(0, 1)))[..., :3]).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}"
