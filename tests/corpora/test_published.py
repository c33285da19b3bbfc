import json
import shutil

import pytest

from ser_transfer.corpora import CORPUS_CARDS, CorpusError, CorpusWarning, load_corpus
from ser_transfer.labels import EMOTIONS, LabelError


def by_id(corpus):
    return {row["utterance_id"]: row for row in corpus}


# --- the real corpora


def test_ravdess_has_its_published_speakers_and_classes(shared, counts, recwarn):
    corpus = load_corpus("ravdess", shared / "corpora" / "ravdess")
    assert len(corpus) == 1440
    assert sorted(set(corpus["speaker"])) == [f"{actor:02d}" for actor in range(1, 25)]
    others = ("calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
    assert counts(corpus) == {"neutral": 96} | dict.fromkeys(others, 192)
    assert set(corpus["gender"]) == {"female", "male"}
    assert not [warning for warning in recwarn if warning.category is CorpusWarning]


def test_emodb_has_its_published_speakers_and_classes(shared, counts):
    corpus = load_corpus("emodb", shared / "corpora" / "emodb_2s")
    assert len(set(corpus["speaker"])) == 10
    # Burkhardt et al. 2005; the counts per emotion are on the database's page.
    assert counts(corpus) == {
        "anger": 127,
        "boredom": 81,
        "neutral": 79,
        "happiness": 71,
        "fear": 69,
        "sadness": 62,
        "disgust": 46,
    }
    assert len(set(corpus["sentence"])) == 10
    women = {row["speaker"] for row in corpus if row["gender"] == "female"}
    assert women == {"08", "09", "13", "14", "16"}


def test_published_speakers_are_those_of_the_published_folds(shared):
    folds = json.loads((shared / "protocols" / "speaker_splits.json").read_text())
    emobox = folds["EmoBox (speaker-disjoint ones only)"]["ravdess"]
    published = {speaker for key, speakers in emobox.items() if "speakers" in key for speaker in speakers}
    assert published == set(load_corpus("ravdess", shared / "corpora" / "ravdess")["speaker"])


def test_classes_stand_in_the_order_of_the_vocabulary(shared):
    names = load_corpus("ravdess", shared / "corpora" / "ravdess").features["emotion"].names
    assert names == [emotion for emotion in EMOTIONS if emotion in names]


# --- RAVDESS


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
def test_ravdess_is_read_nested_or_flat_whatever_the_extension(tree):
    root = tree(
        [
            "Audio_Speech_Actors_01-24/Actor_01/03-01-05-02-01-02-01.WAV",
            "03-01-08-01-02-01-02.flac",
            "Audio_Song_Actors_01-24/Actor_01/03-02-02-01-01-01-01.wav",
        ]
    )
    speech = by_id(load_corpus("ravdess", root))
    assert set(speech) == {"03-01-05-02-01-02-01", "03-01-08-01-02-01-02"}
    row = speech["03-01-05-02-01-02-01"]
    assert (row["speaker"], row["gender"], row["intensity"]) == ("01", "male", "strong")
    assert row["audio"]["bytes"] is None
    assert row["audio"]["path"].endswith("Actor_01/03-01-05-02-01-02-01.WAV")
    assert load_corpus("ravdess", root, part="song")["utterance_id"][:] == ["03-02-02-01-01-01-01"]
    assert len(load_corpus("ravdess", root, part="all")) == 3


def test_ids_do_not_change_when_the_folder_moves(tree, tmp_path):
    root = tree(["Actor_01/03-01-05-02-01-02-01.wav", "Actor_02/03-01-05-02-01-02-02.wav"])
    with pytest.warns(CorpusWarning, match="2 utterances are under .*, 1440 were published"):
        before = load_corpus("ravdess", root)["utterance_id"][:]
    with pytest.warns(CorpusWarning):
        after = load_corpus("ravdess", shutil.move(root, tmp_path / "elsewhere"))["utterance_id"][:]
    assert before == after


@pytest.mark.filterwarnings("ignore:.*were published:ser_transfer.corpora.CorpusWarning")
def test_the_archive_that_holds_every_file_twice_counts_each_once(tree):
    names = ["Actor_01/03-01-05-02-01-02-01.wav", "Actor_02/03-01-05-02-01-02-02.wav"]
    root = tree([*names, *(f"audio_speech_actors_01-24/{name}" for name in names)])
    with pytest.warns(CorpusWarning, match=r"left out 2 second copies of utterances: audio_speech"):
        corpus = load_corpus("ravdess", root)
    assert len(corpus) == 2
    assert not any("audio_speech_actors" in audio["path"] for audio in corpus["audio"])


def test_two_recordings_under_one_name_are_refused(tree):
    tree(["Actor_01/03-01-05-02-01-02-01.wav"], b"one")
    root = tree(["copy/03-01-05-02-01-02-01.wav"], b"two")
    with pytest.raises(
        CorpusError, match=r"two different recordings, .*Actor_01.* and .*copy.*move the wrong"
    ):
        load_corpus("ravdess", root)


@pytest.mark.filterwarnings("ignore:.*were published:ser_transfer.corpora.CorpusWarning")
def test_odd_names_are_reported_and_left_out(tree):
    root = tree(
        [
            "03-01-05-02-01-02-01.wav",
            "03-01-05-02-01-02-01 (1).wav",
            "01-01-05-02-01-02-01.wav",  # from the film
            "03-01-05-02-01-02-25.wav",  # people file other corpora under actors 25 and 26
            "._03-01-05-02-01-02-01.wav",  # macOS's own, no recording
            "notes.txt",
        ]
    )
    with pytest.warns(CorpusWarning, match=r"left out 3 audio files .*: 01-01-05.*\(1\).wav, .*-25.wav"):
        assert len(load_corpus("ravdess", root)) == 1


def test_an_unmapped_code_names_its_file(tree):
    root = tree(["Actor_01/03-01-09-02-01-02-01.wav"])
    with pytest.raises(LabelError, match=r"Actor_01/03-01-09-02-01-02-01.wav: RAVDESS has no emotion 09"):
        load_corpus("ravdess", root)


def test_links_are_followed_once(tree, recwarn):
    root = tree(["Actor_01/03-01-05-02-01-02-01.wav"])
    (root / "Actor_01" / "up").symlink_to(root, target_is_directory=True)
    linked = root.parent / "linked"
    linked.mkdir()
    (linked / "Actor_01").symlink_to(root / "Actor_01", target_is_directory=True)
    assert len(load_corpus("ravdess", root)) == len(load_corpus("ravdess", linked)) == 1
    assert not [warning for warning in recwarn if "second copies" in str(warning.message)]


# --- CREMA-D

VOTES = (
    '"","A","D","F","H","N","S","fileName","numResponses"\n'
    '"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11\n'
    '"103213",1,0,0,0,2,6,"1040_ITH_SAD_XX",9\n'
    '"200001",0,0,0,11,0,0,"1001_IEO_NEU_XX",11\n'  # the face alone
    '"300001",9,0,0,0,0,0,"1001_IEO_NEU_XX",9\n'
)
DEMOGRAPHICS = '"ActorID","Age","Sex"\n1001,51,"Male"\n1040,42,"Female"\n'


@pytest.mark.filterwarnings("ignore:.*were published:ser_transfer.corpora.CorpusWarning")
def test_crema_d_takes_votes_on_the_voice_and_genders_from_the_tables_beside(tree):
    tree(["processedResults/tabulatedVotes.csv"], VOTES.encode())
    tree(["VideoDemographics.csv"], DEMOGRAPHICS.encode())
    root = tree(
        ["AudioWAV/1001_IEO_NEU_XX.wav", "AudioWAV/1040_ITH_SAD_X.wav", "AudioWAV/1001_IEO_FEA_HI.wav"]
    )
    for folder in (root, root / "AudioWAV"):
        rows = by_id(load_corpus("crema_d", folder))
        assert set(rows) == {"1001_IEO_NEU_XX", "1040_ITH_SAD_XX", "1001_IEO_FEA_HI"}
        votes = {name: n for name, n in rows["1001_IEO_NEU_XX"]["votes"].items() if n is not None}
        assert votes == {"anger": 0, "disgust": 0, "fear": 0, "happiness": 1, "neutral": 10, "sadness": 0}
        assert rows["1040_ITH_SAD_XX"]["votes"]["sadness"] == 6
        assert rows["1001_IEO_FEA_HI"]["votes"] is None
        assert rows["1001_IEO_FEA_HI"]["intensity"] == "high"
        assert rows["1040_ITH_SAD_XX"]["intensity"] is None
        assert [rows[name]["gender"] for name in sorted(rows)] == ["male", "male", "female"]
        assert rows["1001_IEO_NEU_XX"]["sentence"] == "It's eleven o'clock"


@pytest.mark.filterwarnings("ignore:.*were published:ser_transfer.corpora.CorpusWarning")
def test_crema_d_keeps_wav_where_mp3_lies_beside_and_says_so(tree):
    root = tree(["AudioMP3/1001_IEO_NEU_XX.mp3"], b"mp3")
    tree(["AudioWAV/1001_IEO_NEU_XX.wav"], b"wav")
    with pytest.warns(CorpusWarning, match="left out 1 second copies of utterances: AudioMP3"):
        (row,) = load_corpus("crema_d", root)
    assert row["audio"]["path"].endswith(".wav")
    assert row["gender"] is None
    assert row["votes"] is None


@pytest.mark.filterwarnings("ignore:.*were published:ser_transfer.corpora.CorpusWarning")
def test_crema_d_says_when_only_the_table_without_counts_is_there(tree):
    tree(["processedResults/summaryTable.csv"], b"")
    root = tree(["AudioWAV/1001_IEO_NEU_XX.wav"])
    with pytest.warns(CorpusWarning, match="put tabulatedVotes.csv"):
        load_corpus("crema_d", root)


def test_crema_d_refuses_a_table_of_another_form(tree):
    tree(["tabulatedVotes.csv"], b"fileName,A\n")
    with pytest.raises(CorpusError, match=r"tabulatedVotes.csv has no column '', 'N', 'H'"):
        load_corpus("crema_d", tree(["1001_IEO_NEU_XX.wav"]))


# --- TESS, SAVEE, EmoDB


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
def test_tess_is_read_with_its_misspelt_folders_and_file(tree, emotions):
    root = tree(
        [
            "TESS data/OAF_Pleasant_surprise/OAF_back_ps.wav",
            "TESS data/YAF_pleasant_surprised/YAF_back_ps.wav",
            "TESS data/OAF_neutral/OA_bite_neutral.wav",
            "TESS data/OAF_Fear/OAF_back_fear.wav",
        ]
    )
    corpus = load_corpus("tess", root)
    assert corpus["utterance_id"][:] == ["OAF_back_fear", "OAF_back_ps", "OAF_bite_neutral", "YAF_back_ps"]
    assert emotions(corpus) == ["fear", "surprise", "neutral", "surprise"]
    assert corpus["speaker"][:] == ["OAF", "OAF", "OAF", "YAF"]
    assert corpus["sentence"][2] == "Say the word bite"


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
@pytest.mark.parametrize("form", ["AudioData/{}/{}.wav", "ALL/{}_{}.wav"])
def test_savee_is_read_by_folder_or_flat_with_the_same_ids(tree, emotions, form):
    names = [("DC", "a01"), ("JE", "sa02"), ("KL", "su15"), ("JK", "n30")]
    corpus = load_corpus("savee", tree([form.format(*name) for name in names]))
    assert corpus["utterance_id"][:] == ["DC_a01", "JE_sa02", "JK_n30", "KL_su15"]
    assert corpus["speaker"][:] == ["DC", "JE", "JK", "KL"]
    assert emotions(corpus) == ["anger", "sadness", "neutral", "surprise"]


@pytest.mark.filterwarnings("ignore:.*were published:ser_transfer.corpora.CorpusWarning")
def test_a_savee_file_without_a_speaker_is_odd(tree):
    with pytest.warns(CorpusWarning, match="left out 1 audio files .*: somewhere/a02.wav"):
        load_corpus("savee", tree(["DC/a01.wav", "somewhere/a02.wav"]))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("emodb", "wav/03a01Xa.wav"),
        ("savee", "DC/x01.wav"),
        ("tess", "OAF_back_grumpy.wav"),
        ("crema_d", "1001_IEO_BOR_XX.wav"),
    ],
)
def test_every_corpus_refuses_an_unmapped_code_by_its_file(tree, name, file):
    with pytest.raises(LabelError, match=f"{file}: .* has no emotion"):
        load_corpus(name, tree([file]))


