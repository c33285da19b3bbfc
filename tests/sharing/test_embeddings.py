import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard
from private_corpus import PEOPLE, ROWS, SECRET, Unheard, embedded, keys, private_corpus

import ser_transfer.embed
import ser_transfer.train
from ser_transfer import EmotionModel, load_corpus, load_encoder
from ser_transfer._stored import computed_embeddings
from ser_transfer.cards import CardError
from ser_transfer.corpora.synthetic import synthesise_corpus
from ser_transfer.cross_validation import Labels
from ser_transfer.encoders import EncoderError
from ser_transfer.sharing.embeddings import Embedded, embeddings_repository
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.shared_embeddings import load_shared_embeddings


def written(folder: Path, corpus=None, *others, **options) -> Path:
    corpus = private_corpus() if corpus is None else corpus
    embeddings_repository(corpus, [embedded(corpus), *others], folder, keys=keys(corpus), **options)
    return folder


def everything(folder: Path) -> str:
    """All that anyone can read in a folder: names, texts, and every cell of every table."""
    told = []
    for path in sorted(folder.rglob("*")):
        told.append(path.relative_to(folder).as_posix())
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            told += [str(table.schema.metadata), str(table.schema), table.to_pandas().to_string()]
            told.append(path.read_bytes().decode("latin-1"))
        elif path.is_file():
            told.append(path.read_text(encoding="utf-8"))
    return "\n".join(told)


def edited(folder: Path, change) -> None:
    path = folder / "embeddings.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    path.write_text(json.dumps(told), encoding="utf-8")


# What is written


def test_nobody_in_a_private_corpus_can_be_found_by_name_file_word_or_place(tmp_path):
    shown = everything(written(tmp_path / "made"))
    secrets = (*PEOPLE, "vontobel", "ward-seven", "therapy", "my-diagnosis-is", "sobbing", "they said so")
    for secret in (*secrets, SECRET, "secret", ".wav", str(tmp_path), "key of"):
        assert secret not in shown, secret
    rows = load_shared_embeddings(tmp_path / "made").corpus
    assert set(rows["speaker"]) == {"speaker_1", "speaker_2", "speaker_3"}
    assert set(rows["session"]) == {"session_1", "session_2", "session_3"}
    assert set(rows["gender"]) == {"female", None}
    assert set(rows["language"]) == {"de"}
    assert set(rows["arousal"]) == {0.5}


def test_pseudonyms_keep_what_belongs_together_and_say_nothing_of_the_names(tmp_path):
    """Whoever is renamed, and in whichever order the rows come: the same files, byte for byte."""
    people = PEOPLE[::-1]  # whose order in the alphabet is another
    shuffled = np.random.default_rng(1).permutation(len(ROWS)).tolist()
    for folder, corpus, called in (
        (tmp_path / "first", private_corpus(), PEOPLE),
        (tmp_path / "again", private_corpus(people=people, order=shuffled), people),
    ):
        different = {id_: id_ for id_ in corpus["utterance_id"]}
        embeddings_repository(corpus, [embedded(corpus, called)], folder, keys=different)
    first, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("first", "again")
    )
    assert first == again
    table, corpus = pd.read_parquet(tmp_path / "first/zero_crossings"), private_corpus()
    given = embedded(corpus).embeddings.layers["crossings"]
    owner = {row.tobytes(): speaker for row, speaker in zip(given, corpus["speaker"], strict=True)}
    pairs = {
        (speaker, owner[np.asarray(vector, np.float32).tobytes()])
        for speaker, vector in zip(table["speaker"], table["crossings"], strict=True)
    }
    assert len(pairs) == len(PEOPLE)


def test_words_of_a_private_corpus_are_shared_only_where_that_is_asked_for(tmp_path):
    shown = everything(written(tmp_path / "made", with_text=True))
    assert "my-diagnosis-is" in shown
    assert "sobbing" in shown
    assert "vontobel" not in shown


