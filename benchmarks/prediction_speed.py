"""How long a person waits: one clip, a following of a long recording, a reading of the live page.

    python benchmarks/prediction_speed.py
    python benchmarks/prediction_speed.py --models yamnet --clips 100
    python benchmarks/prediction_speed.py --memory

Speech is synthesised, and encoders but the handcrafted have random weights in the published architecture:
time does not depend on either. Loading, and a first call that warms up, are left out. ``--memory`` follows a
file of three hours, most of it digital silence, which is read and not asked, in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from ser_transfer.corpora.synthetic import synthesise_corpus
from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.pooled import encode_waveforms
from ser_transfer.heads import make_head
from ser_transfer.model import EmotionModel, FrozenModel
from ser_transfer.timeline import TimelineSettings

RATE = 16_000  # Hz
MODELS = ("emodb-handcrafted", "yamnet", "wav2vec2-base")
RECORDING_SECONDS = 30.0
LIVE_SECONDS = 2.0  # of sound behind each reading of the live page
MEMORY_HOURS = 3.0
SOUND_SECONDS = 60.0  # of it, spread over the file


def load(name: str) -> EmotionModel:
    """A shipped model, or an untrained encoder under a head on noise, which has as much to compute."""
    if name.startswith("emodb"):
        return EmotionModel.from_pretrained(name)
    encoder = load_encoder(name, untrained=True)
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.1, RATE).astype(np.float32) for _ in range(8)]
    encoded = encode_waveforms(noise, encoder, encoder.default_pooling)
    features = np.stack([np.concatenate(each.layers) for each in encoded])
    head = make_head("logistic_regression").fit(features, np.array(["anger", "fear"] * 4))
    return FrozenModel(encoder, encoder.default_pooling, encoder.layer_names, head, {"head": "random"})


def speech(folder: Path, n_clips: int) -> list[Path]:
    synthesise_corpus(folder, n_speakers=1 + n_clips // 30)
    return sorted(folder.rglob("*.wav"))[:n_clips]


def recordings(clips: Sequence[Path], folder: Path, n_recordings: int) -> list[Path]:
    """Clips laid end to end."""
    wanted = round(RECORDING_SECONDS * RATE)
    samples = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in clips])
    paths = []
    for number in range(n_recordings):
        path = folder / f"recording_{number}.wav"
        soundfile.write(path, np.roll(np.resize(samples, wanted), number * RATE), RATE)
        paths.append(path)
    return paths


def seconds_of(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def told(label: str, seconds: Sequence[float], audio: Sequence[float]) -> str:
    factors = np.array(seconds) / np.array(audio)
    middle, late = np.percentile(factors, [50, 95])
    milliseconds = np.percentile(np.array(seconds), [50, 95]) * 1e3
    return (
        f"  {label:24} {milliseconds[0]:8.0f} ms, 95th percentile {milliseconds[1]:8.0f}; "
        f"real-time factor {middle:.3f}, 95th percentile {late:.3f}  (n = {len(seconds)})"
    )


def measure(name: str, clips: Sequence[Path], long: Sequence[Path]) -> None:
    model = load(name)
    model.predict(clips[0])
    print(model.name)
    audio = [soundfile.info(path).duration for path in clips]
    one_by_one = [seconds_of(lambda path=path: model.predict(path)) for path in clips]  # type: ignore[misc]
    print(told("predict, one clip", one_by_one, audio))
    many = seconds_of(lambda: model.predict(list(clips)))
    speed = f"{sum(audio) / many:8.1f} x real time, {len(clips) / many:.1f} clips/s"
    print(f"  {'predict, all in one call':24} {speed}")
    whole = [seconds_of(lambda path=path: model.timeline(path)) for path in long]  # type: ignore[misc]
    print(told(f"timeline of {RECORDING_SECONDS:.0f} s", whole, [RECORDING_SECONDS] * len(long)))
    sound, _ = soundfile.read(long[0], dtype="float32")
    n_window = round(LIVE_SECONDS * RATE)
    windows: list[npt.NDArray[np.float32]] = [
        sound[start : start + n_window] for start in range(0, len(sound) - n_window, RATE)
    ]
    live = [seconds_of(lambda each=each: model.probabilities_of_waveforms([each])) for each in windows]  # type: ignore[misc]
    print(told("a reading of Live, 0.5 s", live, [0.5] * len(live)))


def follow_three_hours(name: str, folder: Path) -> None:
    """Run in a process of its own; prints the peak of its memory."""
    path = folder / "hours.wav"
    n_minutes = round(MEMORY_HOURS * 60)
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for minute in range(n_minutes):
            block = np.zeros(60 * RATE, np.float32)
            n_sound = round(SOUND_SECONDS * RATE / n_minutes * 6) if minute % 6 == 0 else 0
            block[:n_sound] = rng.normal(0, 0.1, n_sound)
            file.write(block)
    model = load(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    timeline = model.timeline(path, TimelineSettings())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    n_answered = int(np.isfinite(timeline.probabilities[:, 0]).sum())
    print(
        f"{model.name}: {timeline.seconds / 3600:.1f} h read, {n_answered} of {len(timeline.probabilities)} "
        f"half seconds answered, peak {peak:.2f} GiB ({before:.2f} once loaded)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="with commas")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--recordings", type=int, default=5, help=f"of {RECORDING_SECONDS:.0f} s")
    parser.add_argument("--memory", action="store_true", help="the peak of memory over three hours, instead")
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.follow:
            follow_three_hours(arguments.follow, folder)
            return
        names = arguments.models.split(",")
        if arguments.memory:
            for name in names:
                subprocess.run([sys.executable, __file__, "--follow", name], check=True)
            return
        clips = speech(folder / "clips", arguments.clips)
        long = recordings(clips, folder, arguments.recordings)
        for name in names:
            measure(name, clips, long)


if __name__ == "__main__":
    main()
