import io
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Value

from ser_transfer.corpora import CorpusError, CorpusWarning, load_corpus
from ser_transfer.labels import LabelError

# --- folder


def test_a_folder_per_emotion_is_read_at_any_depth(tree, emotions):
    root = tree(["Happy/p01/1.wav", "p02/angry/x/1.WAV", "Freude/2.flac", "sad/1.ogg", "readme.md"])
    corpus = load_corpus("folder", root, language="de")
    assert corpus["utterance_id"][:] == ["Freude/2", "Happy/p01/1", "p02/angry/x/1", "sad/1"]
    assert emotions(corpus) == ["happiness", "happiness", "anger", "sadness"]
    assert set(corpus["speaker"]) == {None}, "nothing pretends"
    assert set(corpus["language"]) == {"de"}


def test_the_pattern_gives_the_speaker_and_what_else_it_names(tree):
    root = tree(["happy/spk01_s3.wav", "angry/spk02_s4.wav"])
    corpus = load_corpus("folder", root, speaker_pattern=r"(?P<speaker>spk\d+)_(?P<sentence>s\d)")
    assert corpus["speaker"][:] == ["spk02", "spk01"]
    assert corpus["sentence"][:] == ["s4", "s3"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<speaker>spk\d+)", "finds no speaker in 'angry/other.wav'"),
        (r"(spk\d+)", "has the named groups none; speaker is needed"),
        (r"(?P<speaker>a)(?P<emotion>b)", "has the named groups speaker, emotion"),
        (r"(?P<speaker>", "is no regular expression"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused_with_one_that_would(tree, pattern, message):
    root = tree(["happy/spk01.wav", "angry/other.wav"])
    with pytest.raises(CorpusError, match=rf"{message}.*--speaker-pattern"):
        load_corpus("folder", root, speaker_pattern=pattern)


def test_files_that_differ_in_the_extension_alone_keep_it_in_their_ids(tree):
    root = tree(["happy/a.wav", "happy/a.flac", "happy/b.wav", "happy/c.d.wav"])
    assert load_corpus("folder", root)["utterance_id"][:] == [
        "happy/a.flac",
        "happy/a.wav",
        "happy/b",
        "happy/c.d",
    ]


def test_a_folder_that_names_no_emotion_needs_a_meaning(tree, counts):
    root = tree(["grumpy/1.wav", "happy/1.wav", "unsure/1.wav"])
    with pytest.raises(
        LabelError, match=r"grumpy/1.wav lies under no folder named after an emotion.*--emotion-codes"
    ):
        load_corpus("folder", root)
    with pytest.warns(
        CorpusWarning, match="left out 1 recordings that emotion_codes leaves out: unsure/1.wav"
    ):
        corpus = load_corpus("folder", root, emotion_codes={"grumpy": "angry", "unsure": None})
    assert counts(corpus) == {"anger": 1, "happiness": 1}


def test_a_path_of_two_emotions_or_a_folder_without_sound_is_refused(tree, tmp_path):
    with pytest.raises(LabelError, match="folders of different emotions, happy and sad"):
        load_corpus("folder", tree(["happy/sad/1.wav"], root="both"))
    with pytest.raises(CorpusError, match=r"no recordings under .*; looked for .*\.flac.*\.wav"):
        load_corpus("folder", tree(["happy/1.txt"], root="silent"))
    with pytest.raises(CorpusError, match="needs a folder"):
        load_corpus("folder", tmp_path / "nowhere")


# --- table

ROWS = {
    "file": ["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"],
    "label": ["happy", "W", "neutral", ""],
    "who": ["01", "NA", "", "02"],
    "gender": ["F", "male", "m", ""],
    "valence": ["4.5", "1", "", "2"],
}
COLUMNS = {"audio_column": "file", "emotion_column": "label", "speaker_column": "who"}


def write_table(root, suffix, rows=ROWS):
    frame, path = pd.DataFrame(rows), root / f"table{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".TSV" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".TSV", ".parquet"])
def test_a_table_is_read_with_its_columns_named(tree, emotions, suffix):
    table = write_table(tree(ROWS["file"]), suffix)
    with pytest.warns(CorpusWarning, match="left out 1 of 4 rows"):
        corpus = load_corpus("table", table, **COLUMNS, emotion_codes={"W": "anger"}, language="en")
    assert corpus["utterance_id"][:] == ["a/1", "a/2", "b/1"]
    assert emotions(corpus) == ["happiness", "anger", "neutral"]
    assert corpus["speaker"][:] == ["01", "NA", None], "codes stay as they are written"
    assert corpus["gender"][:] == ["female", "male", "male"]
    assert corpus["valence"][:] == [4.5, 1.0, None]
    assert corpus["audio"][0]["path"] == str(table.parent / "a" / "1.wav")


def test_segments_of_one_recording_are_rows_of_their_own(tree):
    rows = {"audio": ["call.wav"] * 2, "emotion": ["sad", "calm"], "start": ["0", "2.5"], "end": ["2.5", ""]}
    table = write_table(tree(["call.wav"]), ".csv", rows)
    corpus = load_corpus("table", table, start_column="start", end_column="end")
    assert corpus["utterance_id"][:] == ["call#0-2.5", "call#2.5-"]
    assert corpus["start_seconds"][:] == [0.0, 2.5]
    assert corpus["end_seconds"][:] == [2.5, None]


def test_ids_of_absolute_paths_do_not_tell_where_the_folder_lies(tree):
    root = tree(["x/1.wav", "y/1.wav"])
    for second in (str(root / "y" / "1.wav"), "y/1.wav"):
        rows = {"audio": [str(root / "x" / "1.wav"), second], "emotion": ["sad", "calm"]}
        assert load_corpus("table", write_table(root, ".csv", rows))["utterance_id"][:] == ["x/1", "y/1"]


def test_numbers_with_gaps_stay_whole_as_speakers_and_codes(tree, emotions):
    rows = {"audio": ["1.wav", "2.wav", "3.wav"], "emotion": [0, 1, 0], "speaker": [7.0, None, 8.0]}
    table = write_table(tree(rows["audio"]), ".parquet", rows)
    corpus = load_corpus("table", table, emotion_codes={"0": "neutral", "1": "anger"})
    assert corpus["speaker"][:] == ["7", None, "8"]
    assert emotions(corpus) == ["neutral", "anger", "neutral"]


def test_speakers_of_digits_keep_their_zeros(tree):
    rows = {"audio": ["1.wav", "2.wav"], "emotion": ["sad", "calm"], "speaker": ["01", "02"]}
    table = write_table(tree(rows["audio"]), ".csv", rows)
    assert load_corpus("table", table)["speaker"][:] == ["01", "02"]


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            {},
            {"speaker_column": "speaker_name"},
            r"no column 'speaker_name' for speaker_column \(--speaker-column\)",
        ),
        ({}, {"emotion_column": None}, r"no column 'emotion'; .*--emotion-column\): file, label"),
        ({}, {"id_column": "label"}, r"ids occur more than once: happy"),
        ({"file": ["a/1.wav", "a/2.wav", "b/1.wav", "c.wav"]}, {}, r"1 recordings that are not there: c.wav"),
        ({"file": ["a/1.wav", "a/2.wav", "b/1.wav", ""]}, {}, "row 4: no path"),
        ({"valence": ["4.5", "high", "", "2"]}, {}, "row 2: valence is 'high', which is no number"),
        ({}, {"id_column": "who"}, "row 3: no utterance id"),
        ({"label": [""] * 4}, {}, "none of 4 rows has an emotion"),
        ({name: [] for name in ROWS}, {}, "has no rows"),
        ({"file": ["a/1.wav"] * 4}, {}, r"ids occur more than once: a/1; .*--id-column"),
    ],
)
def test_a_table_that_does_not_fit_says_why(tree, change, settings, message):
    rows = ROWS | {"label": ["happy", "happy", "neutral", "sad"]} | change
    table = write_table(tree(ROWS["file"]), ".csv", rows)
    with pytest.raises(CorpusError, match=message):
        load_corpus("table", table, **(COLUMNS | settings))


