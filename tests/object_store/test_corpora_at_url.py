"""A corpus at a URL is the corpus on the disk: the same ids, keys and embeddings, bit for bit."""

from __future__ import annotations

import csv
import io
import warnings
from functools import partialmethod

import numpy as np
import pandas as pd
import pytest
from object_store.server import DROP_DOWNLOAD, SLOW_DOWN

import ser_transfer.embed
import ser_transfer.predict
from ser_transfer import load_corpus
from ser_transfer.audio import AudioError, audio_key, duration_seconds, read_audio
from ser_transfer.corpora import CorpusError
from ser_transfer.embed import embed
from ser_transfer.encoders import load_encoder
from ser_transfer.fill import fill_store, keys_by_id, part_of
from ser_transfer.results import find_recordings
from ser_transfer.store import EmbeddingStore

PATTERN = "(?P<speaker>p[0-9])_"


@pytest.fixture
def put(s3):
    """Put a folder of this disk under a prefix of the bucket; give its URL."""

    def put_folder(folder, prefix: str) -> str:
        for path in folder.rglob("*"):
            if path.is_file():
                s3.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{s3.url}/{prefix}"

    return put_folder


@pytest.fixture
def calls(put, tones) -> str:
    (tones / "anger" / "._p1_0.wav").write_bytes(b"macOS")
    (tones / "__MACOSX").mkdir()
    (tones / "__MACOSX" / "x.wav").write_bytes(b"macOS")
    return put(tones, "calls")


def load_folder(root):
    return load_corpus("folder", root, speaker_pattern=PATTERN)


def test_a_folder_has_the_rows_that_it_has_on_disk(s3, calls, tones):
    local, remote = load_folder(tones), load_folder(calls)
    for column in ("utterance_id", "emotion", "speaker"):
        assert remote[column][:] == local[column][:]
    assert [row["path"] for row in remote["audio"]] == [
        row["path"].replace(str(tones), calls) for row in local["audio"]
    ]
    assert len(s3.listings) == 1
    assert s3.n_requests(key=r"\.wav") == 0
    assert keys_by_id(remote) == keys_by_id(local)


def test_embedding_from_s3_into_s3_is_embedding_on_disk_bit_for_bit(s3, calls, tones, encoder, tmp_path):
    local = embed(load_folder(tones), encoder, store=tmp_path / "store")
    remote = embed(load_folder(calls), encoder, store=f"{s3.url}/store")
    assert remote.utterance_ids == local.utterance_ids
    for name, layer in local.layers.items():
        np.testing.assert_array_equal(remote.layers[name], layer)
    encoded = encoder.n_encoded
    embed(load_folder(tones), encoder, store=f"{s3.url}/store")  # the keys are those of the files
    embed(load_folder(calls), encoder, store=tmp_path / "store")
    assert encoder.n_encoded == encoded


def test_worker_processes_read_from_s3(s3, calls, tones, tmp_path):
    encoder = load_encoder("mfcc")
    local = embed(load_folder(tones), encoder, store=tmp_path / "store")
    remote = embed(load_folder(calls), encoder, store=tmp_path / "other", n_workers=2)
    np.testing.assert_array_equal(next(iter(remote.layers.values())), next(iter(local.layers.values())))


def test_the_command_goes_on_after_a_fault_with_what_it_had_kept(s3, calls, encoder, monkeypatch, capsys):
    monkeypatch.setattr("ser_transfer.embed.load_encoder", lambda *_: encoder)
    monkeypatch.setattr("ser_transfer._settings.load_encoder", lambda *_, **__: encoder)
    monkeypatch.setattr(EmbeddingStore, "writer", partialmethod(EmbeddingStore.writer, max_rows=4))
    flags = [*["--corpus", "folder", "--encoder", "zero_crossings", "--baseline", "none", "--n-workers", "1"]]
    flags += ["--root", calls, "--speaker-pattern", PATTERN, "--store", f"{s3.url}/store"]
    refused = s3.trouble(403, method="PUT", key=r"\.arrow$", nth=2, times=float("inf"))
    assert ser_transfer.embed.main(flags) == 1
    assert refused.n_met
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: s3://")
    assert "the same command goes on from there" in error
    s3.calm()
    store, corpus = EmbeddingStore(f"{s3.url}/store"), load_folder(calls)
    kept = 24 - len(store.missing(part_of(encoder), keys_by_id(corpus).values()))
    assert 0 < kept < 24
    encoder.n_encoded = 0
    assert ser_transfer.embed.main(flags) == 0
    assert encoder.n_encoded == 24 - kept
    assert store.missing(part_of(encoder), keys_by_id(corpus).values()) == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("paths", ["relative", "absolute"])
