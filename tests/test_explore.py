import csv
import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import librosa
import numpy as np
import pytest
import soundfile

import ser_transfer.explore
from ser_transfer import load_corpus
from ser_transfer.audio import AudioError
from ser_transfer.corpora import Utterance, corpus_dataset
from ser_transfer.corpora.synthetic import synthesise_corpus
from ser_transfer.exploration import (
    Clip,
    ClipMeasures,
    Exploration,
    ExplorationError,
    choose_examples,
    clips_of,
    exploration_page,
    measure_clip,
    measure_corpus,
    sample_rows,
    take_apart,
)
from ser_transfer.exploration.charts import bar_figure, spread_figure, stack_figure
from ser_transfer.exploration.findings import find
from ser_transfer.exploration.measures import CHUNK, MAX_SECONDS
from ser_transfer.explore import explore, main

RATE = 16_000
FIGURES = ("emotions", "speakers", "genders", "durations", "levels", "pitch", "pitch_by_speaker")


def sine(hertz, seconds=1.0, amplitude=0.5, rate=RATE):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def clicks(period, seconds=3.0, rate=RATE):
    samples = np.zeros(round(seconds * rate))
    samples[:: round(period * rate)] = 0.8
    return samples


def written(samples, rate=RATE, kind="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


# One clip, against what it was made of.
@pytest.mark.parametrize("hertz", [100.0, 233.3, 440.0])
@pytest.mark.parametrize("amplitude", [0.05, 0.9])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_sine_measures_its_own_frequency_level_and_duration(hertz, amplitude, rate):
    told = measure_clip(written(sine(hertz, 1.5, amplitude, rate), rate, subtype="PCM_24"))
    assert told.f0_hz == pytest.approx(hertz, rel=2e-3)
    assert told.level_db == pytest.approx(20 * np.log10(amplitude / np.sqrt(2)), abs=0.1)
    assert told.seconds == told.measured_seconds == pytest.approx(1.5, abs=1e-3)
    assert told.clipped_share == 0.0


def test_pauses_and_an_offset_do_not_change_the_level_of_a_clip():
    voice, pause = sine(200.0, 1.0, 0.3), np.zeros(RATE)
    with_pauses = np.concatenate([pause, voice, pause, voice, pause])
    expected = measure_clip(written(voice)).level_db
    assert measure_clip(written(with_pauses)).level_db == pytest.approx(expected, abs=0.3)
    assert measure_clip(written(voice + 0.2)).level_db == pytest.approx(expected, abs=0.05)


def test_noise_has_a_level_and_no_pitch():
    told = measure_clip(written(np.random.default_rng(0).normal(0, 0.1, RATE)))
    assert told.f0_hz is None
    assert told.level_db == pytest.approx(-20.0, abs=0.2)


def test_the_pitch_is_that_of_voiced_frames_alone():
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    sound = written(np.concatenate([sine(400.0), noise]))
    assert measure_clip(sound).f0_hz == pytest.approx(400.0, rel=5e-3)
    parts = take_apart(sound)
    voiced = np.isfinite(parts.f0_hz)
    assert parts.f0_seconds[voiced].max() < 1.1
    assert 0.9 < voiced.sum() / 100 < 1.1


STEPS = {"PCM_U8": 2.0**-7, "PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 0.0}


@pytest.mark.parametrize("subtype", STEPS)
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_share_of_clipped_samples_is_that_of_samples_beyond_full_scale(subtype, rate):
    loud = sine(200.3, 2.0, 1 / np.sin(np.pi / 2 * 0.95), rate)  # beyond 1 for 5 % of the time
    told = measure_clip(written(np.clip(loud, -1, 1), rate, subtype=subtype))
    # |a sin| > x for a share of 1 - (2 / pi) arcsin(x / a); what rounds to the last step stands there too.
    expected = 1 - 2 / np.pi * np.arcsin((1 - 1.5 * STEPS[subtype]) * np.sin(np.pi / 2 * 0.95))
    assert told.clipped_share == pytest.approx(expected, abs=0.002)
    assert told.clipped_share > 0.049


def test_clipping_of_one_channel_is_seen_though_channels_are_averaged():
    quiet, loud = sine(200.0, amplitude=0.1), np.clip(sine(200.0, amplitude=4.0), -1, 1)
    told = measure_clip(written(np.column_stack([quiet, loud])))
    alone = measure_clip(written(loud))
    assert told.clipped_share == pytest.approx(alone.clipped_share / 2)
    assert told.clipped_share > 0.1


def test_clipping_of_a_segment_is_that_of_its_own_samples():
    samples = np.concatenate([sine(200.0), np.sign(sine(200.0))])
    before = measure_clip(written(samples), end_seconds=1.0)
    behind = measure_clip(written(samples), start_seconds=1.0, end_seconds=2.0)
    assert before.clipped_share == 0.0
    assert behind.clipped_share > 0.95


def test_clipping_is_unknown_where_libsndfile_does_not_read(tmp_path):
    path = tmp_path / "clip.mp3"
    soundfile.write(path, np.sign(sine(200.0)), RATE, format="MP3")
    assert measure_clip(path).clipped_share is None


def test_silence_is_an_error_that_says_so():
    with pytest.raises(AudioError) as caught:
        measure_clip(written(np.zeros(RATE)))
    assert caught.value.reason == "silent"


def test_a_few_samples_are_measured_and_have_no_pitch():
    told = measure_clip(written(sine(200.0, 0.02)))
    assert told.seconds == pytest.approx(0.02)
    assert told.f0_hz is None


def test_the_digest_is_of_the_sound_and_not_of_the_file():
    samples = np.round(sine(200.0) * 2**15).astype(np.int16)
    digests = {kind: measure_clip(written(samples, kind=kind)).digest for kind in ("WAV", "FLAC", "AIFF")}
    assert len(set(digests.values())) == 1
    changed = samples.copy()
    changed[500] += 300
    assert measure_clip(written(changed)).digest != digests["WAV"]


def test_of_a_long_recording_only_the_beginning_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.concatenate([sine(150.0, 3.0), sine(300.0, 9.0)]), RATE)
    decoded = []
    read = ser_transfer.exploration.measures.read_audio
    monkeypatch.setattr(
        ser_transfer.exploration.measures,
        "read_audio",
        lambda *args, **more: decoded.append(len(found := read(*args, **more)) / RATE) or found,
    )
    told = measure_clip(path, max_seconds=3.0)
    assert decoded == [3.0]
    assert (told.seconds, told.measured_seconds) == (12.0, 3.0)
    assert told.f0_hz == pytest.approx(150.0, rel=2e-3)
    later = measure_clip(path, start_seconds=2.0, end_seconds=11.0, max_seconds=3.0)
    assert (later.seconds, later.measured_seconds) == (9.0, 3.0)
    assert later.f0_hz == pytest.approx(300.0, rel=2e-3)
    assert measure_clip(path).measured_seconds == 12.0 < MAX_SECONDS


# A clip taken apart.
@pytest.mark.parametrize("period", [0.2, 0.25, 0.4])
def test_the_onsets_of_a_click_train_repeat_after_its_period(period):
    parts = take_apart(written(clicks(period)))
    assert parts.repeats_seconds == pytest.approx(period, abs=0.011)
    assert parts.onset_autocorrelation[0] == pytest.approx(1.0)
    height = np.interp(period, parts.lag_seconds, parts.onset_autocorrelation)
    between = np.interp(1.5 * period, parts.lag_seconds, parts.onset_autocorrelation)
    assert height > 0.5 > between


def test_onsets_that_do_not_repeat_do_not_correlate():
    parts = take_apart(written(np.random.default_rng(0).normal(0, 0.1, 6 * RATE)))
    assert np.abs(parts.onset_autocorrelation[parts.lag_seconds > 0.2]).max() < 0.3


def test_the_bands_of_the_spectrogram_are_named_by_where_their_filters_peak():
    filters = librosa.filters.mel(sr=RATE, n_fft=2**15, n_mels=128)
    peaks = filters.argmax(axis=1) * RATE / 2**15
    np.testing.assert_allclose(take_apart(written(sine(200.0))).mel_hz, peaks, atol=0.5)


def test_a_tone_is_harmonic_and_clicks_are_percussive():
    tone, train = sine(300.0, 3.0, 0.1), clicks(0.25)
    together = take_apart(written(tone + train / 2))
    np.testing.assert_allclose(together.harmonic + together.percussive, together.waveform, atol=1e-3)
    assert take_apart(written(tone)).harmonic_share > 0.99
    assert take_apart(written(train)).harmonic_share < 0.02
    assert np.corrcoef(together.harmonic, tone)[0, 1] > 0.95
    assert np.corrcoef(together.percussive, train)[0, 1] > 0.9


def test_the_spectrogram_and_the_track_show_a_tone_where_and_when_it_sounds():
    tone = np.concatenate([np.zeros(RATE), sine(440.0), np.zeros(RATE)])
    parts = take_apart(written(tone + 1e-4))
    loudest = np.unravel_index(parts.mel_db.argmax(), parts.mel_db.shape)
    assert parts.mel_hz[loudest[0]] == pytest.approx(440.0, abs=20.0)
    assert 1.0 < loudest[1] * 0.01 < 2.0
    assert parts.mel_db.max() == 0.0
    assert parts.mel_db.min() == pytest.approx(-70.0)
    voiced = np.isfinite(parts.f0_hz)
    assert np.median(parts.f0_hz[voiced]) == pytest.approx(440.0, rel=2e-3)
    assert parts.f0_seconds[voiced].min() == pytest.approx(1.0, abs=0.05)
    assert parts.f0_seconds[voiced].max() == pytest.approx(2.0, abs=0.05)
    assert parts.f0_hz.shape == parts.f0_seconds.shape


def test_of_a_long_clip_the_beginning_is_shown_and_marked():
    parts = take_apart(written(sine(200.0, 16.0)))
    assert (parts.is_cut, parts.seconds) == (True, 15.0)
    assert not take_apart(written(sine(200.0, 2.0))).is_cut


# What is wrong with clips.
GOOD = ClipMeasures(2.0, -20.0, 200.0, 0.0, "", 2.0)


def clip(name, emotion="anger", speaker="a", sentence="s1", **changes):
    measures = replace(GOOD, **({"digest": name} | changes))
    return Clip(name, emotion, speaker, "female", sentence, measures)


def unusable(name, reason):
    return Clip(name, "fear", "a", "female", "s1", AudioError(reason, f"/somewhere/{name}.wav", "found so"))


def found_in(*clips):
    return {finding.kind: finding for finding in find(clips)}


def test_each_defect_is_found_under_its_own_name_and_nowhere_else():
    clips = {
        "clipped": clip("one", clipped_share=0.05),
        "very short": clip("two", seconds=0.3),
        "without voice": clip("three", f0_hz=None),
        "silent": unusable("four", "silent"),
        "unreadable": unusable("five", "truncated"),
    }
    found = found_in(*clips.values(), clip("good"))
    for kind, defective in clips.items():
        assert found[kind].n_clips == 1
        assert found[kind].items[0].startswith(f"{defective.utterance_id}: ")
        assert found[kind].emotions == ((defective.emotion, 1),)
    assert found["duplicate"].n_clips == 0
    assert "5.00 %" in found["clipped"].items[0]
    assert "/somewhere" not in found["unreadable"].items[0]


def test_what_cannot_be_known_and_what_is_usual_is_no_defect():
    usual = (
        clip("one", clipped_share=None),
        clip("two", clipped_share=0.0002),
        Clip("three", "anger", *3 * [None]),
    )
    assert all(finding.n_clips == 0 for finding in find(usual))


def test_copies_are_listed_together_and_their_labels_where_these_differ():
    clips = [
        clip("one", digest="x"),
        clip("two", digest="y", emotion="fear"),
        clip("three", digest="x"),
        clip("four", digest="y", emotion="anger"),
        clip("five"),
    ]
    found = found_in(*clips)["duplicate"]
    assert found.items == ("one = three", "two (fear) = four (anger)")
    assert found.n_clips == 4
    assert dict(found.emotions) == {"anger": 3, "fear": 1}


# Which clips are looked at.
def grid(n_speakers=5, n_takes=7, emotions=("anger", "fear", "sadness")):
    return [
        Clip(f"{emotion}-{speaker}-{take}", emotion, f"p{speaker}", None, f"s{take}")
        for take in range(n_takes)
        for speaker in range(n_speakers)
        for emotion in emotions
    ]


@pytest.mark.parametrize("max_clips", [1, 15, 31, 104])
def test_a_sample_keeps_the_share_of_every_emotion_and_speaker_to_within_one_clip(max_clips):
    clips = grid() + [Clip(f"more-{number}", "joy", "p9", None, None) for number in range(20)]
    rows = sample_rows(clips, max_clips, seed=0)
    assert len(set(rows)) == max_clips
    assert rows == sorted(rows)
    for emotion, n in {"anger": 35, "fear": 35, "sadness": 35, "joy": 20}.items():
        share = n * max_clips / len(clips)
        assert abs(sum(clips[row].emotion == emotion for row in rows) - share) <= 1
        for speaker in range(5):
            own = [
                row for row in rows if (clips[row].emotion, clips[row].speaker) == (emotion, f"p{speaker}")
            ]
            assert abs(len(own) - (0 if emotion == "joy" else 7 * max_clips / len(clips))) <= 1


def test_a_seed_draws_the_same_sample_again_and_another_seed_another():
    clips = grid()
    assert sample_rows(clips, 30, 0) == sample_rows(clips, 30, 0) != sample_rows(clips, 30, 1)
    assert sample_rows(clips, None, 0) == sample_rows(clips, 500, 0) == list(range(len(clips)))
    with pytest.raises(ExplorationError, match="give 1 or more"):
        sample_rows(clips, 0, 0)


def test_examples_are_of_the_speaker_and_sentence_that_have_most_emotions():
    clips = [
        clip("a1", "anger", "a", "s1"),
        clip("a2", "fear", "a", "s2"),
        clip("b3", "fear", "b", "s3"),
        clip("b2", "anger", "b", "s3"),
        clip("b1", "anger", "b", "s3"),
        clip("b4", "sadness", "b", "s4"),
        clip("a4", "sadness", "a", "s3"),
    ]
    assert [each.utterance_id for each in choose_examples(clips)] == ["b4", "b1", "b3"]
    assert [each.utterance_id for each in choose_examples(clips[::-1])] == ["b4", "b1", "b3"]
    assert [each.utterance_id for each in choose_examples(clips, speaker="a")] == ["a4", "a1", "a2"]
    assert [each.utterance_id for each in choose_examples(clips, sentence="s2")] == ["a4", "a1", "a2"]
    broken = [
        replace(each, measures=AudioError("empty", "", "")) if each.utterance_id == "b1" else each
        for each in clips
    ]
    assert [each.utterance_id for each in choose_examples(broken)] == ["b4", "b2", "b3"]


def test_a_corpus_that_tells_no_speakers_has_examples_all_the_same():
    clips = [clip("2", "anger", None, None), clip("1", "anger", None, None), clip("3", "fear", None, None)]
    assert [each.utterance_id for each in choose_examples(clips)] == ["1", "3"]
    with pytest.raises(ExplorationError, match="does not tell its speakers; leave --speaker out"):
        choose_examples(clips, speaker="a")


def test_an_unknown_speaker_or_sentence_is_refused_with_the_known_ones():
    clips = [clip("1", speaker="a", sentence="s1"), clip("2", speaker="b", sentence="s2")]
    with pytest.raises(ExplorationError, match="no speaker is called 'c'; known are a; b"):
        choose_examples(clips, speaker="c")
    with pytest.raises(ExplorationError, match="no sentence is called 's3'; known are s1; s2"):
        choose_examples(clips, sentence="s3")
    with pytest.raises(ExplorationError, match="no usable clip has --speaker 'a' --sentence 's2'"):
        choose_examples(clips, speaker="a", sentence="s2")


# A whole corpus.
def exploration_of(*clips):
    return Exploration("corpus", None, ("anger", "fear"), clips, ())


def test_semitones_are_above_the_median_of_the_speakers_own_clips():
    low = [clip(f"low{n}", speaker="low", f0_hz=hertz) for n, hertz in enumerate((50, 100, 100, 100, 200))]
    high = [
        clip(f"high{n}", speaker="high", f0_hz=hertz) for n, hertz in enumerate((300, 300, 300, 300, 600))
    ]
    few = [
        clip("few", speaker="few"),
        clip("voiceless", speaker="high", f0_hz=None),
        clip("no", speaker=None),
    ]
    found = exploration_of(*low, *high, *few).semitones
    assert set(found) == {each.utterance_id for each in low + high}
    assert found["low0"] == pytest.approx(-12.0)
    assert found["low4"] == pytest.approx(12.0) == found["high4"]
    assert found["low1"] == found["high0"] == 0.0


def test_numbers_are_sorted_by_emotion_and_gender_and_clips_without_one_left_out():
    clips = [clip("1"), clip("2", "fear"), replace(clip("3"), gender="male"), replace(clip("4"), gender=None)]
    values = {"1": 1.0, "2": 2.0, "3": 3.0, "4": 4.0}
    seen = exploration_of(*clips, clip("5"))
    assert seen.by_emotion(values) == {"": {"anger": [1.0, 3.0, 4.0], "fear": [2.0]}}
    assert seen.by_emotion(values, "gender") == {
        "": {"anger": [4.0], "fear": []},
        "female": {"anger": [1.0], "fear": [2.0]},
        "male": {"anger": [3.0], "fear": []},
    }


def test_a_title_says_when_its_figure_shows_a_sample():
    told, untold = clip("1"), Clip("2", "fear", "b", None, None)
    assert exploration_of(told).title("pitch", 1) == "corpus · pitch · n = 1, 1 speakers"
    assert (
        exploration_of(told, untold).title("pitch", 1) == "corpus · pitch · n = 1 of 2, a sample, 2 speakers"
    )
    assert exploration_of(told, told).title("pitch", 1) == "corpus · pitch · n = 1, 1 speakers"
    assert exploration_of(told, untold).title("clips", 2) == "corpus · clips · n = 2, 2 speakers"


def bars(figure):
    return [list(container) for container in figure.axes[0].containers]


def test_stacks_stand_on_one_another_and_reach_the_counts():
    stacks = {"a": {"anger": 3, "fear": 1}, "b": {"anger": 0, "fear": 5}}
    anger, fear = bars(stack_figure(stacks, ["anger", "fear"], "title"))
    assert [bar.get_height() for bar in anger] == [3, 0]
    assert [(bar.get_y(), bar.get_height()) for bar in fear] == [(3, 1), (0, 5)]
    anger, fear = bars(bar_figure(stacks, ["anger", "fear"], "title"))
    assert [(bar.get_x(), bar.get_width()) for bar in fear] == [(3, 1), (0, 5)]


def test_no_two_of_sixteen_emotions_look_alike_in_a_stack():
    parts = [f"emotion {number}" for number in range(16)]
    containers = bars(bar_figure({"a": dict.fromkeys(parts, 1)}, parts, "title"))
    assert len({(bar.get_facecolor(), bar.get_hatch()) for (bar,) in containers}) == 16


@pytest.mark.parametrize("n", [3, 5_000])
def test_a_spread_draws_dots_at_the_values_and_a_line_at_their_median(n):
    values = np.random.default_rng(0).normal(3, 1, n)
    figure = spread_figure({"": {"anger": values.tolist(), "fear": []}}, "duration (s)", "title")
    dots = figure.axes[0].collections[0].get_offsets()
    assert len(dots) == min(n, 3_000)
    assert set(np.round(dots[:, 0], 6)) <= set(np.round(values, 6))
    medians = [
        line
        for line in figure.axes[0].collections[1:]
        if len(line.get_segments() if hasattr(line, "get_segments") else []) == 1
    ]
    assert medians[0].get_segments()[0][:, 0] == pytest.approx(np.median(values))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        f"anger (n = {n})",
        "fear (n = 0)",
    ]


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    root = tmp_path_factory.mktemp("voices")
    synthesise_corpus(root, n_speakers=2)
    return root