def test_a_cell_that_names_no_emotion_names_its_row(tree):
    table = write_table(tree(ROWS["file"]), ".csv")
    with pytest.raises(LabelError, match=r"table.csv, row 2: 'W' names no emotion"):
        load_corpus("table", table, **COLUMNS)


def test_what_is_no_table_is_refused(tree, tmp_path):
    for root in (None, tmp_path, tree(["happy/1.wav"]) / "happy" / "1.wav"):
        with pytest.raises(CorpusError, match=r"ends in .csv, .tsv, .parquet"):
            load_corpus("table", root)
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(CorpusError, match="cannot be read as a table"):
        load_corpus("table", empty)


# --- dataset


def sound() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(160, dtype=np.float32), 16_000, format="WAV")
    return buffer.getvalue()


def dataset(names, labels=None, **columns):
    texts = {name: Value("string") for name in columns}
    features = Features(texts | {"label": labels} if labels else texts)
    audio = [{"bytes": sound(), "path": name} for name in names]
    return Dataset.from_dict(columns, features=features).add_column(
        "file", audio, feature=Audio(decode=False)
    )


FLAGS = {"audio_column": "file", "emotion_column": "label"}


def test_a_saved_dataset_keeps_its_audio_undecoded_and_its_labels_by_name(tmp_path, emotions):
    label = ClassLabel(names=["sad", "happy"])
    dataset(["1.wav", "2.wav"], label, label=[1, 0], who=["a", "b"]).save_to_disk(tmp_path / "saved")
    corpus = load_corpus("dataset", tmp_path / "saved", **FLAGS, speaker_column="who")
    assert emotions(corpus) == ["happiness", "sadness"]
    assert corpus.features["emotion"].names == ["happiness", "sadness"]
    assert corpus["speaker"][:] == ["a", "b"]
    assert corpus["utterance_id"][:] == ["1", "2"]
    assert corpus[0]["audio"]["bytes"][:4] == b"RIFF"
    assert corpus.features["audio"] == Audio(decode=False)


