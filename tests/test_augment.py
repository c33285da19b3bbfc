import subprocess
import sys
import warnings

import numpy as np
import pytest
import yaml

from ser_transfer.augment import (
    KINDS,
    Augmentation,
    AugmentationError,
    AugmentedCopy,
    Effect,
    with_copies,
)
from ser_transfer.splits import make_split

RATE = 16_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float = 220.0, seconds: float = 2.0, amplitude: float = 0.2) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def speech_like(seconds: float = 1.0) -> np.ndarray:
    """Harmonics of 150 Hz under a slow envelope, with some noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    harmonics = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 9))
    wave = 0.15 * harmonics * (1 + np.sin(2 * np.pi * 3 * time)) / 2 + 0.002 * rng().standard_normal(
        len(time)
    )
    return wave.astype(np.float32)


def frequency(waveform: np.ndarray) -> float:
    """Hz of the strongest component, to a fraction of a Hz by zero-padding."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 19))
    return float(np.argmax(spectrum) * RATE / (1 << 19))


def apply(text: str, waveform: np.ndarray, seed: int = 0) -> np.ndarray:
    return Augmentation.parse(text)(waveform, RATE, rng(seed))


# ── what each change does ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 40.0])
def test_noise_has_the_ratio_asked_for(snr_db):
    clean = speech_like()
    noise = apply(f"noise:{snr_db}", clean).astype(float) - clean
    measured = 10 * np.log10(np.mean(np.square(clean, dtype=float)) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.01)
    flatness = np.abs(np.fft.rfft(noise)) ** 2  # white: every quarter of the band has a quarter of the power
    shares = [part.sum() / flatness.sum() for part in np.array_split(flatness, 4)]
    np.testing.assert_allclose(shares, 0.25, atol=0.02)


@pytest.mark.parametrize("semitones", [-4.0, -0.5, 0.5, 3.0, 12.0])
def test_pitch_moves_by_the_semitones_and_the_duration_stays(semitones):
    moved = apply(f"pitch:{semitones}", tone(220))
    assert len(moved) == 2 * RATE
    assert 12 * np.log2(frequency(moved) / 220) == pytest.approx(semitones, abs=0.02)


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_stretch_changes_the_duration_and_not_the_pitch(rate):
    stretched = apply(f"stretch:{rate}", tone(220))
    assert len(stretched) == pytest.approx(2 * RATE / rate, abs=1)
    assert frequency(stretched) == pytest.approx(220, rel=0.002)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_moves_duration_and_pitch_together(factor):
    played = apply(f"speed:{factor}", tone(220))
    assert len(played) == pytest.approx(2 * RATE / factor, abs=1)
    assert frequency(played) == pytest.approx(220 * factor, rel=0.001)


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_gain_is_in_decibels(gain_db):
    np.testing.assert_allclose(apply(f"gain:{gain_db}", tone()), tone() * 10 ** (gain_db / 20), rtol=1e-6)


