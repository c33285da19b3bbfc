import itertools
import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from ser_transfer.splits import KINDS, SplitError, make_split

CLASSES = ["neutral", "happiness", "sadness", "anger"]
TEXT = ("utterance_id", "speaker", "session", "sentence", "gender", "language", "intensity")
FEATURES = Features({name: Value("string") for name in TEXT} | {"emotion": ClassLabel(names=CLASSES)})
SPEAKER_INDEPENDENT = ("leave-one-speaker-out", "speaker-folds", "by-session", "emobox:iemocap")


def row(speaker, emotion, take=0, *, session=None, gender=None):
    return {
        "utterance_id": f"{speaker}_{emotion}_{take}_{session}",
        "speaker": speaker,
        "session": session,
        "sentence": f"s{take}",
        "gender": gender,
        "language": None,
        "intensity": None,
        "emotion": emotion,
    }


def dataset(rows):
    return Dataset.from_list(rows, features=FEATURES)


def crossed(speakers, n_takes=3, emotions=range(4), **columns):
    """Every speaker says everything; odd numbers are men, as in RAVDESS."""
    return [
        row(name, emotion, take, gender=("female", "male")[number % 2], **columns)
        for number, name in enumerate(speakers, 1)
        for emotion, take in itertools.product(emotions, range(n_takes))
    ]


@pytest.fixture(scope="module")
def actors():
    return dataset(crossed([f"{number:02d}" for number in range(1, 25)], n_takes=15))


@pytest.fixture(scope="module")
def dialogues():
    """Five sessions of two speakers, as IEMOCAP."""
    names = [f"Ses{number:02d}" for number in range(1, 6)]
    return dataset([r for name in names for r in crossed([name + "M", name + "F"], session=name)])


def column_of(corpus, column):
    return dict(zip(corpus["utterance_id"], corpus[column], strict=True))


def sides(fold):
    return fold.train_ids, fold.validation_ids, fold.test_ids


@pytest.mark.parametrize("kind", [*SPEAKER_INDEPENDENT, "grouped-by:sentence", "speaker-dependent"])
class TestEveryKind:
    def test_every_utterance_is_tested_once_and_is_on_one_side_of_every_fold(self, kind, dialogues):
        split = make_split(dialogues, kind, n_folds=3)
        everyone = sorted(dialogues["utterance_id"])
        assert sorted(id_ for fold in split.folds for id_ in fold.test_ids) == everyone
        assert all(sorted(itertools.chain(*sides(fold))) == everyone for fold in split.folds)

    def test_folds_do_not_depend_on_the_order_of_the_rows(self, kind, dialogues):
        shuffled = dialogues.shuffle(seed=3)
        assert make_split(shuffled, kind, n_folds=3) == make_split(dialogues, kind, n_folds=3)

    def test_validation_has_every_class(self, kind, dialogues):
        emotion = column_of(dialogues, "emotion")
        for fold in make_split(dialogues, kind, n_folds=3).folds:
            assert {emotion[id_] for id_ in fold.validation_ids} == set(range(4))


@pytest.mark.parametrize("kind", SPEAKER_INDEPENDENT)
def test_a_speaker_independent_split_shares_no_speaker_between_its_sides(kind, dialogues):
    split, speaker = make_split(dialogues, kind), column_of(dialogues, "speaker")
    assert split.speaker_independent
    for fold in split.folds:
        train, validation, test = ({speaker[id_] for id_ in side} for side in sides(fold))
        assert train
        assert validation
        assert test
        assert not train & validation | train & test | validation & test


def test_only_speaker_splits_are_called_speaker_independent(dialogues):
    assert not make_split(dialogues, "speaker-dependent").speaker_independent
    assert not make_split(dialogues, "grouped-by:session").speaker_independent


def test_a_grouped_split_shares_no_group_between_its_sides(dialogues):
    split, sentence = (
        make_split(dialogues, "grouped-by:sentence", n_folds=3),
        column_of(dialogues, "sentence"),
    )
    for fold in split.folds:
        train, validation, test = ({sentence[id_] for id_ in side} for side in sides(fold))
        assert not train & validation | train & test | validation & test


@pytest.mark.parametrize("seed", range(5))
def test_speaker_folds_balance_gender_and_size_on_test_and_validation(seed, actors):
    gender = column_of(actors, "gender")
    for fold in make_split(actors, "speaker-folds", n_folds=6, seed=seed).folds:
        for side in (fold.test_ids, fold.validation_ids):
            women = sum(gender[id_] == "female" for id_ in side)
            assert (len(side), women) == (4 * 60, 2 * 60)


def test_another_seed_deals_other_folds(actors):
    first, second = (make_split(actors, "speaker-folds", seed=seed) for seed in (0, 1))
    assert first != second


def test_unequal_speakers_give_folds_of_like_size_and_classes():
    names = [f"p{number}" for number in range(30)]
    rows = [
        r
        for n, name in enumerate(names)
        for r in crossed([name], n_takes=1 + n, emotions=[n % 4, (n + 1) % 4])
    ]
    corpus = dataset(rows)
    emotion = column_of(corpus, "emotion")
    for fold in make_split(corpus, "speaker-folds").folds:
        for code in range(4):
            share = sum(emotion[id_] == code for id_ in fold.test_ids) / list(emotion.values()).count(code)
            assert 0.1 < share < 0.3  # a fifth is even; speakers have from 2 to 60 utterances


