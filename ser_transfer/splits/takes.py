"""Which recordings are one take: the same sound in another format, at another rate, or at another gain.

Two stages. Sketches come from vectors that the store has anyway, the `mfcc` baseline's; they cost one matrix
product and leave few pairs. Only those are decoded, and their waveforms correlated.

The figures below were measured on RAVDESS (1440 clips, 16 kHz) and on EmoDB cut to 2 s (535, 22.05 kHz), with
copies of every ninth and every fourth clip: FLAC; gains of 0.1, 0.5 and 2 in 16 bits; Vorbis; MP3 at 48 and
128 kbit/s; AAC at 48 and 96; Opus at 24; 8 kHz; 50 ms of silence before, or 200 ms behind. A take that was
stretched, shifted in pitch, or put under noise is not looked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

# The mean of 40 of 128 MFCC is the mean mel spectrum in dB, smoothed to three bands. These bands are 491 to
# 2769 Hz: below them codecs drop the hum of a room, and above them an 8 kHz copy ends. Over all
# coefficients but the first, half of the 8 kHz copies in RAVDESS lie 58 or more from their original, and half
# of the clips within 12.5 of another take.
N_MFCC, N_MELS, FIRST_BAND, LAST_BAND = 40, 128, 20, 85
# Of 3822 copies 99.6 % are so like their original: all but 4 % of gain 0.1 and 3 % of Opus in RAVDESS, whose
# pauses are a step or two of 16 bits, and 1.5 % of 8 kHz in EmoDB. Of 1,036,079 pairs of different takes in
# RAVDESS 82 are, one of them by two speakers; of 142,845 in EmoDB 8, none by two speakers.
ALIKE = 0.97
# Copies (of every 36th and 16th clip) reach 0.95 (Opus), 0.98 (AAC, MP3 and Vorbis) or more; the 599 pairs of
# different takes that are most alike, 300 in EmoDB, at most 0.45.
SAME_TAKE = 0.8
RATE = 8_000  # Hz, at which pairs are correlated: the lowest rate that speech is kept in
BAND_HZ = (300.0, 3_400.0)  # of telephony; hum below it is alike in all recordings of a room
STEPS_PER_SAMPLE = 4  # of the lag: half a sample of delay takes 44 % off what correlates at 2.5 kHz
ROWS_AT_A_TIME = 256  # times 20,000 columns of float32 are 20 MB

Array = npt.NDArray[np.float32]


def sketch(mfcc: npt.NDArray[np.floating]) -> Array:
    """Reduce means of MFCC to what copies keep: the shape of the mean spectrum in the band of the telephone.

    A gain moves the level of all bands, pauses that a codec empties tilt them, and added silence draws them
    all towards one level; so the spectrum loses its level, its slope and its scale.

    Args:
        mfcc: Shape (n, 40 or more): means over frames of `librosa.feature.mfcc` with 128 mel bands at 16 kHz
            first, as the `mfcc` baseline gives them; what follows (the deviations) is not used.

    Returns:
        Float32 array of shape (n, 65), rows of norm 1: their products are correlations of spectra.
    """
    from scipy.fft import idct

    coefficients = np.pad(mfcc[:, :N_MFCC], ((0, 0), (0, N_MELS - N_MFCC)))
    bands = idct(coefficients, norm="ortho", axis=1)[:, FIRST_BAND:LAST_BAND]
    line, _ = np.linalg.qr(np.vander(np.arange(LAST_BAND - FIRST_BAND), 2))  # level and slope, orthonormal
    bands = bands - bands @ line @ line.T
    norms = np.linalg.norm(bands, axis=1, keepdims=True)
    return np.asarray(bands / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


def similar_pairs(
    sketches: Array,
    is_wanted: Callable[[npt.NDArray[np.intp], npt.NDArray[np.intp]], npt.NDArray[np.bool_]],
    most: int,
) -> tuple[list[tuple[int, int]], int]:
    """Find pairs of rows that are `ALIKE`, in blocks of a matrix product: memory grows with n, not n².

    Args:
        sketches: From `sketch`, shape (n, bands).
        is_wanted: From row numbers of pairs, two arrays of shape (m,), to whether each is of interest.
        most: How many pairs to return, the most alike.

    Returns:
        Pairs of row numbers, the first smaller, the most alike first; and how many there are in all.
    """
    pairs, likeness, n_pairs = np.empty((0, 2), np.intp), np.empty(0, np.float32), 0
    for start in range(0, len(sketches), ROWS_AT_A_TIME):
        products = sketches[start : start + ROWS_AT_A_TIME] @ sketches[start:].T
        first, second = np.nonzero(np.triu(products >= ALIKE, k=1))
        wanted = is_wanted(first + start, second + start)
        first, second = first[wanted], second[wanted]
        n_pairs += len(first)
        if len(likeness) == most:  # what is no more alike than the last of these is not among them
            better = products[first, second] > likeness[-1]
            first, second = first[better], second[better]
        pairs = np.concatenate([pairs, np.stack([first + start, second + start], axis=1)])
        likeness = np.concatenate([likeness, products[first, second]])
        order = np.argsort(-likeness, kind="stable")[:most]
        pairs, likeness = pairs[order], likeness[order]
    return [(int(first), int(second)) for first, second in pairs], n_pairs


def correlation(first: Array, second: Array) -> float:
    """Correlate two waveforms at the lag, and with the sign, that suit them best.

    Args:
        first: Waveform at `RATE`, shape (samples,).
        second: Another.

    Returns:
        From 0 to 1, over both whole lengths; 0 if one has no sound within `BAND_HZ`.
    """
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    n = next_fast_len(len(first) + len(second), real=True)  # room for every lag
    hertz = rfftfreq(n, 1 / RATE)
    in_band = (hertz >= BAND_HZ[0]) & (hertz <= BAND_HZ[1])
    spectra = [rfft(waveform.astype(np.float64), n) * in_band for waveform in (first, second)]
    norms = [np.linalg.norm(irfft(spectrum, n)) for spectrum in spectra]
    if not all(norms):
        return 0.0
    # A longer inverse transform reads the correlation between the samples.
    products = irfft(spectra[0] * spectra[1].conj(), n * STEPS_PER_SAMPLE) * STEPS_PER_SAMPLE
    return float(np.abs(products).max() / (norms[0] * norms[1]))
