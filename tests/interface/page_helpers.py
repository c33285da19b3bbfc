"""Stand-in models, a served page, and what a visitor does with it; shared by the tests of the page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ser_transfer.interface import build_demo
from ser_transfer.model import EmotionModel

RATE = 16_000


class Pitched(EmotionModel):
    """A model that a reader can check by hand: sadness below 200 Hz, anger above, by zero crossings.

    Where it is `contrary`, it says the opposite.
    """

    classes = ("sadness", "anger")
    sampling_rate = RATE
    min_seconds = 0.1
    temperature = 1.0

    def __init__(self, name: str = "pitched", *, contrary: bool = False) -> None:
        self.name = name
        self.contrary = contrary
        self.training = {"corpus": "tones", "speakers": ["p1", "p2"], "uar": 0.5}
        self.lengths: list[int] = []

    @property
    def fingerprint(self) -> str:
        return f"{self.contrary:x}"

    def probabilities_of_waveforms(self, waveforms):
        self.lengths += map(len, waveforms)
        rows = []
        for waveform in waveforms:
            voiced = waveform[np.abs(waveform) > 0.01]
            hertz = np.count_nonzero(np.diff(np.signbit(voiced))) * RATE / 2 / max(len(voiced), 1)
            anger = 1 / (1 + np.exp(-(hertz - 200) / 50))
            rows.append([anger, 1 - anger] if self.contrary else [1 - anger, anger])
        return np.array(rows)

    def embeddings_of_waveforms(self, waveforms):
        return self.probabilities_of_waveforms(waveforms).astype(np.float32)

    def _answers(self, recordings, *_):
        from ser_transfer.audio import AudioError, read_audio
        from ser_transfer.model import Answer

        for recording in recordings:
            try:
                waveform = read_audio(recording.source, RATE, min_seconds=self.min_seconds)
            except AudioError as error:
                yield Answer(recording.key, 0.0, None, error)
            else:
                (row,) = self.probabilities_of_waveforms([waveform])
                yield Answer(recording.key, len(waveform) / RATE, row)

    def save(self, folder):
        raise NotImplementedError


def tone(hertz: float, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def serve(*models: EmotionModel, **settings) -> Iterator[str]:
    """Serve a page on a free port, in a thread, and give its address."""
    page = build_demo(models, **settings)
    _, address, _ = page.launch(quiet=True, prevent_thread_lock=True)
    yield address
    page.close(verbose=False)


def upload(page, path: Path) -> None:
    """Give the tab Listen a file, as a visitor chooses one."""
    page.locator("#listen-audio input[type=file]").set_input_files(path)


def bars_of(page, model: str) -> dict[str, float]:
    """Read the bars of one model from the page, as a screen reader does: per cent, by emotion."""
    card = page.locator(f'#listen-readings section[aria-label="{model}"]')
    card.wait_for()
    meters = card.get_by_role("meter")
    return {
        meter.get_attribute("aria-label"): float(meter.get_attribute("aria-valuenow"))
        for meter in (meters.nth(number) for number in range(meters.count()))
    }
