"""A recording built of real clips of known emotions, followed by a model that knows those emotions well."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_transfer.audio import read_audio
from ser_transfer.timeline import TimelineSettings, follow
from ser_transfer.timeline.windows import windows

RATE = 16_000
EMOTIONS = {"02": "calm", "04": "sadness", "05": "anger"}  # the third field of RAVDESS's file names
ACTOR = "Actor_03"
COURSE = ("calm", "anger", "sadness", "anger", "calm")


def clips_of(folder: Path, emotion: str) -> list[np.ndarray]:
    """The actor's clips of one emotion, without the silence at their ends."""
    import librosa

    code = next(code for code, name in EMOTIONS.items() if name == emotion)
    paths = sorted(folder.glob(f"03-01-{code}-*.flac"))
    assert len(paths) == 8
    return [librosa.effects.trim(read_audio(path, RATE), top_db=30)[0] for path in paths]


@pytest.fixture(scope="module")
def model(shared: Path):
    """MFCC and logistic regression, trained on windows of the lengths that it will be asked."""
    import torch

    from ser_transfer.encoders import load_encoder
    from ser_transfer.heads import make_head
    from ser_transfer.pooling import POOLINGS

    encoder = load_encoder("mfcc")

    def embedded(waveforms):
        with torch.inference_mode():
            states = encoder.encode(waveforms)
            pairs = zip(states.layers, states.frame_masks, strict=True)
            return np.concatenate([POOLINGS["mean_std"](*pair).numpy() for pair in pairs], axis=1)

    pieces, labels = [], []
    for emotion in EMOTIONS.values():
        joined = np.concatenate(clips_of(shared / "corpora" / "ravdess" / ACTOR, emotion))
        for n_window in (2 * RATE, RATE):
            pieces += [window.waveform for window in windows([joined], n_window, RATE // 2)]
        labels += [emotion] * (len(pieces) - len(labels))
    embeddings = np.concatenate([embedded([piece]) for piece in pieces])
    head = make_head("logistic_regression").fit(embeddings, np.array(labels))
    return lambda waveforms: head.predict_proba(embedded(waveforms)), tuple(head.classes_)


def test_segments_of_a_recording_of_real_clips_are_right_and_end_within_a_hop(model, shared, tmp_path):
    answer, classes = model
    rng = np.random.default_rng(0)
    pieces, ends = [], []
    for emotion in COURSE:
        clips = clips_of(shared / "corpora" / "ravdess" / ACTOR, emotion)
        pieces += [clips[number] for number in rng.choice(len(clips), 3, replace=False)]
        ends.append(sum(map(len, pieces)) / RATE)
    soundfile.write(tmp_path / "talk.wav", np.concatenate(pieces), RATE)
    timeline = follow(answer, classes, tmp_path / "talk.wav", RATE)
    assert [segment.emotion for segment in timeline.segments] == list(COURSE)
    found = [segment.end_seconds for segment in timeline.segments]
    np.testing.assert_allclose(found, ends, atol=TimelineSettings().hop_seconds)
    assert min(segment.confidence for segment in timeline.segments) > 0.7
