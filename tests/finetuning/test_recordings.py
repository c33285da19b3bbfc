import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from ser_transfer import load_corpus
from ser_transfer.audio import read_audio
from ser_transfer.augment import Augmentation
from ser_transfer.finetuning.batches import Draw, StepPlan
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.recordings import ClipError, Clips, Collate, EvaluationClips
from ser_transfer.finetuning.training_clips import TrainingClips

RATE = 16_000
MIN_SAMPLES = 400
CLASSES = ("neutral", "anger", "fear")


@dataclass
class PaddedWaveforms:
    """A front end that hands on what it is given, and says whether it was told to train."""

    def prepare(self, waveforms, *, training=False):
        rows = [torch.from_numpy(waveform) for waveform in waveforms]
        return {
            "values": pad_sequence(rows, batch_first=True),
            "n_samples": torch.tensor([len(row) for row in rows]),
            "training": torch.tensor(training),
        }


def targets_of(corpus) -> dict[str, int]:
    names = corpus.features["emotion"].names
    return {
        id_: CLASSES.index(names[code])
        for id_, code in zip(corpus["utterance_id"], corpus["emotion"], strict=True)
    }


def clips_of(corpus, ids=None, *, sampling_rate=RATE, min_samples=MIN_SAMPLES, **options) -> Clips:
    chosen = corpus["utterance_id"][:] if ids is None else ids
    return Clips(corpus, chosen, targets_of(corpus), sampling_rate, min_samples, **options)


def draw(row: int, epoch: int = 0, repeat: int = 0) -> Draw:
    return Draw(row, epoch, 8, repeat)


@pytest.fixture
def clips(corpus) -> Clips:
    return clips_of(corpus)


def one_folder(root, waveforms, rate=RATE):
    """A corpus of a clip each, all angry, with the samples exactly as given."""
    (root / "anger").mkdir(parents=True)
    for number, waveform in enumerate(waveforms):
        soundfile.write(root / "anger" / f"p{number}_0.wav", waveform, rate, subtype="FLOAT")
    return load_corpus("folder", root, speaker_pattern="(?P<speaker>p[0-9]+)_")


def noise(n_samples: int, loudness: float = 0.1, seed: int = 0) -> np.ndarray:
    return (loudness * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


# ── Clips ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("keep_waveforms", [False, True])
def test_clips_are_the_chosen_rows_in_their_order_decoded(corpus, keep_waveforms):
    ids = corpus["utterance_id"][:][::-3]
    clips = clips_of(corpus, ids, keep_waveforms=keep_waveforms)
    path_of = dict(zip(corpus["utterance_id"], (audio["path"] for audio in corpus["audio"]), strict=True))
    assert clips.ids == tuple(ids)
    assert clips.targets.tolist() == [targets_of(corpus)[id_] for id_ in ids]
    for row, id_ in enumerate(ids):
        expected = read_audio(path_of[id_], RATE)
        waveform = clips.waveform(row)
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform, expected)
        assert clips.seconds[row] == pytest.approx(len(expected) / RATE)
        waveform[:] = 0  # the caller's own
        np.testing.assert_array_equal(clips.waveform(row), expected)