def test_measures_come_in_the_order_of_rows_whatever_the_number_of_processes(tmp_path):
    seconds = [6.0] * CHUNK + [0.3] * CHUNK + [0.2] * CHUNK  # the later chunks are done before the first
    rows = []
    for number, length in enumerate(seconds):
        soundfile.write(tmp_path / f"{number}.wav", sine(100.0 + 5 * number, length), RATE)
        rows.append(Utterance(str(number), str(tmp_path / f"{number}.wav"), "anger"))
    corpus, seen = corpus_dataset(rows), []
    alone = measure_corpus(corpus, n_workers=1, on_clip=lambda n, seconds: seen.append((n, seconds)))
    assert [told.f0_hz for told in alone] == pytest.approx([100.0 + 5 * n for n in range(48)], rel=5e-3)
    assert measure_corpus(corpus, n_workers=2) == alone
    assert seen == [(48, length) for length in seconds]


def test_segments_of_one_recording_are_measured_each_by_itself(tmp_path):
    path = tmp_path / "session.wav"
    soundfile.write(path, np.concatenate([sine(120.0), sine(240.0, amplitude=0.05)]), RATE)
    rows = [
        Utterance("first", str(path), "anger", start_seconds=0.0, end_seconds=1.0),
        Utterance("second", str(path), "fear", start_seconds=1.0, end_seconds=2.0),
    ]
    first, second = measure_corpus(corpus_dataset(rows))
    assert (first.f0_hz, second.f0_hz) == (pytest.approx(120, rel=2e-3), pytest.approx(240, rel=2e-3))
    assert first.level_db - second.level_db == pytest.approx(20.0, abs=0.1)


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.alts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.alts += [dict(attributes)["alt"]] if tag == "img" else []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)


