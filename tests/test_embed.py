import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser_transfer.embed
from ser_transfer import embed, load_corpus
from ser_transfer.audio import AudioError, read_audio
from ser_transfer.embed import BAD_FILES, fill_store, part_of
from ser_transfer.store import EmbeddingStore


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "store")


def fill(corpus, encoder, store, **options):
    return fill_store(corpus, encoder, store, part_of(encoder), **options)


def test_embeddings_are_the_pooled_hidden_states_of_each_recording(corpus, encoder, store):
    embeddings = embed(corpus, encoder, store=store)
    assert embeddings.utterance_ids == tuple(corpus["utterance_id"])
    for row in (0, 13, 23):
        waveform = read_audio(corpus[row]["audio"])
        frames = waveform[: len(waveform) // 160 * 160].reshape(-1, 160)
        energy = np.square(frames).mean(1)
        expected = [energy.mean(), energy.std()]
        np.testing.assert_allclose(embeddings.layers["energy"][row], expected, rtol=1e-5)


def test_nothing_is_encoded_twice(corpus, encoder, store):
    first = embed(corpus, encoder, store=store)
    assert encoder.n_encoded == 24
    second = embed(corpus, encoder, store=store)
    assert encoder.n_encoded == 24
    np.testing.assert_array_equal(first.layers["crossings"], second.layers["crossings"])


def test_moving_and_renaming_the_corpus_is_no_miss(tones, encoder, store):
    embed(load_corpus("folder", tones), encoder, store=store)
    moved = tones.rename(tones.parent / "elsewhere")
    shutil.move(moved / "fear" / "p1_0.wav", moved / "fear" / "q9_7.wav")
    embed(load_corpus("folder", moved), encoder, store=store)
    assert encoder.n_encoded == 24


@pytest.mark.parametrize("what", ["fingerprint", "pooling", "precision", "audio"])
def test_whatever_changes_the_numbers_is_a_miss(what, tones, encoder, store):
    embed(load_corpus("folder", tones), encoder, store=store)
    pooling = None
    if what == "fingerprint":
        encoder.fingerprint = "1" * 64
    elif what == "precision":
        encoder.precision = "bf16"
    elif what == "pooling":
        pooling = "mean"
    else:
        for path in tones.rglob("*.wav"):
            samples, rate = soundfile.read(path)
            soundfile.write(path, samples * 0.5, rate)
    embed(load_corpus("folder", tones), encoder, pooling=pooling, store=store)
    assert encoder.n_encoded == 48


def test_the_same_recording_under_two_names_is_encoded_once(tones, encoder, store):
    shutil.copy(tones / "anger" / "p1_0.wav", tones / "anger" / "p1_copy.wav")
    embeddings = embed(load_corpus("folder", tones), encoder, store=store)
    assert encoder.n_encoded == 24
    twins = embeddings.select([id_ for id_ in embeddings.utterance_ids if id_.endswith(("p1_0", "p1_copy"))])
    anger = [row for row, id_ in enumerate(twins.utterance_ids) if "anger" in id_]
    np.testing.assert_array_equal(*twins.layers["energy"][anger])


def break_file(tones):
    (tones / "fear" / "p2_1.wav").write_bytes(b"")


def test_a_bad_file_stops_the_run_with_its_path_and_reason_and_what_was_done_is_kept(tones, encoder, store):
    break_file(tones)
    with pytest.raises(AudioError, match=r"p2_1\.wav.*empty|empty.*p2_1\.wav"):
        fill(load_corpus("folder", tones), encoder, store)
    kept = set(store.keys(part_of(encoder)))
    report = fill(load_corpus("folder", tones), encoder, store, skip_bad=True)
    assert 0 < len(kept) < 23
    assert report.n_encoded == 23 - len(kept)
    assert kept < set(store.keys(part_of(encoder)))


def test_skipping_leaves_the_bad_file_out_and_says_so(tones, encoder, store):
    break_file(tones)
    with pytest.warns(UserWarning, match=r"1 recordings cannot be used.*p2_1"):
        embeddings = embed(load_corpus("folder", tones), encoder, store=store, skip_bad=True)
    assert len(embeddings.utterance_ids) == 23
    assert not any(id_.endswith("fear/p2_1") for id_ in embeddings.utterance_ids)


@pytest.mark.parametrize("batch_seconds", [0.0, 1.0, 100.0])
def test_embeddings_do_not_depend_on_the_batches(batch_seconds, corpus, encoder, tmp_path):
    alone = embed(corpus, encoder, store=tmp_path / "alone")
    batched = embed(corpus, encoder, store=tmp_path / "batched", batch_seconds=batch_seconds)
    for name, layer in alone.layers.items():
        np.testing.assert_allclose(batched.layers[name], layer, rtol=1e-5)


def test_a_batch_holds_no_more_padded_audio_than_asked_for(corpus, encoder, store):
    sizes = []
    encode = encoder.encode
    encoder.encode = lambda waveforms: sizes.append([len(w) for w in waveforms]) or encode(waveforms)
    fill(corpus, encoder, store, batch_seconds=1.0)
    assert sum(map(len, sizes)) == 24
    assert max(len(batch) * max(batch) for batch in sizes) <= 16_000
    assert max(map(len, sizes)) > 1


def test_processes_and_one_process_give_the_same_embeddings(tones, tmp_path):
    from ser_transfer import load_encoder

    for path in sorted(tones.rglob("*.wav")):  # past the number from which processes are started
        samples, rate = soundfile.read(path)
        soundfile.write(path.with_name(f"{path.stem}_soft.wav"), samples / 2, rate)
    corpus = load_corpus("folder", tones)
    one = embed(corpus, load_encoder("mfcc"), store=tmp_path / "one", n_workers=1)
    two = embed(corpus, load_encoder("mfcc"), store=tmp_path / "two", n_workers=2)
    for name, layer in one.layers.items():
        np.testing.assert_allclose(two.layers[name], layer, rtol=1e-4, atol=1e-4)


def run_command(tones, store, *arguments):
    base = ["--corpus", "folder", "--root", str(tones), "--encoder", "mfcc", "--store", str(store.root)]
    return ser_transfer.embed.main([*base, *arguments])


def test_the_command_fills_the_store_and_says_what_it_did(tones, store, capsys):
    assert run_command(tones, store) == 0
    assert "mfcc: 24 recordings" in capsys.readouterr().out
    assert run_command(tones, store) == 0
    assert "mfcc: all 24 utterances were in" in capsys.readouterr().out


def test_the_command_lists_bad_files_and_exits_with_1(tones, store, capsys):
    break_file(tones)
    assert run_command(tones, store) == 1
    assert "p2_1.wav" in capsys.readouterr().err
    assert run_command(tones, store, "--skip-bad") == 1
    lines = (store.root / BAD_FILES).read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["utterance_id", "reason"], ["fear/p2_1", "empty"]]