def test_a_table_at_a_url_names_what_lies_beside_it_or_elsewhere(s3, put, tones, kind, paths, tmp_path):
    names = sorted(path.relative_to(tones).as_posix() for path in tones.rglob("*.wav"))
    url = put(tones, "deep/calls")

    def table(base: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "audio": [name if paths == "relative" else f"{base}/{name}" for name in names],
                "emotion": [name.partition("/")[0] for name in names],
            }
        )

    for base, where in ((str(tones), tones / f"calls.{kind}"), (url, None)):
        held = io.BytesIO()
        table(base).to_csv(held, index=False) if kind == "csv" else table(base).to_parquet(held)
        if where is not None:
            where.write_bytes(held.getvalue())
        else:
            s3.put(f"deep/calls/calls.{kind}", held.getvalue())
    local, remote = load_corpus("table", tones / f"calls.{kind}"), load_corpus("table", f"{url}/calls.{kind}")
    assert remote["utterance_id"][:] == local["utterance_id"][:]
    assert keys_by_id(remote) == keys_by_id(local)


def test_a_table_says_which_recordings_are_not_at_the_url(s3):
    s3.put("t.csv", b"audio,emotion\na/one.wav,anger\n")
    with pytest.raises(CorpusError, match=r"names 1 recordings that are not there: a/one.wav"):
        load_corpus("table", f"{s3.url}/t.csv")


def test_crema_d_finds_its_tables_beside_it(s3, put, tones, tmp_path):
    clip = next(tones.rglob("*.wav")).read_bytes()
    root = tmp_path / "crema"
    (root / "AudioWAV").mkdir(parents=True)
    (root / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_bytes(clip)
    with (root / "VideoDemographics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ActorID", "Sex"], ["1001", "Male"]])
    url = put(root, "crema")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for below in ("", "/AudioWAV"):
            corpus = load_corpus("crema_d", url + below)
            assert corpus["utterance_id"][:] == ["1001_DFA_ANG_XX"]
            assert corpus["gender"][:] == ["male"]


