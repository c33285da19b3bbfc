"""A dataset read as it comes: the same corpus as the downloaded one, in memory that is bounded."""

import errno
import io
import os

import numpy as np
import pytest
import soundfile
from hub.server import hub_server  # noqa: F401 -- a fixture

import ser_transfer.embed
import ser_transfer.finetune
import ser_transfer.train
from ser_transfer.corpora import CorpusError, StreamedDataset, load_corpus
from ser_transfer.fill import keys_by_id
from ser_transfer.store import EmbeddingStore

PITCHES = {"neutral": 300.0, "anger": 1500.0, "fear": 2700.0}


def parquet(folder, *, n_files=2, paths=True, label=None):
    """Write 24 clips of 4 speakers to Parquet files, as the Hub has them: audio in the rows."""
    from datasets import Audio, ClassLabel, Dataset, Features, Value

    rng = np.random.default_rng(0)
    names = [*PITCHES, "unknown"]
    rows = []
    for number in range(24):
        emotion, speaker = list(PITCHES)[number % 3], f"p{number // 3 % 4 + 1}"
        time = np.arange(rng.integers(3_000, 6_000)) / 16_000
        sound = 0.3 * np.sin(2 * np.pi * PITCHES[emotion] * time) + rng.normal(0, 0.01, time.size)
        file = io.BytesIO()
        soundfile.write(file, sound, 16_000, format="WAV")
        path = f"{speaker}/{emotion}_{number}.wav" if paths else None
        code = names.index(emotion) if number else 3
        rows.append((({"bytes": file.getvalue(), "path": path}), code, speaker))
    features = Features({"clip": Audio(), "label": ClassLabel(names=names), "who": Value("string")})
    audio, codes, speakers = zip(*rows, strict=True)
    import pyarrow as pa

    table = pa.table(
        {"clip": list(audio), "label": list(codes), "who": list(speakers)}, schema=features.arrow_schema
    )
    (folder / "data").mkdir(parents=True)
    rows_of = 24 // n_files
    for number in range(n_files):
        part = Dataset(table.slice(number * rows_of, rows_of))
        part.to_parquet(folder / "data" / f"train-{number:05d}-of-{n_files:05d}.parquet")
    return folder


NAMED = {
    "audio_column": "clip",
    "emotion_column": "label",
    "speaker_column": "who",
    "emotion_codes": {"unknown": None},
}
FLAGS = [
    *(
        "--corpus",
        "dataset",
        "--audio-column",
        "clip",
        "--emotion-column",
        "label",
        "--speaker-column",
        "who",
    ),
    *("--emotion-codes", '{"unknown": null}', "--encoder", "mfcc"),
]
TRAINED = ["--split", "loso", "--head", "lda", "--no-plots", "--allow", "near-identical-audio"]