def test_a_published_corpus_keeps_its_names_and_its_order(tmp_path):
    corpus = private_corpus("ravdess")
    shared = load_shared_embeddings(written(tmp_path / "made", corpus))
    for column in ("utterance_id", "speaker", "sentence", "session", "gender", "start_seconds"):
        assert shared.corpus[column][:] == corpus[column][:]
    assert shared.corpus.features["emotion"] == corpus.features["emotion"]
    assert shared.corpus.info.dataset_name == "ravdess"
    assert Labels.of(shared.corpus) == Labels.of(corpus)
    assert SECRET not in everything(tmp_path / "made")


def test_files_stay_below_a_size_and_come_back_in_order(tmp_path):
    corpus = private_corpus("ravdess")
    shared = load_shared_embeddings(written(tmp_path / "made", corpus, max_bytes=1500))
    files = sorted(path.name for path in (tmp_path / "made/zero_crossings").iterdir())
    assert len(files) > 2
    assert files[0] == f"train-00000-of-{len(files):05d}.parquet"
    given = embedded(corpus).embeddings
    assert shared.embeddings.utterance_ids == given.utterance_ids
    for name, layer in given.layers.items():
        assert shared.embeddings.layers[name].tobytes() == layer.tobytes()


def test_datasets_reads_the_folder_by_itself(tmp_path):
    from datasets import ClassLabel, List, Value, load_dataset

    corpus = private_corpus("ravdess")
    folder = written(tmp_path / "made", corpus, embedded(corpus, dim=2, name="mfcc", fingerprint="1" * 64))
    cache = str(tmp_path / "cache")
    rows = load_dataset(str(folder), split="train", cache_dir=cache)  # the first encoder's
    assert rows.features["crossings"] == List(Value("float32"), length=3)
    assert rows.features["emotion"] == ClassLabel(names=["neutral", "anger", "fear"])
    assert rows["utterance_id"][:] == corpus["utterance_id"][:]
    assert rows["emotion"][:] == corpus["emotion"][:]
    given = embedded(corpus).embeddings.layers["crossings"]
    np.testing.assert_array_equal(rows.with_format("numpy")["crossings"][:], given)
    baseline = load_dataset(str(folder), "mfcc", split="train", cache_dir=cache)
    assert baseline.features["crossings"] == List(Value("float32"), length=2)


def test_nothing_is_written_over_what_lies_in_a_folder_and_nothing_untrained_is_shared(tmp_path):
    corpus = private_corpus()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    for given, folder, message in (
        ([embedded(corpus)], "full", "is not empty"),
        ([], "made", "no embeddings"),
        ([embedded(corpus, name="yamnet (untrained)")], "made", "random weights"),
        ([embedded(corpus), embedded(corpus)], "made", "two encoders are called zero_crossings"),
        ([Embedded(load_encoder("mfcc"), embedded(corpus).embeddings)], "made", "another encoder than mfcc"),
    ):
        with pytest.raises(SharingError, match=message):
            embeddings_repository(corpus, given, tmp_path / folder, keys=keys(corpus))
        assert not (tmp_path / "made").exists()
    with pytest.raises(CardError, match="no id of a dataset"):
        written(tmp_path / "made", repo_id="a b\n```")


# The card


def test_the_card_says_whose_terms_apply_and_lets_no_name_become_markup(tmp_path):
    from markdown_it import MarkdownIt

    hostile = "x | <script>alert(1)</script> ](javascript:1) \n---\nlicense: mit"
    text = (written(tmp_path / "made", title=hostile, label_map=hostile) / "README.md").read_text("utf-8")
    card = DatasetCard(text)
    assert card.data.license is None
    assert card.data.task_categories == ["audio-classification"]
    assert card.data.size_categories == ["n<1K"]
    assert card.data.language == ["de"]
    [config] = card.data.configs
    assert config["config_name"] == "zero_crossings"
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.text)
    assert "<script" not in shown
    assert "javascript:" not in [part.split('"')[0] for part in shown.split('href="')]
    for words in (
        "Embeddings of voices may identify speakers",
        "terms of the corpus still apply",
        "Numbers stand in place of the names",
        "Article 5(1)(f)",
    ):
        assert words in text
    assert "licence of the recordings" not in text, "nobody knows it"