def test_rows_without_label_go_and_the_others_keep_their_own_audio(tmp_path, counts):
    rows = dataset(["1.wav", "2.wav", "3.wav"], label=["sad", None, "joy"])
    rows.save_to_disk(tmp_path / "saved")
    with pytest.warns(CorpusWarning, match="left out 1 of 3 rows"):
        corpus = load_corpus("dataset", tmp_path / "saved", **FLAGS)
    assert [(row["utterance_id"], row["audio"]["path"]) for row in corpus] == [("1", "1.wav"), ("3", "3.wav")]
    with pytest.warns(CorpusWarning):
        mapped = load_corpus("dataset", tmp_path / "saved", **FLAGS, label_map={"sad": "other", "joy": "joy"})
    assert counts(mapped) == {"other": 1, "happiness": 1}
    assert mapped[1]["audio"]["path"] == "3.wav"


def test_a_column_that_is_no_audio_is_refused_and_paths_are_taken(tmp_path):
    features = Features({"label": ClassLabel(names=["sad"]), "audio": Value("string")})
    rows = Dataset.from_dict({"label": [0], "audio": ["/x/1.wav"]}, features=features)
    rows.save_to_disk(tmp_path / "saved")
    (row,) = load_corpus("dataset", tmp_path / "saved", emotion_column="label")
    assert row["audio"] == {"bytes": None, "path": "/x/1.wav"}
    with pytest.raises(CorpusError, match=r"column 'label' holds ClassLabel.*, not audio.*: label, audio"):
        load_corpus("dataset", tmp_path / "saved", emotion_column="label", audio_column="label")


def test_several_splits_need_a_choice(tmp_path):
    splits = {
        "train": dataset(["1.wav"], label=["sad"]),
        "test": dataset(["1.wav", "2.wav"], label=["sad", "calm"]),
    }
    DatasetDict(splits).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        CorpusError, match=r"splits train, test; say which .*--dataset-split\), or all: train\+test"
    ):
        load_corpus("dataset", tmp_path / "saved", **FLAGS)
    with pytest.raises(CorpusError, match="no split 'dev'; it has train, test"):
        load_corpus("dataset", tmp_path / "saved", **FLAGS, dataset_split="dev")
    assert len(load_corpus("dataset", tmp_path / "saved", **FLAGS, dataset_split="test")) == 2
    both = load_corpus("dataset", tmp_path / "saved", **FLAGS, dataset_split="train+test")
    assert both["utterance_id"][:] == ["000000", "000001", "000002"], "two rows share the path 1.wav"


def test_a_folder_of_parquet_files_is_loaded(tmp_path, monkeypatch, emotions):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hub").mkdir()
    dataset(["x/1.wav", "y/2.wav"], label=["happy", "sad"]).to_parquet(tmp_path / "hub" / "train-0.parquet")
    corpus = load_corpus("dataset", tmp_path / "hub", **FLAGS)
    assert corpus["utterance_id"][:] == ["x/1", "y/2"]
    assert emotions(corpus) == ["happiness", "sadness"]
    assert corpus["speaker"][:] == [None, None], "nothing pretends"
    assert corpus[1]["audio"]["bytes"] == sound()


@pytest.mark.skipif(find_spec("torchcodec") is not None, reason="datasets can encode audio files here")
def test_plain_files_that_datasets_cannot_take_are_sent_to_the_corpora_that_can(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CorpusError, match=r"torchcodec.*; read a folder per emotion as corpus folder"):
        load_corpus("dataset", tree(["happy/1.wav", "sad/1.wav"], sound()), emotion_column="label")


def test_a_dataset_that_is_nowhere_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError, match=r"^dataset someone/nothing cannot be loaded: [^\n]+$"):
        load_corpus("dataset", "someone/nothing")
    with pytest.raises(CorpusError, match="needs a Hub id or a folder"):
        load_corpus("dataset")
