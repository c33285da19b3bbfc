"""A source-filter synthesiser of syllables: what the synthetic corpus speaks with.

Pulses of the glottis and noise go through five formants, consonants are shaped noise, and a voice adds
its vocal tract, its room and its microphone (Fant 1960; Klatt 1980, JASA 67(3)). It is not meant to sound
like anyone; what it keeps of speech is what features of speech measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

RATE = 16_000  # Hz
STEP = 80  # samples, 5 ms: how often the articulators move

# Hz: the first three formants of men, averages of Peterson & Barney (1952, JASA 24(2), table II).
VOWELS = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "ə": (490, 1350, 1690),
}
HIGHER_FORMANTS = (3500, 4500)  # Hz: a uniform tube of 17.5 cm resonates at 500, 1500, ... 4500 (Fant 1960)
BANDWIDTHS = (60, 90, 150, 250, 350)  # Hz, after Klatt (1980)

# Where the mouth narrows: what the formants start from (Hz), centre and width of the noise (Hz), its
# seconds, its level beside the vowel, and whether the voice goes on. After the loci of Delattre, Liberman
# & Cooper (1955, JASA 27(4)) and the noise spectra of Klatt (1980).
CONSONANTS = {
    "b": ((250, 800, 2300), (700, 800), 0.012, 0.25, True),
    "d": ((250, 1800, 2600), (3700, 1800), 0.015, 0.35, True),
    "g": ((250, 2200, 2500), (2000, 1000), 0.020, 0.35, True),
    "p": ((350, 800, 2300), (800, 1000), 0.045, 0.35, False),
    "t": ((350, 1800, 2600), (4200, 2200), 0.050, 0.45, False),
    "k": ((350, 2200, 2500), (1900, 1200), 0.055, 0.45, False),
    "m": ((270, 1000, 2200), (700, 800), 0.055, 0.01, True),
    "n": ((270, 1600, 2500), (2000, 1000), 0.055, 0.01, True),
    "l": ((340, 1100, 2700), (2000, 1000), 0.050, 0.01, True),
    "s": ((330, 1500, 2500), (5800, 2600), 0.095, 0.30, False),
    "f": ((340, 1100, 2200), (4500, 5000), 0.085, 0.12, False),
}

Samples: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """What stays the same whenever one synthetic speaker speaks.

    Attributes:
        f0_hz: Median of the fundamental frequency, in neutral speech.
        tract: Formants over those of an average man; 1 / 0.85 for a tract of 85 % of the length.
        syllables_per_second: In neutral speech.
        brightness: -1 to 1: less or more of the high frequencies, beside the average.
        breath: Noise in the glottis, over the pulses.
        jitter: Standard deviation of a period, over the period.
        room: Impulse response of the room and the microphone.
        noise: Standard deviation of the room's noise, full scale 1.
        gain_db: Of the microphone.
    """

    f0_hz: float
    tract: float
    syllables_per_second: float
    brightness: float
    breath: float
    jitter: float
    room: Samples
    noise: float
    gain_db: float


@dataclass(frozen=True)
class Manner:
    """How one utterance differs from neutral speech of the same voice; zeros are no difference.

    Attributes:
        f0_semitones: The level of the fundamental frequency.
        range_octaves: Its excursions: 1 doubles them, -1 halves them.
        rate_octaves: Syllables per second: 1 doubles them.
        level_db: The level of the sound.
        brightness: Added to the voice's.
        breath: Added to the voice's.
        jitter: Added to the voice's.
        formants: Added to the voice's tract, over 1: a smile shortens the tract.
        fall: How much more the fundamental falls over the utterance, in semitones.
    """

    f0_semitones: float = 0.0
    range_octaves: float = 0.0
    rate_octaves: float = 0.0
    level_db: float = 0.0
    brightness: float = 0.0
    breath: float = 0.0
    jitter: float = 0.0
    formants: float = 0.0
    fall: float = 0.0


@dataclass(frozen=True)
class Track:
    """The articulators every 5 ms: all arrays have one row per step.

    Attributes:
        f0: Hz.
        voicing: 0 to 1.
        formants: Hz, shape (steps, 5).
        bursts: First sample, number of samples, (centre, width) in Hz, and level of each noise.
    """

    f0: Samples
    voicing: Samples
    formants: Samples
    bursts: tuple[tuple[int, int, tuple[int, int], float], ...]


def articulate(
    syllables: tuple[str, ...],
    accents: tuple[int, ...],
    voice: Voice,
    manner: Manner,
    rng: np.random.Generator,
) -> Track:
    """Lay out syllables of a consonant and a vowel in time.

    Args:
        syllables: Such as ``("da", "mi")``.
        accents: Which of them carry a rise of the fundamental frequency.
        voice: Who speaks.
        manner: How.
        rng: Small variations of timing and height.
    """
    pace = voice.syllables_per_second * 2.0**manner.rate_octaves
    seconds = rng.normal(1.0, 0.08, len(syllables)).clip(0.75, 1.3) / pace
    seconds[list(accents)] *= 1.15
    seconds[-1] *= 1.3  # the last syllable before a pause is longer (Klatt 1976)
    formants, voicing, bursts, centres = [], [], [], []
    step = 0
    for syllable, duration in zip(syllables, seconds, strict=True):
        onset, noise, noise_seconds, level, is_voiced = CONSONANTS[syllable[0]]
        n_steps = round(duration * RATE / STEP)
        n_closed = min(round(noise_seconds * RATE / STEP), n_steps // 2)
        target = np.array(VOWELS[syllable[1]]) * rng.normal(1.0, 0.02, 3)
        # From the consonant's place to the vowel with a time constant of 20 ms.
        opening = 1 - np.exp(-np.maximum(0, np.arange(n_steps) - n_closed) * STEP / RATE / 0.020)
        formants.append(onset + opening[:, None] * (target - onset))
        voiced = np.full(n_steps, 1.0)
        voiced[:n_closed] = 0.25 if is_voiced else 0.0
        voicing.append(voiced)
        bursts.append((step * STEP, n_closed * STEP, noise, level))
        centres.append(step + n_steps / 2)
        step += n_steps
    steps = np.arange(step)
    movement = _melody(
        steps / step, steps * STEP / RATE, np.array(centres)[list(accents)] * STEP / RATE, manner, rng
    )
    f0 = voice.f0_hz * 2.0 ** ((manner.f0_semitones + movement) / 12)
    higher = np.tile(HIGHER_FORMANTS, (step, 1))
    tract = np.hstack([np.vstack(formants), higher]) * voice.tract * (1 + manner.formants)
    return Track(f0, _smoothed(np.concatenate(voicing)), tract.clip(150, 7400), tuple(bursts))


def _melody(
    place: Samples, seconds: Samples, accents: Samples, manner: Manner, rng: np.random.Generator
) -> Samples:
    """Semitones about the level: a declination, a hill on each accent, and a slow wander."""
    declination = (0.5 - place) * (3.0 + manner.fall)
    heights = rng.normal(3.5, 0.7, len(accents))
    hills = (heights * np.exp(-0.5 * ((seconds[:, None] - accents) / 0.09) ** 2)).sum(axis=1)
    phase = rng.uniform(0, 2 * np.pi)
    wander = 0.4 * np.sin(2 * np.pi * 1.7 * seconds + phase)
    melody: Samples = (declination + hills - hills.mean() + wander) * 2.0**manner.range_octaves
    return melody


def _smoothed(steps: Samples) -> Samples:
    """Ramps of 15 ms instead of jumps, and silence at both ends: a jump of the source is a click."""
    padded = np.concatenate([np.zeros(2), steps[1:-1], np.zeros(2)])
    return np.convolve(padded, np.full(3, 1 / 3), mode="valid")


def speak(track: Track, voice: Voice, manner: Manner, rng: np.random.Generator) -> Samples:
    """Turn a track into sound: source, formants, consonants, room, noise.

    Returns:
        Array of shape (samples,) at `RATE`, with 0.1 to 0.25 s of room before and after the speech; its
        level is that of the voice and the manner about -26 dBFS (rms of the speech).
    """
    source = _glottis(track, voice, manner, rng)
    speech = _resonated(source, track.formants)
    speech /= np.sqrt(np.mean(speech**2))
    for first, n_samples, (centre, width), level in track.bursts:
        speech[first : first + n_samples] += level * _noise(n_samples, centre, width, rng)
    before, after = (rng.uniform(0.1, 0.25, 2) * RATE).astype(int)
    speech = np.concatenate([np.zeros(before), speech, np.zeros(after)])
    speech = _convolved(speech, voice.room)
    level_db = -26 + voice.gain_db + manner.level_db
    speech *= 10 ** (level_db / 20) / np.sqrt(np.mean(speech[before:-after] ** 2))
    speech += voice.noise * rng.standard_normal(len(speech))
    speech -= speech.mean()
    # Loud voices come near full scale: turned down whole, as a careful recordist would, never clipped.
    quieter: Samples = speech * min(1.0, 0.95 / np.abs(speech).max())
    return quieter


def _glottis(track: Track, voice: Voice, manner: Manner, rng: np.random.Generator) -> Samples:
    """The derivative of the flow through the glottis: a pulse per period, and breath while it is open.

    The pulse is Rosenberg's (1971, JASA 49(2B), form C): open for 60 % of the period, and opening for two
    thirds of that.
    """
    n_samples = len(track.f0) * STEP
    f0 = np.interp(np.arange(n_samples) / STEP, np.arange(len(track.f0)), track.f0)
    flow, jitter = np.zeros(n_samples), max(0.0, voice.jitter + manner.jitter)
    # More than there can be periods; of each its jitter and its shimmer (Praat's measures, about 1 to 2).
    varied = rng.standard_normal((n_samples // 16, 2)).clip(-3, 3) * (jitter, 2 * jitter)
    start = 0.0
    for longer, louder in varied:
        if start >= n_samples - 1:
            break
        period = RATE / f0[int(start)] * (1 + longer)
        first = int(np.ceil(start))
        phase = (np.arange(first, min(n_samples, int(start + 0.6 * period) + 1)) - start) / period
        opening = 0.5 - 0.5 * np.cos(np.pi * phase / 0.4)
        closing = np.cos(0.5 * np.pi * (phase - 0.4) / 0.2)
        flow[first : first + len(phase)] = (1 + louder) * np.where(phase < 0.4, opening, closing.clip(0))
        start += period
    pulses = np.diff(flow, prepend=0.0)
    pulses /= pulses.std() + 1e-12
    breath = max(0.0, voice.breath + manner.breath) * (0.3 + flow) * rng.standard_normal(n_samples)
    voicing = np.interp(np.arange(n_samples) / STEP, np.arange(len(track.voicing)), track.voicing)
    tilted = _tilted(pulses, voice.brightness + manner.brightness)
    sounding: Samples = voicing * (tilted / (tilted.std() + 1e-12) + breath)
    return sounding


def _tilted(pulses: Samples, brightness: float) -> Samples:
    """Weaken the high frequencies: a lax glottis closes slowly. Brightness 0 puts the corner at 1 kHz."""
    from scipy.signal import lfilter

    corner = 1000.0 * 4.0 ** np.clip(brightness, -1.5, 1.5)  # Hz, of a one-pole low-pass
    pole = np.exp(-2 * np.pi * min(corner, 7000.0) / RATE)
    tilted: Samples = lfilter([1 - pole], [1, -pole], pulses)
    return tilted


def _resonated(source: Samples, formants: Samples) -> Samples:
    """Pass the source through Klatt's (1980) resonators in cascade, whose centres move every step.

    Windows of two steps are filtered each by its own cascade and overlapped, so that one filter fades into
    the next without a click.
    """
    n_steps, size = len(formants), 1024  # 64 ms: by then the narrowest resonance has died away
    radius = np.exp(-np.pi * np.array(BANDWIDTHS) / RATE)
    # Each resonator is (1 - b - c) / (1 - b/z - c/z²); their denominators are multiplied out.
    b, c = 2 * radius * np.cos(2 * np.pi * formants / RATE), -(radius**2)
    denominator = np.zeros((n_steps, 2 * len(BANDWIDTHS) + 1))
    denominator[:, 0] = 1
    for resonator in range(len(BANDWIDTHS)):
        before = denominator.copy()
        denominator[:, 1:] -= b[:, resonator, None] * before[:, :-1]
        denominator[:, 2:] -= c[resonator] * before[:, :-2]
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * STEP) / STEP)  # sums to 1 over steps
    padded = np.concatenate([source, np.zeros(STEP)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * STEP)[::STEP] * window
    spectra = np.fft.rfft(windows, size) / np.fft.rfft(denominator, size)
    pieces = np.fft.irfft(spectra * np.prod(1 - b - c, axis=1)[:, None], size)
    n_overlaps = -(-size // STEP)
    pieces = np.pad(pieces, ((0, 0), (0, n_overlaps * STEP - size))).reshape(n_steps, n_overlaps, STEP)
    sound = np.zeros((n_steps + n_overlaps, STEP))
    for overlap in range(n_overlaps):
        sound[overlap : overlap + n_steps] += pieces[:, overlap]
    return sound.ravel()  # with the tail that rings on


def _noise(n_samples: int, centre: float, width: float, rng: np.random.Generator) -> Samples:
    """Noise about a centre frequency (Gaussian, standard deviation width / 2, Hz), faded in and out."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / RATE)
    shaped = np.fft.irfft(spectrum * np.exp(-0.5 * ((frequencies - centre) / (width / 2)) ** 2), n_samples)
    faded: Samples = shaped / (shaped.std() + 1e-12) * np.hanning(n_samples + 2)[1:-1]
    return faded


def room_response(reverberation_seconds: float, presence_db: float, rng: np.random.Generator) -> Samples:
    """The impulse response of a small room and a microphone.

    Args:
        reverberation_seconds: Until the sound has decayed by 60 dB.
        presence_db: What the microphone adds at 3 kHz.
        rng: The room's reflections.
    """
    n_samples = round(reverberation_seconds * RATE)
    decay = 10 ** (-3 * np.arange(n_samples) / n_samples)  # 60 dB is a factor of 1000
    response = 0.02 * decay * rng.standard_normal(n_samples)
    response[0] = 1.0
    spectrum = np.fft.rfft(response, 2 * n_samples)
    frequencies = np.fft.rfftfreq(2 * n_samples, 1 / RATE)
    presence = 10 ** (presence_db / 20 * np.exp(-0.5 * ((frequencies - 3000) / 900) ** 2))
    coloured: Samples = np.fft.irfft(spectrum * presence)[:n_samples]
    return coloured


def _convolved(sound: Samples, response: Samples) -> Samples:
    from scipy.signal import oaconvolve

    heard: Samples = oaconvolve(sound, response)[: len(sound)]
    return heard