def test_shift_brings_the_end_back_to_the_beginning():
    np.testing.assert_array_equal(apply("shift:0.25", tone()), np.roll(tone(), RATE // 2))
    np.testing.assert_array_equal(apply("shift:-0.25", tone()), np.roll(tone(), -RATE // 2))


def test_crops_are_stretches_of_the_clip_from_anywhere_in_it():
    ramp = np.linspace(0, 1, RATE, dtype=np.float32)
    starts = []
    for seed in range(200):
        kept = apply("crop:0.75", ramp, seed)
        assert len(kept) == 12_000
        starts.append(int(np.searchsorted(ramp, kept[0])))
        np.testing.assert_array_equal(kept, ramp[starts[-1] : starts[-1] + 12_000])
    assert min(starts) < 200
    assert max(starts) > 3_800
    assert max(starts) <= 4_000


def test_a_clip_shorter_than_the_crop_is_kept_whole():
    np.testing.assert_array_equal(apply("crop:3", tone(seconds=2)), tone(seconds=2))


def test_changes_follow_one_another_in_the_order_written():
    ramp = np.linspace(0, 1, RATE, dtype=np.float32)
    for seed in range(10):
        crop_first, shift_first = (
            apply("crop:0.5,shift:0.5", ramp, seed),
            apply("shift:0.5,crop:0.5", ramp, seed),
        )
        assert (np.diff(np.roll(crop_first, -len(crop_first) // 2)) > 0).all()
        start = int(np.searchsorted(ramp, shift_first[0]) + RATE / 2) % RATE
        np.testing.assert_array_equal(shift_first, np.roll(ramp, RATE // 2)[start : start + RATE // 2])


# ── what holds for all of them ────────────────────────────────────────────────────────────────

EVERY = [
    "noise:0..20",
    "pitch:-4..4",
    "stretch:0.5..2",
    "speed:0.5..2",
    "shift:-1..1",
    "crop:0.1..3",
    "gain:-9..9",
]


def test_every_kind_is_tested():
    assert [text.partition(":")[0] for text in EVERY] == list(KINDS)


@pytest.mark.parametrize("text", [*EVERY, ",".join(EVERY)])
@pytest.mark.parametrize("n_samples", [16, 100, 801, RATE])
def test_results_are_finite_float32_within_full_scale_and_the_input_is_left_alone(text, n_samples):
    clean = np.clip(1.4 * speech_like(1.0)[:n_samples] + 0.5, -1, 1)
    before = clean.copy()
    for seed in range(5):
        with warnings.catch_warnings():
            warnings.filterwarnings("error")
            warnings.filterwarnings("ignore", message="an augmented copy went beyond full scale")
            changed = apply(text, clean, seed)
        assert changed.dtype == np.float32
        assert changed.ndim == 1
        assert len(changed)
        assert np.isfinite(changed).all()
        assert np.abs(changed).max() <= 1
        assert not np.shares_memory(changed, clean)
    np.testing.assert_array_equal(clean, before)


@pytest.mark.parametrize("text", EVERY)
def test_silence_stays_silence(text):
    assert not apply(text, np.zeros(4_000, np.float32)).any()


def test_beyond_full_scale_is_turned_down_whole_and_said():
    with pytest.warns(UserWarning, match="beyond full scale and was turned down"):
        loud = apply("gain:20", tone(amplitude=0.5))
    np.testing.assert_allclose(loud, tone(amplitude=1.0), atol=1e-3)  # a sine still, not a square
    assert np.abs(loud).max() <= 1


def test_a_recording_that_was_beyond_full_scale_itself_is_no_reason_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(
            apply("shift:0.5", tone(amplitude=1.2)), np.roll(tone(amplitude=1.2), RATE)
        )


def test_a_range_is_drawn_from_evenly_to_both_of_its_ends():
    drawn = [20 * np.log10(apply("gain:-6..2", tone(), seed).max() / tone().max()) for seed in range(400)]
    assert min(drawn) == pytest.approx(-6, abs=0.2)
    assert max(drawn) == pytest.approx(2, abs=0.2)
    assert np.mean(drawn) == pytest.approx(-2, abs=0.4)


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(0, np.float32),
        np.zeros((2, 100), np.float32),
        np.zeros(100, np.int16),
        np.full(100, np.nan, np.float32),
    ],
    ids=["empty", "stereo", "integers", "NaN"],
)
def test_what_is_no_waveform_is_refused(waveform):
    with pytest.raises(AugmentationError, match="augmentation wants"):
        apply("gain:1", waveform)


# ── a copy is the same wherever it is made ────────────────────────────────────────────────────

ALL = Augmentation.parse("noise:5..30,pitch:-3..3,shift:-0.5..0.5,gain:-6..0")


def test_a_copy_depends_on_seed_recording_and_number_alone():
    copy = AugmentedCopy(ALL, "ab" * 16, 1, 0)
    made = copy(tone(), RATE)
    np.testing.assert_array_equal(copy(tone(), RATE), made)
    others = [
        AugmentedCopy(ALL, "ab" * 16, 2, 0),
        AugmentedCopy(ALL, "ab" * 16, 1, 1),
        AugmentedCopy(ALL, "ac" * 16, 1, 0),
    ]
    for other in others:
        assert not np.array_equal(other(tone(), RATE), made)


def test_a_copy_is_the_same_in_another_process():
    script = (
        "import hashlib, numpy as np; from ser_transfer.augment import Augmentation, AugmentedCopy; "
        "copy = AugmentedCopy(Augmentation.parse('noise:5..30,shift:-0.5..0.5'), 'k', 3, 7); "
        "wave = np.sin(np.arange(4000, dtype=np.float32)) / 4; "
        "print(copy.key, hashlib.md5(copy(wave, 16000).tobytes()).hexdigest())"
    )
    answers = {subprocess.check_output([sys.executable, "-c", script], text=True) for _ in range(2)}
    assert len(answers) == 1


def test_keys_of_copies_differ_where_anything_does_and_are_not_the_recordings_own():
    keys = {
        AugmentedCopy(Augmentation.parse(text), key, number, seed).key
        for text in ("noise:10..20", "noise:10..21", "gain:10..20", "noise:10..20,gain:0")
        for key in ("ab" * 16, "ac" * 16)
        for number in (1, 2)
        for seed in (0, 1)
    }
    assert len(keys) == 32
    assert all(len(key) == 32 and int(key, 16) for key in keys)
    assert "ab" * 16 not in keys


def test_two_ways_to_write_an_augmentation_share_their_copies():
    one, other = (
        Augmentation.parse("noise:10..20,gain:3"),
        Augmentation.parse(" noise:10.0..2e1 , gain:3..3 "),
    )
    assert one == other
    assert str(one) == str(other) == "noise:10..20,gain:3"


# ── the text ──────────────────────────────────────────────────────────────────────────────────


def test_text_is_read_into_effects_and_printed_back():
    text = "noise:10..20,pitch:-2..2,stretch:0.9..1.1,gain:-3.25"
    augmentation = Augmentation.parse(text)
    assert augmentation.effects[1:3] == (Effect("pitch", -2, 2), Effect("stretch", 0.9, 1.1))
    assert str(augmentation) == text
    assert yaml.safe_load(f"augment: {text}") == {"augment": text}


@pytest.mark.parametrize("text", ["", "reverb:1..2", "noise:10..20,", "10..20", "noise 10..20", "Noise:3"])
def test_an_unknown_kind_is_refused_with_the_known_ones(text):
    with pytest.raises(AugmentationError, match=r"known are noise \(dB SNR\), pitch .*crop .*Write kind:low"):
        Augmentation.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "pitch",
            "pitch:",
            "pitch:x",
            "pitch:2..",
            "pitch:..2",
            "pitch:2..-2",
            "pitch:nan",
            "pitch:-inf..2",
        ),
        *(
            "pitch:1...2",
            "pitch:1..2..3",
            "pitch:0..25",
            "stretch:0..1",
            "speed:-1",
            "crop:0..1",
            "shift:0..2",
        ),
    ],
)
def test_a_range_that_is_none_or_beyond_reason_is_refused_with_what_is_allowed(text):
    kind = text.partition(":")[0]
    with pytest.raises(
        AugmentationError, match=rf"is no range of {kind}; write {kind}:low..high in .* from .* to"
    ):
        Augmentation.parse(text)


def test_a_kind_named_twice_is_refused():
    with pytest.raises(AugmentationError, match="names gain twice"):
        Augmentation.parse("gain:1,noise:3,gain:2")


# ── folds ─────────────────────────────────────────────────────────────────────────────────────


def test_a_copy_never_crosses_a_fold(corpus):
    ids = corpus["utterance_id"][:]
    originals = {f"{id_}#{number}": id_ for id_ in ids for number in (1, 2)}
    split = make_split(corpus, "leave-one-speaker-out")
    assert len(split.folds) == 4
    for fold in split.folds:
        sides = {*fold.validation_ids, *fold.test_ids}
        train = with_copies(fold.train_ids, originals)
        assert not sides & set(originals)
        assert len(train) == len(set(train)) == 3 * len(fold.train_ids)
        assert train[: len(fold.train_ids)] == fold.train_ids
        for id_ in train:
            assert originals.get(id_, id_) in fold.train_ids
            assert originals.get(id_, id_) not in sides


def test_copies_of_nothing_are_nothing():
    assert with_copies([], {"a#1": "a"}) == ()
    assert with_copies(["a", "b"], {}) == ("a", "b")