def test_iemocap_reads_its_evaluations(s3, tones):
    name = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    s3.put(f"ie/{name}", next(tones.rglob("*.wav")).read_bytes())
    text = b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tang\t[2.5000, 2.0000, 3.0000]\r\n"
    s3.put("ie/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        corpus = load_corpus("iemocap", f"{s3.url}/ie")
    assert corpus["valence"][:] == [2.5]


def test_a_saved_dataset_is_loaded_from_a_url(s3, put, tones, tmp_path):
    corpus = load_folder(tones)
    corpus.save_to_disk(tmp_path / "saved")
    url = put(tmp_path / "saved", "saved")
    remote = load_corpus("dataset", url, id_column="utterance_id")
    assert remote["utterance_id"][:] == corpus["utterance_id"][:]
    with pytest.raises(CorpusError, match="save_to_disk"):
        load_corpus("dataset", f"{s3.url}/elsewhere")


@pytest.mark.parametrize("corpus", ["ravdess", "folder", "table", "synthetic", "dataset"])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("{url}/nothing.csv", "nothing.csv"),
        ("s3://no-such-bucket-at-all/x.csv", "no-such-bucket"),
        ("nowhere://x/y.csv", "nowhere://"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_in_a_line(s3, corpus, url, told):
    with pytest.raises(CorpusError, match=told) as found:
        load_corpus(corpus, url.format(url=s3.url))
    assert "\n" not in str(found.value)


# ── recordings ────────────────────────────────────────────────────────────────────────────────


def test_a_recording_at_a_url_is_the_file_and_is_fetched_once(s3, put, tones):
    path = next(tones.rglob("*.wav"))
    s3.put("odd names/ä #1+%20.wav", path.read_bytes())
    url = f"{s3.url}/odd names/ä #1+%20.wav"
    for read in (audio_key, read_audio, duration_seconds):
        s3.forget()
        np.testing.assert_array_equal(read(url), read(path))
        assert [request.method for request in s3.requests] == ["GET"]
    np.testing.assert_array_equal(read_audio({"bytes": None, "path": url}), read_audio(path))


@pytest.mark.parametrize("what", [500, SLOW_DOWN, DROP_DOWNLOAD])
def test_a_recording_whose_download_fails_once_is_whole(s3, put, tones, what):
    path = next(tones.rglob("*.wav"))
    s3.put("x.wav", path.read_bytes())
    trouble = s3.trouble(what, method="GET", key="x.wav")
    np.testing.assert_array_equal(read_audio(f"{s3.url}/x.wav"), read_audio(path))
    assert trouble.n_met == 1


def test_what_is_wrong_with_a_recording_at_a_url_is_told(s3):
    s3.put("page.wav", b"<html>not found</html>")
    s3.put("here.wav", b"RIFF")
    for url, reason in (
        (f"{s3.url}/none.wav", "missing"),
        (f"{s3.url}/page.wav", "mislabelled"),
        ("nowhere://x/y.wav", "missing"),
    ):
        with pytest.raises(AudioError) as found:
            read_audio(url)
        assert found.value.reason == reason
        assert url in str(found.value)
    s3.trouble(403, method="GET", key="here.wav", times=float("inf"))
    with pytest.raises(AudioError, match="cannot be fetched: access is refused") as found:
        audio_key(f"{s3.url}/here.wav")
    assert found.value.reason == "unreadable"
    assert "ffmpeg" not in str(found.value)


def test_a_recording_removed_between_listing_and_reading_is_left_out_and_named(s3, calls, encoder, tmp_path):
    corpus = load_folder(calls)
    s3.remove("calls/anger/p1_0.wav")
    report = fill_store(corpus, encoder, EmbeddingStore(tmp_path / "store"), part_of(encoder), skip_bad=True)
    assert {id_: error.reason for id_, error in report.bad.items()} == {"anger/p1_0": "missing"}


# ── predict ───────────────────────────────────────────────────────────────────────────────────


def test_a_folder_at_a_url_stands_for_the_recordings_below_it(s3, calls, tones):
    there = [path.replace(str(tones), calls) for path in find_recordings([tones])]
    assert find_recordings([calls + "/"]) == there
    assert find_recordings([f"{calls}/anger/p1_0.wav"]) == [f"{calls}/anger/p1_0.wav"]
    assert len(there) == 24


def test_predict_answers_for_recordings_at_a_url_and_goes_on_by_its_journal(s3, calls, tmp_path):
    for name in s3.keys:
        if name.startswith("calls/anger") and not name.endswith("_0.wav"):
            s3.remove(name)
    out = tmp_path / "results.csv"
    assert ser_transfer.predict.main([f"{calls}/anger/", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert list(table["file"]) == find_recordings([f"{calls}/anger"])
    s3.put("calls/anger/p1_0.wav", s3.content("calls/fear/p2_0.wav"))  # it has changed since
    s3.forget()
    assert ser_transfer.predict.main([f"{calls}/anger/", "--out", str(out)]) == 0
    fetched = {request.key for request in s3.requests if request.method == "GET" and request.key}
    assert fetched == {"calls/anger/p1_0.wav"}
    assert pd.read_csv(out)["file"].tolist() == table["file"].tolist()