@pytest.fixture(scope="module")
def spoilt(voices, tmp_path_factory):
    """Two emotions of the voices, one clip with each defect, and the folder of their exploration."""
    root = tmp_path_factory.mktemp("spoilt")
    clips, out = root / "clips", root / "out"
    for emotion in ("anger", "fear"):
        shutil.copytree(voices / emotion, clips / emotion)
    samples, rate = soundfile.read(clips / "anger" / "synthetic-v01f-anger-s1.wav")
    soundfile.write(clips / "anger" / "synthetic-v01f-anger-s6.wav", np.clip(samples * 20, -1, 1), rate)
    soundfile.write(clips / "fear" / "synthetic-v01f-fear-s6.wav", samples, rate, subtype="PCM_16")
    soundfile.write(clips / "fear" / "synthetic-v01f-fear-s7.wav", np.zeros(rate), rate)
    soundfile.write(clips / "fear" / "synthetic-v01f-fear-s8.wav", samples[rate // 2 : rate * 3 // 4], rate)
    (clips / "fear" / "synthetic-v01f-fear-s9.wav").write_text("<html>not found</html>")
    out.mkdir()
    for name in ("explore.html", "clip_boredom.svg", "mine.svg"):  # of an earlier exploration, and the user's
        (out / name).write_text("earlier")
    code = main(["--corpus", "synthetic", "--root", str(clips), "--out", str(out), "--n-workers", "1"])
    return code, out


def test_the_verb_writes_a_page_with_every_figure_and_sound_and_every_defect(spoilt):
    code, out = spoilt
    assert code == 0
    page = (out / "explore.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.found.count("audio") == 2
    assert elements.found.count("img") == len(FIGURES) + 2
    assert all(len(alt) > 30 for alt in elements.alts)
    assert re.search('class="warning"[^>]*>2 of 25 recordings cannot be used', page)
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    for kind in ("Unreadable", "Silent", "Clipped", "Very short"):
        assert re.search(rf"{kind}: 1 clip \(", page)
    assert "synthetic-v01f-anger-s1 (anger) = synthetic-v01f-fear-s6 (fear)" in page
    assert str(out.parent) not in page


def test_the_folder_holds_each_figure_twice_and_the_numbers_of_every_clip(spoilt):
    _, out = spoilt
    names = [*FIGURES, "clip_anger", "clip_fear"]
    assert {path.name for path in out.iterdir()} == {
        "explore.html",
        "clips.csv",
        "mine.svg",
        *(f"{name}.{ending}" for name in names for ending in ("png", "svg")),
    }
    with (out / "clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25
    assert sum(bool(row["unusable"]) for row in rows) == 2
    assert [row["duplicate_of"] for row in rows if row["duplicate_of"]] == ["synthetic-v01f-anger-s1"]
    assert sum(float(row["clipped_share"] or 0) > 0.001 for row in rows) == 1


def test_a_sample_is_said_to_be_one(voices):
    seen = explore(load_corpus("synthetic", voices), max_clips=12, speaker="synthetic-v02", n_workers=1)
    page = exploration_page(replace(seen, examples=()), []).html()
    assert "A sample: 12 of 60 clips were opened" in page
    assert seen.n_looked_at == len(seen.measured) == 12
    assert {example.clip.speaker for example in seen.examples} == {"synthetic-v02"}
    assert len({example.clip.sentence for example in seen.examples}) == 1


def test_an_example_that_the_sample_left_out_and_that_cannot_be_used_gives_way_and_is_listed(
    voices, tmp_path
):
    clips = shutil.copytree(voices, tmp_path / "clips")
    (clips / "anger" / "synthetic-v01f-anger-s1.wav").write_bytes(b"")
    corpus = load_corpus("synthetic", clips)
    spoilt = corpus["utterance_id"][:].index("synthetic-v01f-anger-s1")
    sentence = corpus[spoilt]["sentence"]
    told = clips_of(corpus)
    seed = next(seed for seed in range(100) if spoilt not in sample_rows(told, 12, seed))
    seen = explore(corpus, max_clips=12, speaker="synthetic-v01", sentence=sentence, seed=seed, n_workers=1)
    anger = next(example.clip for example in seen.examples if example.clip.emotion == "anger")
    assert anger.utterance_id == "synthetic-v01f-anger-s2"
    unreadable = next(finding for finding in seen.findings if finding.kind == "unreadable")
    assert unreadable.n_clips == 1


def test_a_corpus_without_one_usable_recording_is_refused(tmp_path):
    for emotion in ("anger", "fear"):
        (tmp_path / emotion).mkdir()
        soundfile.write(tmp_path / emotion / "clip.wav", np.zeros(RATE), RATE)
    with pytest.raises(ExplorationError, match=r"none of 2 recordings can be used, the first: .*silence"):
        explore(load_corpus("folder", tmp_path))


def test_a_speaker_that_nobody_is_stops_before_anything_is_measured(voices, monkeypatch, capsys):
    monkeypatch.setattr(ser_transfer.explore, "measure_corpus", None)
    assert main(["--corpus", "synthetic", "--root", str(voices), "--speaker", "v77"]) == 1
    assert "no speaker is called 'v77'; known are synthetic-v01; synthetic-v02" in capsys.readouterr().err


def test_the_licence_and_citation_of_a_published_corpus_stand_on_its_page(shared):
    corpus = load_corpus("ravdess", shared / "corpora" / "ravdess")
    seen = explore(corpus, max_clips=24, n_workers=1)
    page = exploration_page(replace(seen, examples=()), []).html()
    assert "CC-BY-NC-SA-4.0" in page
    assert "Livingstone" in page
    assert len({(each.clip.speaker, each.clip.sentence) for each in seen.examples}) == 1
    assert len(seen.examples) == 8