# --- IEMOCAP

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 3.5000, 1.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t(guarded)
C-E4:\tNeutral;\t()
C-F1:\tSadness;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()
A-E4:\tval 2; act 3; dom  3;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[4.0000, 4.0000, 3.0000]
C-E2:\tExcited;\t()
C-E3:\tHappiness; Excited;\t()

[14.8872 - 18.0175]\tSes01F_impro01_F001\txxx\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tFrustration;\t()
"""
SCRIPTED = (
    "[1.0000 - 2.0000]\tSes02M_script01_1b_M004\tfru\t[2.0000, 4.0000, 4.0000]\nC-E1:\tFrustration;\t()\n"
)
TRANSCRIPT = "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"


@pytest.fixture
def iemocap(tree):
    tree(["Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"], EVALUATION.encode())
    tree(
        ["Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt"],
        b"Ses01F_impro01_F000 :Anger;",
    )
    tree(["Session2/dialog/EmoEvaluation/Ses02M_script01_1b.txt"], SCRIPTED.encode())
    tree(["Session1/dialog/transcriptions/Ses01F_impro01.txt"], TRANSCRIPT.encode())
    return tree(
        [
            "Session1/dialog/wav/Ses01F_impro01.wav",
            "Session2/dialog/wav/Ses02M_script01_1b.wav",
            *(
                f"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{turn}.wav"
                for turn in ("F000", "F001", "M000")
            ),
            "Session2/sentences/wav/Ses02M_script01_1b/Ses02M_script01_1b_M004.wav",
        ]
    )


def test_iemocap_joins_utterances_with_their_evaluations(iemocap, emotions):
    with pytest.warns(CorpusWarning) as said:
        corpus = load_corpus("iemocap", iemocap)
    messages = [str(warning.message) for warning in said]
    assert "4 utterances are under" in messages[0]
    assert "left out 1 utterances on whose emotion the evaluators have no majority" in messages[1]
    assert len(messages) == 2, "whole dialogues are nothing odd"
    rows = by_id(corpus)
    assert emotions(corpus) == ["neutral", "excitement", "frustration"]
    first = rows["Ses01F_impro01_F000"]
    assert (first["valence"], first["arousal"], first["dominance"]) == (2.5, 3.5, 1.5)
    # The speaker's own category, C-F1, is no vote.
    assert {name: n for name, n in first["votes"].items() if n} == {"neutral": 3, "anger": 1}
    assert (first["speaker"], first["gender"], first["session"]) == ("Ses01F", "female", "Ses01")
    assert first["sentence"] == "Excuse me."
    assert (first["start_seconds"], first["end_seconds"]) == (None, None), (
        "each utterance is a file of its own"
    )
    other = rows["Ses02M_script01_1b_M004"]
    assert (other["speaker"], other["gender"], other["session"]) == ("Ses02M", "male", "Ses02")


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
def test_iemocap_has_parts_and_the_usual_four_classes(iemocap):
    assert len(load_corpus("iemocap", iemocap, part="improvised")) == 2
    assert load_corpus("iemocap", iemocap, part="scripted")["utterance_id"][:] == ["Ses02M_script01_1b_M004"]
    four = load_corpus("iemocap", iemocap, label_map="four_classes")
    assert four.features["emotion"].names == ["neutral", "happiness"]
    votes = by_id(four)["Ses01F_impro01_M000"]["votes"]
    assert votes["happiness"] == 3, "one for happiness and two for excitement, which now is happiness"
    assert votes["excitement"] is None


@pytest.mark.filterwarnings("ignore:.*(were published|majority):ser_transfer.corpora.CorpusWarning")
def test_iemocap_reports_utterances_without_evaluation(iemocap, tree):
    tree(["Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F099.wav"])
    with pytest.warns(CorpusWarning, match="left out 1 utterances that no file in EmoEvaluation mentions"):
        load_corpus("iemocap", iemocap)


def test_iemocap_without_evaluations_or_with_an_unknown_code_is_refused(tree):
    root = tree(["Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"])
    with pytest.raises(CorpusError, match=r"no Session\?/dialog/EmoEvaluation"):
        load_corpus("iemocap", root)
    tree(["EmoEvaluation/Ses01F_impro01.txt"], EVALUATION.replace("\tneu\t", "\tjoy\t").encode())
    with pytest.raises(
        LabelError, match=r"Ses01F_impro01.txt: IEMOCAP has no emotion joy \(Ses01F_impro01_F000\)"
    ):
        load_corpus("iemocap", root)


# --- all of them


@pytest.mark.parametrize("name", CORPUS_CARDS)
def test_a_published_corpus_that_is_not_there_says_what_was_looked_for_and_where_to_get_it(
    name, tree, tmp_path
):
    url = CORPUS_CARDS[name].url
    with pytest.raises(CorpusError, match=f"--root DIR.*{url}"):
        load_corpus(name)
    with pytest.raises(CorpusError, match=f"no folder at .*{url}"):
        load_corpus(name, tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=url):
        load_corpus(name, tree(["readme.txt"]))
    tree(["Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"], EVALUATION.encode())
    with pytest.raises(CorpusError, match=rf"none of the 1 audio files is named as in .*{url}"):
        load_corpus(name, tree(["music.mp3"]))


@pytest.mark.parametrize("card", CORPUS_CARDS.values(), ids=lambda card: card.name)
def test_every_published_corpus_carries_its_facts(card):
    assert card.name in CORPUS_CARDS
    assert card.n_speakers > 1
    assert all((card.title, card.languages, card.licence, card.citation, card.example_file))
    assert card.url.startswith(("https://", "http://"))