def test_the_store_is_listed_and_cleared(tones, store, capsys):
    run_command(tones, store)
    assert ser_transfer.embed.main(["--list", "--store", str(store.root)]) == 0
    assert "mfcc" in capsys.readouterr().out
    assert ser_transfer.embed.main(["--clear", "mfcc", "--store", str(store.root)]) == 0
    assert store.parts() == []


def test_a_second_run_imports_nothing_heavy(tones, store):
    import subprocess
    import sys

    run_command(tones, store)
    code = (
        "import sys, ser_transfer.embed as m; "
        f"code = m.main(['--corpus', 'folder', '--root', {str(tones)!r}, '--encoder', 'mfcc', "
        f"'--store', {str(store.root)!r}]); "
        "print(code, sorted({'torch', 'transformers', 'librosa', 'sklearn'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "0 []"


def test_the_first_encode_is_over_before_the_next_begins_even_behind_a_bad_file(tones, encoder, store):
    """The first encode reads the weights, and two threads must not both do that."""
    import threading
    import time

    (sorted(tones.rglob("*.wav"))[0]).write_bytes(b"")
    running, at_once, lock = 0, [], threading.Lock()
    encode = encoder.encode

    def watched(waveforms):
        nonlocal running
        with lock:
            running += 1
            at_once.append(running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return encode(waveforms)

    encoder.encode = watched
    fill(load_corpus("folder", tones), encoder, store, skip_bad=True, n_workers=4)
    assert at_once[:2] == [1, 1]
    assert max(at_once) > 1


def test_a_dataset_that_holds_the_audio_is_embedded_like_its_files(tones, encoder, tmp_path):
    from datasets import Audio, Dataset

    files = load_corpus("folder", tones)
    rows = [{"path": None, "bytes": Path(row["path"]).read_bytes()} for row in files["audio"]]
    held = files.remove_columns("audio").add_column("audio", rows).cast_column("audio", Audio(decode=False))
    held.save_to_disk(tmp_path / "held")
    from_files = embed(files, encoder, store=tmp_path / "one")
    from_bytes = embed(Dataset.load_from_disk(tmp_path / "held"), encoder, store=tmp_path / "two")
    assert from_files.utterance_ids == from_bytes.utterance_ids
    np.testing.assert_array_equal(from_files.layers["energy"], from_bytes.layers["energy"])