@pytest.fixture
def at(monkeypatch, tmp_path):
    monkeypatch.setenv("SER_TRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    return tmp_path


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
@pytest.mark.parametrize("paths", [True, False])
def test_ids_labels_and_keys_are_those_of_the_downloaded_dataset(at, paths):
    root = parquet(at / "voices", paths=paths)
    streamed = StreamedDataset(root, **NAMED)
    keys = {}
    for window in streamed.windows(max_rows=5):
        assert len(window) <= 5
        keys |= keys_by_id(window)
    streamed.finish(keys)
    ours = load_corpus("dataset", root, streaming=True, **NAMED)
    theirs = load_corpus("dataset", root, **NAMED)
    assert len(ours) == 23
    for name in theirs.column_names:
        if name != "audio":
            assert ours[name][:] == theirs[name][:], name
    assert ours.features["emotion"] == theirs.features["emotion"]
    assert keys_by_id(ours) == keys_by_id(theirs)


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
def test_a_window_is_bounded_in_bytes(at):
    root = parquet(at / "voices")
    for window in StreamedDataset(root, **NAMED).windows(max_bytes=30_000):
        assert sum(len(audio["bytes"]) for audio in window["audio"]) <= 30_000


def test_embed_and_train_go_without_the_dataset_on_disk(at, capsys):
    root = parquet(at / "voices")
    flags = [*FLAGS, "--root", str(root), "--streaming", "--store", str(at / "store")]
    assert ser_transfer.train.main([*flags, *TRAINED, "--out", str(at / "run")]) == 1
    assert "was not streamed yet" in capsys.readouterr().err
    assert ser_transfer.embed.main([*flags, "--n-workers", "1"]) == 0
    assert "mfcc: 23 recordings" in capsys.readouterr().out
    assert not (at / "datasets").exists() or not list((at / "datasets").rglob("*.arrow"))
    assert ser_transfer.embed.main([*flags, "--n-workers", "1"]) == 0
    assert "mfcc: all 23 utterances were in" in capsys.readouterr().out
    assert ser_transfer.train.main([*flags, *TRAINED, "--out", str(at / "run")]) == 0
    whole = [flag for flag in flags if flag != "--streaming"]
    assert ser_transfer.train.main([*whole, *TRAINED, "--out", str(at / "downloaded")]) == 0
    ours, theirs = ((at / name / "predictions.parquet").read_bytes() for name in ("run", "downloaded"))
    assert ours == theirs


def test_a_disk_that_is_full_at_the_end_is_told_in_a_line(at, capsys, monkeypatch):
    folder = parquet(at / "dataset")

    def full(table, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    command = [*FLAGS, "--root", str(folder), "--streaming", "--store", str(at / "store")]
    assert ser_transfer.embed.main(command) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"error: {at / 'cache' / 'streamed'}")
    assert "No space left on device; free some, and run the same command again" in told
    assert not (at / "cache" / "streamed").exists()


def test_what_hears_the_recordings_refuses_a_streamed_dataset(at, capsys):
    root = parquet(at / "voices")
    flags = ["--corpus", "dataset", "--root", str(root), "--streaming", "--encoder", "yamnet"]
    assert ser_transfer.finetune.main([*flags, "--out", str(at / "run")]) == 1
    assert "--streaming leaves no recordings behind" in capsys.readouterr().err
    assert ser_transfer.embed.main(["--corpus", "folder", "--root", str(root), "--streaming"]) == 1
    assert "--corpus is folder" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::ser_transfer.corpora.CorpusWarning")
def test_a_changed_dataset_is_to_be_streamed_again(at):
    root = parquet(at / "voices")
    streamed = StreamedDataset(root, **NAMED)
    streamed.finish({id_: id_ for window in streamed.windows() for id_ in window["utterance_id"]})
    assert len(load_corpus("dataset", root, streaming=True, **NAMED)) == 23
    (root / "data" / "more.txt").write_text("more")
    with pytest.raises(CorpusError, match="was not streamed yet"):
        load_corpus("dataset", root, streaming=True, **NAMED)


def test_a_bad_recording_is_listed_by_the_id_that_it_has_in_the_corpus(at, capsys):
    import pyarrow.parquet as pq

    root = parquet(at / "voices", n_files=1)
    [path] = (root / "data").glob("*.parquet")
    table = pq.read_table(path)
    cells = table.column("clip").to_pylist()
    cells[4] = {"bytes": b"no sound", "path": cells[4]["path"]}
    import pyarrow as pa

    column = pa.array(cells, table.schema.field("clip").type)
    pq.write_table(table.set_column(0, table.schema.field("clip"), column), path)
    flags = [*FLAGS, "--root", str(root), "--streaming", "--store", str(at / "store"), "--n-workers", "1"]
    assert ser_transfer.embed.main([*flags, "--skip-bad"]) == 1
    assert "p2/anger_4\t" in (at / "store" / "bad_files.tsv").read_text()
    assert len(EmbeddingStore(at / "store").parts()) == 1


def test_a_dataset_of_the_hub_is_streamed_at_one_commit(hub_server, at):  # noqa: F811
    root = parquet(at / "voices")
    planted = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.parquet")}
    hub_server.plant("datasets/ada/voices", planted)
    flags = [*FLAGS, "--root", "ada/voices", "--streaming", "--store", str(at / "store")]
    script = f"""
import ser_transfer.embed, ser_transfer.train
assert ser_transfer.embed.main({[*flags, "--n-workers", "1"]!r}) == 0
assert ser_transfer.train.main({[*flags, *TRAINED, "--out", str(at / "run")]!r}) == 0
"""
    printed = hub_server.python(script, at / "home", HF_DATASETS_CACHE=str(at / "datasets"))
    assert "mfcc: 23 recordings" in printed
    assert (at / "run" / "metrics.json").is_file()
    assert not list((at / "home").rglob("*.parquet"))
