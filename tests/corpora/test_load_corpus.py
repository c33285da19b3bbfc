import subprocess
import sys

import pytest

from ser_transfer.corpora import CORPORA, CorpusError, CorpusWarning, apply_label_map, load_corpus
from ser_transfer.corpora._rows import COLUMNS, Utterance, corpus_dataset
from ser_transfer.labels import EMOTIONS, LabelError


def corpus_of(*emotions, votes=None):
    return corpus_dataset(
        [Utterance(f"u{row}", f"/u{row}.wav", emotion, votes=votes) for row, emotion in enumerate(emotions)]
    )


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        CorpusError, match="known are ravdess, crema_d, tess, emodb, savee, iemocap, folder, table"
    ):
        load_corpus("ravdes")


@pytest.mark.parametrize("name", CORPORA)
def test_a_setting_of_another_corpus_is_refused_with_those_that_fit(name):
    unfit = "audio_column" if name in ("ravdess", "folder", "iemocap") else "speaker_pattern"
    with pytest.raises(
        CorpusError, match=f"corpus {name} has no setting {unfit}; besides root and label_map"
    ):
        load_corpus(name, **{unfit: "x"})


@pytest.mark.parametrize("name", ["ravdess", "iemocap"])
def test_an_unknown_part_lists_the_parts(name, tmp_path):
    with pytest.raises(CorpusError, match=r"part is 'singing'; known are .*all"):
        load_corpus(name, tmp_path, part="singing")


def test_every_corpus_has_the_same_columns(shared, tree):
    folder = load_corpus("folder", tree(["happy/1.wav"]))
    ravdess = load_corpus("ravdess", shared / "corpora" / "ravdess")
    assert tuple(folder.column_names) == tuple(ravdess.column_names) == COLUMNS
    unlike = [name for name in COLUMNS if folder.features[name] != ravdess.features[name]]
    assert unlike == ["emotion"]


def test_two_rows_of_one_id_are_refused():
    with pytest.raises(CorpusError, match="1 utterance ids occur more than once: a"):
        corpus_dataset([Utterance("a", "/1.wav", "calm"), Utterance("a", "/2.wav", "calm")])


def test_a_map_merges_drops_and_puts_classes_in_vocabulary_order(counts):
    corpus = corpus_of("anger", "excitement", "happiness", "calm", "neutral", "fear")
    with pytest.warns(CorpusWarning, match=r"four_classes leaves out 2 of 6 utterances: calm 1, fear 1"):
        mapped = apply_label_map(corpus, "four_classes")
    assert mapped.features["emotion"].names == ["neutral", "happiness", "anger"]
    assert mapped["utterance_id"][:] == ["u0", "u1", "u2", "u4"]
    assert counts(mapped) == {"anger": 1, "happiness": 2, "neutral": 1}
    assert mapped.column_names == corpus.column_names
    assert [audio["path"] for audio in mapped["audio"]] == ["/u0.wav", "/u1.wav", "/u2.wav", "/u4.wav"]


def test_ravdess_becomes_seven_classes_without_a_loss(shared, counts):
    corpus = load_corpus("ravdess", shared / "corpora" / "ravdess", label_map="calm_as_neutral")
    assert counts(corpus)["neutral"] == 96 + 192
    assert "calm" not in corpus.features["emotion"].names
    assert len(corpus) == 1440


def test_an_emotion_that_the_map_does_not_mention_is_named():
    with pytest.raises(LabelError, match="the label map does not mention calm, which the corpus has"):
        apply_label_map(corpus_of("calm", "anger"), {"anger": "anger"})


def test_a_map_that_leaves_nothing_is_refused():
    with pytest.raises(LabelError, match="four_classes leaves out every utterance: the corpus has only calm"):
        apply_label_map(corpus_of("calm"), "four_classes")


def test_votes_follow_their_emotion():
    corpus = corpus_of("excitement", votes={"excitement": 2, "happiness": 1, "fear": 4, "anger": 0})
    (row,) = apply_label_map(corpus, "four_classes")
    assert {name: n for name, n in row["votes"].items() if n is not None} == {"happiness": 3, "anger": 0}
    assert set(row["votes"]) == set(EMOTIONS)


def test_importing_corpora_imports_nothing_heavy():
    heavy = ("datasets", "pandas", "pyarrow", "torch", "librosa")
    code = f"import sys, ser_transfer.corpora; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
