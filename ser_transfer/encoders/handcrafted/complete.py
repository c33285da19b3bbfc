"""``handcrafted``: all the measures that speech science and the seeds of this project name, in layers."""

from __future__ import annotations

import numpy as np

from ser_transfer.encoders.base import Waveform
from ser_transfer.encoders.handcrafted import frames as grid
from ser_transfer.encoders.handcrafted import pitch as f0
from ser_transfer.encoders.handcrafted import rhythm, spectral, vocal_tract, voice, wavelets
from ser_transfer.encoders.handcrafted.encoder import Analysis, Layers

LAYERS = {
    "cepstrum": spectral.CEPSTRUM,
    "mel": spectral.MEL,
    "shape": (*spectral.SHAPE, *wavelets.WAVELETS),
    "harmony": spectral.HARMONY,
    "energy": spectral.ENERGY,
    "voice": voice.VOICE,
    "vocal_tract": vocal_tract.VOCAL_TRACT,
    "rhythm": rhythm.RHYTHM,
}
SETTINGS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (grid, f0, spectral, vocal_tract, voice, rhythm, wavelets)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, int | float | tuple)
}


def complete_set() -> Analysis:
    """Measure everything, each where it means something.

    The layers of the spectrum and of energy cover the active frames, so that the silence around
    an utterance does not count; ``voice`` and ``vocal_tract`` cover the voiced frames, and where a
    clip has none, its active ones, with the strongest candidate for the fundamental frequency.
    ``rhythm`` covers all from the first active frame to the last. Only ``energy`` depends on the gain,
    and nothing on an offset.
    """
    return Analysis(LAYERS, analyse, grid.FRAME_RATE, "functionals", SETTINGS)


def analyse(waveform: Waveform) -> Layers:
    """Return the frames and the mask of every one of `LAYERS`."""
    frames = grid.cut_frames(waveform)
    pitch = f0.track_pitch(frames)
    voiced = pitch.voiced if pitch.voiced.any() else frames.active
    vocal = np.zeros((frames.n_frames, len(vocal_tract.VOCAL_TRACT)), dtype=np.float32)
    vocal[voiced] = vocal_tract.vocal_tract_features(frames.long_power[voiced])
    mel_db = spectral.mel_levels(frames)
    layers = [
        (spectral.cepstrum_features(mel_db), frames.active),
        (spectral.mel_features(mel_db), frames.active),
        (np.hstack([spectral.shape_features(frames), wavelets.wavelet_features(frames)]), frames.active),
        (spectral.harmony_features(frames), frames.active),
        (spectral.energy_features(frames, mel_db), frames.active),
        (voice.voice_features(frames, pitch), voiced),
        (vocal, voiced),
        (rhythm.rhythm_features(frames, pitch.voiced), np.ones(frames.n_frames, dtype=bool)),
    ]
    return [(_in_clip(values, frames), _in_clip(mask, frames)) for values, mask in layers]


def _in_clip(rows: grid.Array, frames: grid.Frames) -> grid.Array:
    """Put what was measured in the utterance at its place in the clip, zeros around it."""
    clip = np.zeros((frames.n_clip_frames, *rows.shape[1:]), dtype=rows.dtype)
    clip[frames.start : frames.start + frames.n_frames] = rows
    return clip