def test_segments_are_read_as_segments(tmp_path):
    waveform = noise(3 * RATE)
    soundfile.write(tmp_path / "long.wav", waveform, RATE, subtype="FLOAT")
    table = "audio,emotion,speaker,start,end\nlong.wav,anger,a,0.5,1.25\nlong.wav,fear,b,2.0,\n"
    (tmp_path / "corpus.csv").write_text(table)
    corpus = load_corpus("table", tmp_path / "corpus.csv", start_column="start", end_column="end")
    clips = clips_of(corpus)
    np.testing.assert_allclose(clips.seconds, [0.75, 1.0])
    np.testing.assert_array_equal(clips.waveform(0), waveform[RATE // 2 : 5 * RATE // 4])
    np.testing.assert_array_equal(clips.waveform(1), waveform[2 * RATE :])


def test_waveforms_come_at_the_rate_asked_for(tmp_path):
    corpus = one_folder(tmp_path / "c", [noise(44_100)], rate=44_100)
    clips = clips_of(corpus, sampling_rate=8_000)
    assert len(clips.waveform(0)) == 8_000
    assert clips.seconds[0] == 1.0


def test_an_unknown_id_is_refused(corpus):
    with pytest.raises(FinetuneError, match="'nobody'"):
        Clips(corpus, ["nobody"], {"nobody": 0}, RATE, MIN_SAMPLES)


def test_a_clip_too_short_for_the_network_is_named_before_training(tmp_path):
    corpus = one_folder(tmp_path / "c", [noise(RATE), noise(399)])
    with pytest.raises(ClipError, match=r"anger/p1_0.*0\.025 s.*--skip-bad"):
        clips_of(corpus)
    with pytest.raises(ClipError, match=r"anger/p1_0.*too_short"):
        clips_of(corpus, keep_waveforms=True)
    assert len(clips_of(corpus, min_samples=399)) == 2


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_clip_that_cannot_be_decoded_is_named_in_one_line(tmp_path, n_workers):
    corpus = one_folder(tmp_path / "c", [noise(RATE), np.zeros(RATE, np.float32)])  # one is silent
    clips = clips_of(corpus)
    loader = DataLoader(
        EvaluationClips(clips), collate_fn=Collate(PaddedWaveforms(), False), num_workers=n_workers
    )
    with pytest.raises(ClipError) as caught:
        list(loader)
    message = str(caught.value)
    assert message.startswith("utterance 'anger/p1_0")
    assert "silent" in message
    assert message.endswith("--skip-bad")
    assert "\n" not in message
    with pytest.raises(ClipError, match="silent"):
        clips_of(corpus, keep_waveforms=True)


# ── TrainingClips ─────────────────────────────────────────────────────────────────────────────


def test_without_settings_training_sees_the_clip_and_its_class(clips):
    training = TrainingClips(clips, n_classes=3)
    example = training[Draw(5, epoch=2, n_in_step=17)]
    np.testing.assert_array_equal(example.waveform, clips.waveform(5))
    assert example.truth.dtype == np.float32
    assert example.truth.tolist() == np.eye(3)[clips.targets[5]].tolist()
    assert example.n_in_step == 17
    assert len(training) == len(clips)
    np.testing.assert_array_equal(training.seconds, clips.seconds)


def test_a_crop_is_a_stretch_of_the_clip_and_moves_with_epoch_and_repeat(clips):
    training = TrainingClips(clips, n_classes=3, crop_seconds=0.1)
    whole = clips.waveform(0)
    stretches = np.lib.stride_tricks.sliding_window_view(whole, 1600)
    starts = set()
    for each in [draw(0, epoch) for epoch in range(20)] + [draw(0, 0, repeat) for repeat in range(1, 20)]:
        found = np.flatnonzero((stretches == training[each].waveform).all(axis=1))
        assert len(found) == 1
        starts.add(int(found[0]))
    assert len(starts) > 30
    assert min(starts) < len(stretches) / 4 < 3 * len(stretches) / 4 < max(starts)
    np.testing.assert_array_equal(training.seconds, np.full(len(clips), 0.1))


def test_no_clip_is_longer_than_planned_nor_shorter_than_the_network_takes(tmp_path):
    corpus = one_folder(tmp_path / "c", [noise(n, seed=n) for n in (401, 500, 800, 3000, 9000)])
    clips = clips_of(corpus)
    for crop_seconds in (None, 0.025, 0.1):
        training = TrainingClips(
            clips,
            n_classes=3,
            crop_seconds=crop_seconds,
            augmentation=Augmentation.parse("speed:0.5..2"),
            mixup=0.5,
        )
        lengths = set()
        for row in range(len(clips)):
            for epoch in range(12):
                waveform = training[draw(row, epoch)].waveform
                lengths.add(len(waveform))
                assert MIN_SAMPLES <= len(waveform) <= round(training.seconds[row] * RATE)
        assert len(lengths) > 1 or crop_seconds == 0.025


def test_the_share_of_augmented_clips_is_the_one_asked_for(clips):
    training = TrainingClips(
        clips, n_classes=3, augmentation=Augmentation.parse("gain:-20"), augment_share=0.3
    )
    n_changed = 0
    for epoch in range(10):
        for row in range(len(clips)):
            whole, seen = clips.waveform(row), training[draw(row, epoch)].waveform
            is_changed = np.allclose(seen, 0.1 * whole, atol=1e-7)
            assert is_changed or np.array_equal(seen, whole)
            n_changed += is_changed
    assert 0.2 < n_changed / (10 * len(clips)) < 0.4


def test_mixup_is_the_mix_of_two_clips_and_of_their_classes(tmp_path):
    root = tmp_path / "c"
    waveforms = {}
    for number, emotion in enumerate(CLASSES):
        (root / emotion).mkdir(parents=True)
        waveforms[number] = noise(2000, loudness=0.05 * 3**number, seed=number)
        soundfile.write(root / emotion / "p1_0.wav", waveforms[number], RATE, subtype="FLOAT")
    clips = clips_of(load_corpus("folder", root, speaker_pattern="(?P<speaker>p[0-9])_"))
    training = TrainingClips(clips, n_classes=3, mixup=1.0)
    basis = np.stack([waveforms[number] / waveforms[number].std() for number in range(3)], axis=1)
    own_shares, partners = [], set()
    for epoch in range(60):
        for row in range(3):
            example, own = training[draw(row, epoch)], int(clips.targets[row])
            # Equally loud, independent noises: least squares gives back how much of each is in it.
            loudness = np.sqrt(np.mean(np.square(waveforms[own], dtype=float)))
            parts, residue, *_ = np.linalg.lstsq(basis, example.waveform / loudness, rcond=None)
            np.testing.assert_allclose(parts, example.truth, atol=0.01)
            assert residue < 1e-6
            assert example.truth.sum() == pytest.approx(1.0, abs=1e-6)
            own_shares.append(example.truth[own])
            partners |= {(own, int(other)) for other in np.flatnonzero(example.truth) if other != own}
    assert len(partners) == 6
    # Beta(1, 1) is even.
    assert np.mean(own_shares) == pytest.approx(0.5, abs=0.08)
    assert np.std(own_shares) == pytest.approx(12**-0.5, abs=0.05)


def test_a_clip_of_the_same_class_mixed_in_leaves_the_class_certain(tmp_path):
    clips = clips_of(one_folder(tmp_path / "c", [noise(1000, seed=i) for i in range(3)]))
    truth = TrainingClips(clips, n_classes=3, mixup=0.4)[draw(0)].truth
    np.testing.assert_allclose(truth, np.eye(3)[CLASSES.index("anger")], atol=1e-6)


def everything(clips: Clips, seed: int = 0) -> TrainingClips:
    return TrainingClips(
        clips,
        n_classes=3,
        crop_seconds=0.2,
        augmentation=Augmentation.parse("noise:10..20,speed:0.9..1.1,gain:-9..-3"),
        augment_share=0.7,
        mixup=0.4,
        seed=seed,
    )


def same(ours, theirs) -> bool:
    return np.array_equal(ours.waveform, theirs.waveform) and np.array_equal(ours.truth, theirs.truth)


def test_what_a_draw_gives_follows_from_seed_epoch_and_id_whatever_came_before(corpus, clips):
    training, again = everything(clips), everything(clips_of(corpus, keep_waveforms=True))
    draws = [draw(row, epoch) for row in range(0, 24, 5) for epoch in (0, 3)]
    first = [training[each] for each in draws]
    second = [again[each] for each in reversed(draws)][::-1]
    assert all(map(same, first, second))
    assert not same(training[draw(0, 0)], training[draw(0, 1)])
    assert not same(training[draw(0, 0)], training[draw(0, 0, repeat=1)])
    assert not same(training[draw(0, 0)], everything(clips, seed=1)[draw(0, 0)])


def test_workers_give_what_one_process_gives(clips):
    training = everything(clips)

    def batches(n_workers: int, epoch: int) -> list[dict]:
        plan = StepPlan(training.seconds, batch_seconds=1.0, n_micro=2)
        plan.begin_epoch(epoch)
        loader = DataLoader(
            training,
            batch_sampler=plan,
            collate_fn=Collate(PaddedWaveforms(), training=True),
            num_workers=n_workers,
        )
        return list(loader)

    for alone, shared in zip(batches(0, 2), batches(2, 2), strict=True):
        torch.testing.assert_close(alone, shared, rtol=0, atol=0)


def test_the_clips_of_a_step_are_those_that_its_batches_count(clips):
    training = TrainingClips(clips, n_classes=3)
    plan = StepPlan(training.seconds, batch_seconds=1.5, n_micro=3)
    loader = DataLoader(training, batch_sampler=plan, collate_fn=Collate(PaddedWaveforms(), training=True))
    batches = list(loader)
    for start in range(0, len(batches), 3):
        step = batches[start : start + 3]
        n_clips = sum(len(batch["truth"]) for batch in step)
        assert [batch["n_in_step"] for batch in step] == [n_clips] * 3
    assert all(batch["inputs"]["training"] for batch in batches)
    assert all(batch["inputs"]["values"].numel() <= 1.5 * RATE for batch in batches)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"crop_seconds": 0.02}, "crop_seconds.*0.025"),
        ({"augment_share": 1.5}, "augment_share"),
        ({"mixup": -0.1}, "mixup"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_name(clips, settings, named):
    with pytest.raises(FinetuneError, match=named):
        TrainingClips(clips, n_classes=3, **settings)


def test_one_clip_alone_cannot_be_mixed(tmp_path):
    clips = clips_of(one_folder(tmp_path / "c", [noise(1000)]))
    with pytest.raises(FinetuneError, match="mixup to 0"):
        TrainingClips(clips, n_classes=3, mixup=0.2)


# ── EvaluationClips ───────────────────────────────────────────────────────────────────────────


def test_windows_are_equal_parts_that_make_up_the_clip(tmp_path):
    lengths = (4000, 8000, 8001, 12_000, 30_001, 900)
    corpus = one_folder(tmp_path / "c", [noise(n, seed=n) for n in lengths])
    clips = clips_of(corpus)
    windows = EvaluationClips(clips, window_seconds=0.5)
    parts: dict[int, list[np.ndarray]] = {}
    for item in range(len(windows)):
        row, waveform = windows[item]
        assert row == windows.rows[item]
        assert MIN_SAMPLES <= len(waveform) <= 8000
        assert abs(len(waveform) - windows.seconds[item] * RATE) <= 1
        parts.setdefault(row, []).append(waveform)
    assert [len(parts[row]) for row in range(6)] == [1, 1, 2, 2, 4, 1]
    for row, cut in parts.items():
        np.testing.assert_array_equal(np.concatenate(cut), clips.waveform(row))
        assert max(map(len, cut)) - min(map(len, cut)) <= 1
    assert np.all(np.diff(windows.seconds) <= 0)


def test_without_a_window_every_clip_is_whole(clips):
    windows = EvaluationClips(clips)
    assert sorted(windows.rows) == list(range(len(clips)))
    for item in (0, len(windows) - 1):
        row, waveform = windows[item]
        np.testing.assert_array_equal(waveform, clips.waveform(row))
    assert windows.seconds[0] == clips.seconds.max()


def test_no_window_is_longer_than_said_where_a_header_promises_less(tmp_path):
    clips = clips_of(one_folder(tmp_path / "c", [noise(8400)]))
    clips.seconds = np.array([0.5])  # what the header of an MP3 might say
    (only,) = EvaluationClips(clips, window_seconds=0.5)
    assert len(only[1]) == 8000


def test_a_window_of_which_half_is_not_enough_is_refused(clips):
    EvaluationClips(clips, window_seconds=0.05)
    with pytest.raises(FinetuneError, match=r"window_seconds.*0\.050"):
        EvaluationClips(clips, window_seconds=0.049)


def test_evaluation_batches_name_their_rows_and_are_prepared_without_chance(clips):
    collate = pickle.loads(pickle.dumps(Collate(PaddedWaveforms(), training=False)))
    loader = DataLoader(EvaluationClips(clips), batch_size=5, collate_fn=collate)
    batches = list(loader)
    assert sorted(torch.cat([batch["row"] for batch in batches]).tolist()) == list(range(len(clips)))
    assert not any(batch["inputs"]["training"] for batch in batches)
    lengths = torch.cat([batch["inputs"]["n_samples"] for batch in batches])
    assert (lengths.diff() <= 0).all()
