"""The figure of one clip: its parts, one below the other on one axis of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.encoders.handcrafted.frames import HOP, SAMPLING_RATE
from ser_transfer.exploration.anatomy import SHOWN_SECONDS, Anatomy, Array, Example
from ser_transfer.plots.style import BLUE, GREEN, INK, SKY, VERMILLION, bare, new_figure, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_COLUMNS = 600  # of a waveform: its extremes in each, as more samples than pixels cannot be seen
HZ_TICKS = (250, 500, 1000, 2000, 4000)


def example_figure(example: Example, corpus: str) -> Figure:
    """Draw a clip: waveform, mel spectrogram with F0, harmonic and percussive part, onset autocorrelation."""
    anatomy = example.anatomy
    figure = new_figure(width=8.0, height=9.4)
    waveform, mel, harmonic, percussive, onsets = figure.subplots(5, 1, height_ratios=(1, 2.6, 0.8, 0.8, 1.1))
    share = anatomy.harmonic_share
    peak = 1.05 * float(
        max(np.abs(part).max() for part in (anatomy.waveform, anatomy.harmonic, anatomy.percussive))
    )
    for axes, samples, colour, name in (
        (waveform, anatomy.waveform, INK, "waveform"),
        (harmonic, anatomy.harmonic, BLUE, f"harmonic part ({100 * share:.0f} % of the energy of both)"),
        (percussive, anatomy.percussive, VERMILLION, f"percussive part ({100 - 100 * share:.0f} %)"),
    ):
        _draw_waveform(axes, samples, colour, peak)
        _name(axes, name)
    _draw_mel(figure, mel, anatomy)
    _name(mel, f"mel spectrogram; line: {_f0_words(anatomy)}")
    for axes in (waveform, mel, harmonic, percussive):
        axes.set_xlim(0.0, anatomy.seconds)
        axes.set_xticklabels([]) if axes is not percussive else axes.set_xlabel("time (s)")
    _draw_onsets(onsets, anatomy)
    _name(onsets, "autocorrelation of the onset strength")
    set_title(figure, f"{corpus} · {example.clip.emotion}\n{describe(example)}")
    return figure


def describe(example: Example) -> str:
    """Say whose clip it is, what is said, and how long it is."""
    clip, anatomy = example.clip, example.anatomy
    words = [clip.utterance_id]
    words += [f"speaker {clip.speaker}"] if clip.speaker is not None else []
    words += [f"“{clip.sentence}”"] if clip.sentence is not None else []
    shown = f"its first {SHOWN_SECONDS:.0f} s" if anatomy.is_cut else f"{anatomy.seconds:.1f} s"
    return ", ".join([*words, shown])


def example_words(example: Example) -> str:
    """Say what the figure shows, for those who do not see it."""
    anatomy = example.anatomy
    again = anatomy.repeats_seconds
    repeats = "onsets do not repeat" if again is None else f"onsets repeat most after {again:.2f} s"
    return (
        f"{example.clip.emotion}: waveform, mel spectrogram, harmonic and percussive parts and onset "
        f"autocorrelation of {describe(example)}; {_f0_words(anatomy)}; "
        f"{100 * anatomy.harmonic_share:.0f} % of the energy is harmonic; {repeats}."
    )


def _f0_words(anatomy: Anatomy) -> str:
    voiced = anatomy.f0_hz[np.isfinite(anatomy.f0_hz)]
    if not len(voiced):
        return "no voiced frame"
    return f"F0 from {voiced.min():.0f} to {voiced.max():.0f} Hz, median {np.median(voiced):.0f} Hz"


def _name(axes: Axes, name: str) -> None:
    axes.set_title(name, fontsize=9, loc="left", pad=3)


def _draw_waveform(axes: Axes, samples: Array, colour: str, peak: float) -> None:
    """Draw the extremes of each column of pixels."""
    edges = np.unique(np.linspace(0, len(samples), min(N_COLUMNS, len(samples)) + 1).astype(int)[:-1])
    low, high = (part.reduceat(samples, edges) for part in (np.minimum, np.maximum))
    axes.fill_between(edges / SAMPLING_RATE, low, high, color=colour, linewidth=0.4)
    axes.set_ylim(-peak, peak)
    axes.set_ylabel("amplitude\n(full scale 1)", fontsize=8)
    bare(axes, grid="y")


def _draw_mel(figure: Figure, axes: Axes, anatomy: Anatomy) -> None:
    from matplotlib.patheffects import withStroke

    n_mels, n_frames = anatomy.mel_db.shape
    half = HOP / SAMPLING_RATE / 2
    ends = (-half, n_frames * 2 * half - half)
    image = axes.imshow(
        anatomy.mel_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        interpolation="none",
        extent=(*ends, -0.5, n_mels - 0.5),
    )
    bands = np.arange(n_mels)
    axes.plot(
        anatomy.f0_seconds,
        np.interp(anatomy.f0_hz, anatomy.mel_hz, bands),
        color=SKY,
        linewidth=1.6,
        path_effects=[withStroke(linewidth=3.0, foreground="black")],
    )
    ticks = np.interp(HZ_TICKS, anatomy.mel_hz, bands)
    axes.set_yticks(ticks, list(map(str, HZ_TICKS)))
    axes.set_ylabel("frequency (Hz)", fontsize=8)
    figure.colorbar(image, ax=axes, pad=0.01, aspect=14).set_label("dB below the loudest", fontsize=8)


def _draw_onsets(axes: Axes, anatomy: Anatomy) -> None:
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.plot(anatomy.lag_seconds, anatomy.onset_autocorrelation, color=GREEN, linewidth=1.4)
    again = anatomy.repeats_seconds
    if again is not None:
        height = float(np.interp(again, anatomy.lag_seconds, anatomy.onset_autocorrelation))
        axes.plot(again, height, "o", color=INK, markersize=5)
        is_left = again < float(anatomy.lag_seconds[-1]) / 2
        axes.annotate(
            f"{again:.2f} s, {1 / again:.1f} per second",
            (again, height),
            xytext=(6 if is_left else -6, 6),
            ha="left" if is_left else "right",
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlim(0.0, float(anatomy.lag_seconds[-1]))
    axes.set_ylim(-0.6, 1.05)
    axes.set_xlabel("lag (s)")
    axes.set_ylabel("correlation", fontsize=8)
    bare(axes, grid="y")