def test_published_folds_are_those_of_the_reference(shared, actors):
    reference = json.loads((shared / "protocols" / "speaker_splits.json").read_text())
    reference = reference["EmoBox (speaker-disjoint ones only)"]["ravdess"]
    speaker = column_of(actors, "speaker")
    split = make_split(actors, "emobox", corpus_name="ravdess")
    assert split == make_split(actors, "emobox:ravdess") == make_split(actors, "published:ravdess")
    for fold in split.folds:
        assert sorted({speaker[id_] for id_ in fold.test_ids}) == reference[f"fold_{fold.name}_test_speakers"]


def test_a_published_holdout_keeps_its_own_validation_speakers(actors):
    (fold,) = make_split(actors, "pepino:ravdess").folds
    speaker = column_of(actors, "speaker")
    found = [sorted({speaker[id_] for id_ in side}) for side in sides(fold)]
    assert found == [[f"{number:02d}" for number in range(1, 21)], ["21", "22"], ["23", "24"]]


def test_published_folds_want_the_whole_published_corpus(actors):
    with pytest.raises(SplitError, match="not in the corpus: 24"):
        make_split(actors.filter(lambda r: r["speaker"] != "24"), "emobox:ravdess")
    with pytest.raises(SplitError, match="not in the published folds: 01, 02"):
        make_split(dataset(crossed(["01", "02", "DC", "JE", "JK", "KL"])), "emobox:savee")
    with pytest.raises(SplitError, match="no speaker-disjoint published folds of 'emodb' under 'emobox'"):
        make_split(actors, "emobox", corpus_name="emodb")


def test_two_speakers_leave_none_to_validate_on_and_the_split_says_so():
    split = make_split(dataset(crossed(["OAF", "YAF"])), "loso")
    assert split.name == "leave-one-speaker-out"
    assert all(fold.validation_ids == () and fold.train_ids for fold in split.folds)
    assert "default settings are used" in " ".join(split.notes)


def test_validation_never_takes_the_last_speaker_of_a_class_from_training():
    rows = [*crossed([f"p{number}" for number in range(8)], emotions=range(3)), row("p0", 3), row("p1", 3)]
    corpus = dataset(rows)
    emotion, speaker = column_of(corpus, "emotion"), column_of(corpus, "speaker")
    for seed in range(10):
        split = make_split(corpus, "loso", seed=seed)
        assert all(3 in {emotion[id_] for id_ in fold.train_ids} for fold in split.folds)
        assert "fold p2 does not test anger" in split.notes
        assert {speaker[id_] for fold in split.folds for id_ in fold.test_ids} == set(speaker.values())


def test_a_class_that_only_the_tested_speaker_has_is_refused():
    with pytest.raises(SplitError, match="fold p0: no utterance of anger is left to train on"):
        make_split(dataset([*crossed(["p0", "p1", "p2"], emotions=range(3)), row("p0", 3)]), "loso")


def test_without_speakers_the_error_says_what_to_do():
    rows = [r | {"speaker": None} for r in crossed(["a", "b", "c"], session="x")]
    with pytest.raises(
        SplitError, match=r"no utterance has a known speaker.*--speaker-pattern.*grouped-by:session"
    ):
        make_split(dataset(rows), "speaker-folds")
    assert make_split(dataset(rows), "grouped-by:sentence", n_folds=3).folds


def test_some_speakers_unknown_is_refused():
    rows = crossed(["a", "b", "c"])
    rows[5] = rows[5] | {"speaker": None}
    with pytest.raises(
        SplitError, match=f"1 of 36 utterances lack a known speaker.*{rows[5]['utterance_id']}"
    ):
        make_split(dataset(rows), "loso")


def test_a_speaker_in_two_sessions_makes_by_session_refused():
    rows = [r for session in ("1", "2", "3") for r in crossed(["a", session], session=session)]
    with pytest.raises(SplitError, match=r"speaker a is in session 1 and in 2.*grouped-by:session"):
        make_split(dataset(rows), "by-session")


@pytest.mark.parametrize(
    ("kind", "n_folds", "message"),
    [
        ("random", 5, "no split 'random'; the splits are leave-one-speaker-out"),
        ("grouped-by", 5, "grouped-by takes a column"),
        ("grouped-by:speaker", 5, "by speaker is --split speaker-folds"),
        ("loso:session", 5, "takes nothing behind a colon"),
        ("speaker-folds", 11, "10 speakers cannot be dealt into 11 folds"),
        ("speaker-dependent", 1, "cannot be dealt into 1 folds"),
    ],
)
def test_what_cannot_be_split_is_refused_with_what_can(kind, n_folds, message, dialogues):
    with pytest.raises(SplitError, match=message):
        make_split(dialogues, kind, n_folds=n_folds)


def test_one_speaker_and_no_rows_are_refused():
    for kind in ("loso", "speaker-folds"):
        with pytest.raises(SplitError, match="one speaker only"):
            make_split(dataset(crossed(["a"])), kind)
    with pytest.raises(SplitError, match="no utterances"):
        make_split(dataset(crossed(["a"])).select([]), "loso")


def test_every_kind_is_named_in_the_documentation():
    assert all(kind in make_split.__doc__ for kind in KINDS)
