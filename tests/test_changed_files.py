"""Recordings that change, or go, between being listed and being read."""

import os
import shutil

import numpy as np
import pytest

from ser_transfer import embed, load_corpus
from ser_transfer.audio import AudioError, audio_key, read_audio
from ser_transfer.augment import Augmentation, Copies
from ser_transfer.encoders import pooled
from ser_transfer.fill import fill_store, part_of
from ser_transfer.finetuning.recordings import ClipError, Clips
from ser_transfer.results import MODEL, Journal, ask_model
from ser_transfer.store import EmbeddingStore


def other_audio(path):
    """Write other samples: as many bytes, and the time that it had, so that no stamp of it tells."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    for at in range(1_000, len(content), 7):
        content[at] ^= 0x55
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def meanwhile(monkeypatch, happens, *, decoded):
    """Let something happen to the file p2_1 just before it is decoded, or just after."""

    def read(source, *given, **options):
        path = source["path"]
        if "p2_1" in path and not decoded:
            happens(path)
        waveform = read_audio(source, *given, **options)
        if "p2_1" in path and decoded:
            happens(path)
        return waveform

    monkeypatch.setattr(pooled, "read_audio", read)


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("copies", [None, Copies(Augmentation.parse("gain:-6"))])
def test_the_embedding_of_other_audio_never_lies_under_a_key(
    decoded, copies, tones, encoder, tmp_path, monkeypatch
):
    store, [path] = EmbeddingStore(tmp_path / "store"), list((tones / "fear").glob("p2_1*"))
    corpus, old = load_corpus("folder", tones), audio_key(path)
    changed = []

    def happens(_):
        if not changed:
            changed.append(path)
            other_audio(path)

    with monkeypatch.context() as patch:
        for file in list(tones.rglob("p2_1*")):
            if file != path:
                file.unlink()
        corpus = load_corpus("folder", tones)
        meanwhile(patch, happens, decoded=decoded)
        report = fill_store(corpus, encoder, store, part_of(encoder), copies=copies, skip_bad=True)
    [error] = report.bad.values()
    assert (error.reason, error.path) == ("changed", str(path))
    keys = [old] if copies is None else [copy.key for _, copy in copies.of("x", old)]
    assert store.missing(part_of(encoder), keys) == keys
    assert report.n_encoded == len(corpus) - 1

    assert audio_key(path) != old
    embeddings = embed(corpus, encoder, store=store)
    row = embeddings.utterance_ids.index("fear/p2_1")
    waveform = read_audio(path)
    frames = waveform[: len(waveform) // 160 * 160].reshape(-1, 160)
    np.testing.assert_allclose(embeddings.layers["energy"][row, 0], np.square(frames).mean(), rtol=1e-5)


def test_a_recording_that_goes_meanwhile_is_missing(tones, encoder, tmp_path, monkeypatch):
    store, corpus = EmbeddingStore(tmp_path / "store"), load_corpus("folder", tones)
    meanwhile(monkeypatch, os.unlink, decoded=False)
    report = fill_store(corpus, encoder, store, part_of(encoder), skip_bad=True)
    assert {error.reason for error in report.bad.values()} == {"missing"}
    assert report.n_encoded == 21
    with pytest.raises(AudioError, match=r"p2_1\.wav: missing: there is no such file"):
        fill_store(corpus, encoder, store, part_of(encoder))


def test_a_file_of_many_segments_is_known_again_and_its_change_is_seen(tones, tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    shutil.copy(tones / "fear" / "p2_1.wav", path)
    old = path.stat().st_mtime_ns - 3_600 * 10**9
    os.utime(path, ns=(old, old))
    segments = [(0.0, 0.05), (0.05, 0.1), (0.1, 0.15)]

    def keys():
        return [audio_key(path, start_seconds=start, end_seconds=end) for start, end in segments]

    first = keys()
    assert len(set(first)) == 3
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(old, old))
    assert not set(first) & set(keys())
    path.write_bytes(content)
    assert keys() == first
    path.unlink()
    with pytest.raises(AudioError, match="missing"):
        keys()


def test_an_answer_stands_for_the_file_as_it_was_before_it_was_opened(tones, tmp_path):
    from test_predict import Ear

    class Disturbed(Ear):
        def answers(self, recordings, *, n_workers=None):
            for answer in super().answers(recordings):
                if "p2_1" in answer.key:
                    shutil.copy(tones / "anger" / "p1_0.wav", answer.key)
                yield answer

    files = sorted(map(str, tones.rglob("*.wav")))
    path = tmp_path / "r.csv.journal"
    journal = Journal.open(path, {}, [str(tones)], files)
    assert ask_model(journal, MODEL, Disturbed(), files) == 24
    journal.close()
    again = Journal.open(path, {}, [str(tones)], files)
    assert again.missing(MODEL, files) == [file for file in files if "p2_1" in file]
    again.close()


def test_a_clip_that_goes_while_it_is_trained_on_is_named(corpus, tones):
    ids = corpus["utterance_id"][:]
    clips = Clips(corpus, ids, dict.fromkeys(ids, 0), 16_000, 400)
    row = ids.index("fear/p2_1")
    clips.waveform(row)
    (tones / "fear" / "p2_1.wav").unlink()
    with pytest.raises(ClipError, match=r"'fear/p2_1' cannot be used: .*missing"):
        clips.waveform(row)