def test_the_card_tells_the_licence_of_a_published_corpus_in_words(tmp_path):
    text = (
        written(tmp_path / "made", private_corpus("ravdess"), label_map="calm_as_neutral") / "README.md"
    ).read_text()
    assert DatasetCard(text).data.license is None
    assert "**licence of the recordings:** CC-BY-NC-SA-4.0" in text
    assert "Livingstone" in text
    assert "**emotions were mapped:** calm_as_neutral" in text


# What is read


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "embeddings.json").unlink(), "is no repository of embeddings"),
        (lambda folder: (folder / "embeddings.json").write_text('{"kind": "frozen"}'), "is no repository"),
        (lambda folder: (folder / "embeddings.json").write_text("{"), "embeddings.json cannot be read"),
        (lambda folder: edited(folder, lambda told: told.update(format=2)), "newer ser_transfer"),
        (lambda folder: edited(folder, lambda told: told["corpus"].pop("classes")), "is damaged: .*classes"),
        (lambda folder: edited(folder, lambda told: told["corpus"].update(n_utterances=9)), "36 rows in"),
        (lambda folder: edited(folder, lambda told: told.update(encoders=[])), "names no encoder"),
        (
            lambda folder: edited(folder, lambda told: told["encoders"][0].update(config="../../etc")),
            "is no configuration",
        ),
        (
            lambda folder: edited(folder, lambda told: told["encoders"][0]["layers"].update(crossings=7)),
            "layer crossings is float32 of 3 numbers",
        ),
        (
            lambda folder: (folder / "zero_crossings/train-00000-of-00001.parquet").unlink(),
            "has no file zero_crossings/train-00000-of-00001.parquet",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_ours_or_newer_or_damaged_is_refused_in_one_line(spoil, message, tmp_path):
    folder = written(tmp_path / "made")
    spoil(folder)
    with pytest.raises(SharingError, match=message) as refusal:
        load_shared_embeddings(folder)
    assert "\n" not in str(refusal.value)


def test_one_flipped_bit_is_noticed(tmp_path):
    path = written(tmp_path / "made") / "zero_crossings/train-00000-of-00001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SharingError, match="not the file that was shared"):
        load_shared_embeddings(tmp_path / "made")


def test_an_encoder_without_its_weights_says_so(tmp_path):
    shared = load_shared_embeddings(written(tmp_path / "made"))
    [encoder] = shared.encoders.values()
    given = Unheard()
    for name in ("name", "fingerprint", "definition", "revision", "layer_names", "dims", "sampling_rate"):
        assert getattr(encoder, name) == getattr(given, name)
    with pytest.raises(EncoderError, match="holds embeddings alone"):
        encoder.encode([np.zeros(1600, np.float32)])
    with pytest.raises(SharingError, match="leave the revision away"):
        load_shared_embeddings(tmp_path / "made", revision="main")


# What is trained on it


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    """A store with the embeddings of a synthetic corpus, and a run on them, as everybody makes it."""
    root = tmp_path_factory.mktemp("voices")
    synthesise_corpus(root / "corpus", n_speakers=3, seed=0)
    where = ["--corpus", "synthetic", "--root", str(root / "corpus"), "--store", str(root / "store")]
    assert ser_transfer.embed.main([*where, "--encoder", "seed180"]) == 0
    run = ["--encoder", "seed180", *TRAINED, "--out", str(root / "run")]
    assert ser_transfer.train.main([*where, *run]) == 0
    return root


TRAINED = ("--head", "lda", "--split", "loso", "--show-leak", "--no-plots", "--title", "Voices")


def shared(voices: Path, folder: Path, *encoders: str, **options) -> Path:
    corpus = load_corpus("synthetic", voices / "corpus")
    given = [
        Embedded(encoder, computed_embeddings(str(voices / "store"), corpus, encoder))
        for encoder in map(load_encoder, encoders)
    ]
    embeddings_repository(corpus, given, folder, **options)
    return folder


def numbers(run: Path) -> dict:
    """What a run found out, without what differs from run to run."""

    def told(found):
        if isinstance(found, dict):
            left = ("seconds", "finished", "audit")
            return {name: told(value) for name, value in found.items() if name not in left}
        return found

    return told(json.loads((run / "metrics.json").read_text(encoding="utf-8")))


def test_a_head_on_pulled_embeddings_answers_as_one_from_the_store_bit_for_bit(voices, hub_server, tmp_path):
    """Pushed by one process, read by `datasets` and trained on in another, whose cache is empty."""
    folder = shared(voices, tmp_path / "made", "seed180", "mfcc", title="Voices")
    assert str(voices) not in everything(folder)
    assert b"RIFF" not in b"".join(path.read_bytes() for path in folder.rglob("*.*"))
    push = f"""
from ser_transfer.hub import push_folder
push_folder({str(folder)!r}, "ada/voices", repo_type="dataset", message="Embeddings", private=True)
from huggingface_hub import DatasetCard
DatasetCard.load("ada/voices").validate()
"""
    hub_server.python(push, tmp_path / "pusher")
    out = tmp_path / "run"
    train = ["--embeddings", "ada/voices", *TRAINED, "--out", str(out)]
    pull = f"""
import json
from datasets import load_dataset
rows = load_dataset("ada/voices", split="train")
layer = rows.with_format("numpy")[rows.column_names[-1]][:]
print(json.dumps([rows.column_names, rows["utterance_id"][:], rows["speaker"][:], layer.tobytes().hex()]))
import ser_transfer.train
assert ser_transfer.train.main({train!r}) == 0
from ser_transfer.errors import SerTransferError
from ser_transfer.sharing.shared_embeddings import load_shared_embeddings
lines = []
for name in ("audio", "tables", "evil", "none"):
    try:
        load_shared_embeddings("ada/" + name)
    except SerTransferError as error:
        lines.append(str(error))
print(json.dumps(lines))
"""
    hub_server.plant("datasets/ada/audio", {"README.md": b"# Audio"})
    hub_server.plant("datasets/ada/tables", {"facts.json": b"{}", "rows.parquet": b"PAR1"})
    planted = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
    hub_server.plant("datasets/ada/evil", {**planted, "weights.pkl": b"cos"})
    printed = hub_server.python(pull, tmp_path / "puller").splitlines()
    columns, ids, speakers, layer = json.loads(printed[0])
    lines = json.loads(printed[-1])
    for line, message in zip(
        lines,
        (
            "ada/audio is no repository of embeddings",
            "ada/tables is no repository of embeddings",
            "ada/evil is refused: weights.pkl can hold a pickle",
            "there is no folder and no Hub dataset 'ada/none'",
        ),
        strict=True,
    ):
        assert line.startswith(message)
        assert "\n" not in line
    corpus = load_corpus("synthetic", voices / "corpus")
    given = computed_embeddings(str(voices / "store"), corpus, load_encoder("seed180"))
    assert ids == corpus["utterance_id"][:]
    assert speakers == corpus["speaker"][:]
    assert layer == given.layers[columns[-1]].tobytes().hex()
    for name in ("predictions.parquet", "validation.parquet", "speaker_dependent/predictions.parquet"):
        ours, theirs = (pd.read_parquet(run / name) for run in (voices / "run", out))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert numbers(out) == numbers(voices / "run")
    assert "takes the recordings" in " ".join(json.loads((out / "metrics.json").read_text())["audit"])
    clip = sorted((voices / "corpus").rglob("*.wav"))[7]
    kept, first = (EmotionModel.from_pretrained(run) for run in (out, voices / "run"))
    np.testing.assert_array_equal(kept.predict_proba([clip]), first.predict_proba([clip]))
    assert kept.training == first.training
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    commit = hub_server.repositories["datasets/ada/voices"].at("main").oid
    assert (recipe["embeddings"], recipe["embeddings_revision"]) == ("ada/voices", commit)
    assert (recipe["corpus"], recipe["encoder"]) == ("synthetic", "seed180")


def test_the_recipe_of_a_run_on_shared_embeddings_runs_again(voices, tmp_path):
    folder = shared(voices, tmp_path / "made", "seed180", "mfcc")
    first = ["--embeddings", str(folder), *TRAINED, "--out", str(tmp_path / "run")]
    assert ser_transfer.train.main(first) == 0
    again = [str(tmp_path / "run/recipe.yaml"), "--out", str(tmp_path / "again")]
    assert ser_transfer.train.main(again) == 0
    assert numbers(tmp_path / "again") == numbers(tmp_path / "run")


def test_without_its_baseline_the_score_says_that_it_stands_alone(voices, tmp_path, capsys):
    folder = shared(voices, tmp_path / "made", "seed180")
    arguments = ["--embeddings", str(folder), *TRAINED, "--out", str(tmp_path / "run")]
    assert ser_transfer.train.main(arguments) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert "no embeddings of the baseline mfcc, which take the recordings" in line
    roles = [each["role"] for each in numbers(tmp_path / "run")["systems"].values()]
    assert roles == ["encoder", "floor"]
    assert ser_transfer.train.main([*arguments, "--baseline", "none"]) == 0
    assert "warning:" not in capsys.readouterr().err


def test_settings_that_shared_embeddings_answer_are_refused_in_one_line(tmp_path, capsys):
    folder = written(tmp_path / "made")
    for flags, message in (
        (["--root", "voices"], "--root voices does not go with --embeddings"),
        (["--corpus", "emodb"], "which were made with folder"),
        (["--pooling", "mean_std"], "which were made with mean"),
        (["--store", "elsewhere"], "--store elsewhere does not go"),
        (["--device", "cuda:1"], "--device cuda:1 does not go"),
        (["--untrained"], "--untrained True does not go"),
        (["--encoder", "yamnet"], "has no embeddings by yamnet; it has zero_crossings"),
        (["--head", "attentive"], "attentive reads frames"),
        (["--augment", "noise:10..20"], "augmented copies take the recordings"),
        (["--embeddings-revision", "v1"], "leave the revision away"),
    ):
        assert ser_transfer.train.main(["--embeddings", str(folder), *flags]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert message in line
    assert ser_transfer.train.main(["--embeddings-revision", "v1"]) == 1
    assert "of what?" in capsys.readouterr().err


def test_one_recording_on_two_sides_is_noticed_without_hearing_it(tmp_path, capsys):
    corpus = private_corpus("ravdess")
    ids = list(corpus["utterance_id"])
    same = {id_: "one recording" if id_ in (ids[0], ids[-12]) else id_ for id_ in ids}
    embeddings_repository(corpus, [embedded(corpus)], tmp_path / "made", keys=same)
    arguments = ["--embeddings", str(tmp_path / "made"), "--split", "loso", "--baseline", "none"]
    assert ser_transfer.train.main(arguments) == 1
    error = capsys.readouterr().err
    assert "identical audio" in error
    assert ids[0] in error


@pytest.mark.parametrize("name", ["ravdess", "folder"])
def test_an_encoder_that_heard_the_test_speakers_is_refused_by_whoever_pulls_it(name, tmp_path, capsys):
    """What its folder says of its training is not shared, and has to be told."""
    network = tmp_path / "network"
    network.mkdir()
    heard = {"corpus_name": name, "speakers": [PEOPLE[0], "someone-else"]}
    (network / "training.json").write_text(json.dumps(heard))
    corpus = private_corpus(name)
    given = embedded(corpus, name=str(network))
    embeddings_repository(corpus, [given], tmp_path / "made", keys=keys(corpus))
    shown = everything(tmp_path / "made")
    assert "someone-else" not in shown
    assert str(tmp_path) not in shown
    assert "was trained on 1 of these speakers" in shown
    arguments = ["--embeddings", str(tmp_path / "made"), "--split", "loso", "--baseline", "none"]
    assert ser_transfer.train.main(arguments) == 1
    assert "network was trained on 1 of the speakers that are to be tested" in capsys.readouterr().err
