import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser_transfer.embed
from ser_transfer import embed, load_corpus
from ser_transfer._passes import BAD_FILES
from ser_transfer.audio import AudioError, read_audio
from ser_transfer.augment import Augmentation, AugmentationError, Copies
from ser_transfer.embed import embed_augmented, embed_frames
from ser_transfer.encoders import EncoderError, HiddenStates
from ser_transfer.fill import fill_store, frames_part_of, part_of
from ser_transfer.store import Embeddings, EmbeddingStore, Frames, StoreError


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


# ── frames ────────────────────────────────────────────────────────────────────────────────────


def energies(source) -> np.ndarray:
    waveform = read_audio(source)
    return np.square(waveform[: len(waveform) // 160 * 160].reshape(-1, 160)).mean(1, keepdims=True)


@pytest.mark.parametrize("batch_seconds", [None, 100.0])
def test_frames_are_the_valid_hidden_states_of_each_recording(batch_seconds, corpus, encoder, store):
    frames = embed_frames(corpus, encoder, "energy", store=store, batch_seconds=batch_seconds)
    assert frames.utterance_ids == tuple(corpus["utterance_id"])
    assert (frames.layer, frames.frame_rate, frames.encoder) == ("energy", 100.0, "zero_crossings")
    for row, sequence in enumerate(frames.sequences):  # padded in batches of clips of 19 to 37 frames
        np.testing.assert_allclose(sequence, energies(corpus[row]["audio"]), rtol=1e-3, atol=1e-7)


def test_frames_of_several_layers_and_embeddings_take_one_pass(corpus, encoder, store):
    layers = [frames_part_of(encoder, name) for name in encoder.layer_names]
    fill(corpus, encoder, store, frames=layers)
    assert encoder.n_encoded == 24
    embed(corpus, encoder, store=store)
    for name, dim in zip(encoder.layer_names, encoder.dims, strict=True):
        assert embed_frames(corpus, encoder, name, store=store).sequences[5].shape[1] == dim
    assert encoder.n_encoded == 24


def test_each_part_is_given_only_what_it_lacks(corpus, encoder, store):
    half = corpus.select(range(12))
    embed(half, encoder, store=store)
    embed_frames(corpus.select(range(6, 18)), encoder, "energy", store=store)
    assert encoder.n_encoded == 24
    fill(corpus, encoder, store, frames=[frames_part_of(encoder, "energy")])
    assert encoder.n_encoded == 24 + 18  # all but the 6 that have both
    rows = [shard for stored in store.parts() for shard in stored.folder.glob("*.arrow")]
    from ser_transfer.store.shards import read_keys

    assert sum(len(read_keys(path, verify=True)) for path in rows) == 48


def test_frames_of_a_real_encoder_are_those_of_its_library(corpus, tmp_path):
    import librosa

    from ser_transfer import load_encoder

    frames = embed_frames(corpus, load_encoder("mfcc"), "mfcc", store=tmp_path / "store", n_workers=1)
    waveform = read_audio(corpus[7]["audio"])
    expected = librosa.feature.mfcc(y=waveform, sr=16_000, n_mfcc=40).T
    np.testing.assert_allclose(frames.sequences[7], expected, rtol=1e-3, atol=0.05)
    assert frames.frame_rate == 16_000 / 512


def test_frames_beyond_float16_stop_the_run_by_name_and_the_embeddings_stay(corpus, encoder, store):
    encode = encoder.encode

    def loud(waveforms):
        states = encode(waveforms)
        return HiddenStates(tuple(layer * 1e9 for layer in states.layers), states.frame_masks)

    encoder.encode = loud
    with pytest.raises(StoreError, match=r"frames of energy.* reach [0-9.e+]+ for [0-9a-f]{32}.*float16"):
        fill(corpus, encoder, store, frames=[frames_part_of(encoder, "energy")])
    assert store.keys(frames_part_of(encoder, "energy")) == []
    assert len(store.keys(part_of(encoder))) > 0
    assert len(embed(corpus, encoder, store=store).utterance_ids) == 24


def test_an_unknown_layer_is_refused_with_the_known_ones(corpus, encoder, store):
    with pytest.raises(EncoderError, match=r"no layer 'layer_3' .* energy, crossings, or all of them"):
        embed_frames(corpus, encoder, "layer_3", store=store)


def test_frames_leave_a_bad_file_out_like_embeddings(tones, encoder, store):
    break_file(tones)
    corpus = load_corpus("folder", tones)
    with pytest.raises(AudioError, match="p2_1"):
        embed_frames(corpus, encoder, "energy", store=store)
    with pytest.warns(UserWarning, match="1 recordings cannot be used"):
        frames = embed_frames(corpus, encoder, "energy", store=store, skip_bad=True)
    assert len(frames.sequences) == 23


# ── augmented copies ──────────────────────────────────────────────────────────────────────────

GAIN = "gain:-20..-1"


def test_copies_are_embedded_as_they_sound_and_tell_their_originals(corpus, encoder, store):
    plain = embed(corpus, encoder, store=store)
    copies = embed_augmented(corpus, encoder, "gain:-20", 2, store=store)
    ids = corpus["utterance_id"][:]
    assert copies.utterance_ids == tuple(f"{id_}#{number}" for id_ in ids for number in (1, 2))
    assert copies.originals == {f"{id_}#{number}": id_ for id_ in ids for number in (1, 2)}
    for number in (1, 2):  # -20 dB: a hundredth of the energy, and as many zero crossings
        of_each = copies.select([f"{id_}#{number}" for id_ in ids]).layers
        np.testing.assert_allclose(of_each["energy"], plain.layers["energy"] / 100, rtol=1e-4)
        np.testing.assert_allclose(of_each["crossings"][:, 0], plain.layers["crossings"][:, 0], rtol=1e-4)


def test_copies_are_drawn_apart_and_encoded_once(corpus, encoder, store):
    first = embed_augmented(corpus, encoder, GAIN, 2, store=store)
    assert encoder.n_encoded == 48
    assert len(np.unique(first.layers["energy"][:, 0])) == 48
    again = embed_augmented(corpus, encoder, Augmentation.parse(GAIN), 3, store=store)
    assert encoder.n_encoded == 48 + 24  # the third copy of each
    np.testing.assert_array_equal(again.select(first.utterance_ids).layers["energy"], first.layers["energy"])
    embed_augmented(corpus, encoder, GAIN, 2, seed=1, store=store)
    assert encoder.n_encoded == 72 + 48
    assert len(embed(corpus, encoder, store=store).utterance_ids) == 24
    assert encoder.n_encoded == 120 + 24  # a copy is never taken for its recording


def test_a_copy_does_not_depend_on_path_order_or_batch(tones, encoder, tmp_path):
    corpus = load_corpus("folder", tones)
    one = embed_augmented(corpus, encoder, GAIN, 2, store=tmp_path / "one")
    tones.rename(tmp_path / "moved")
    moved = load_corpus("folder", tmp_path / "moved")
    backwards = moved.select(range(23, -1, -1))
    other = embed_augmented(backwards, encoder, GAIN, 2, store=tmp_path / "other", batch_seconds=1.0)
    for name, layer in other.select(one.utterance_ids).layers.items():
        np.testing.assert_allclose(layer, one.layers[name], rtol=1e-5)


def test_processes_make_the_same_copies(corpus, tmp_path):
    from ser_transfer import load_encoder

    spec = "noise:0..20,gain:-9..-3"
    one = embed_augmented(corpus, load_encoder("mfcc"), spec, 2, store=tmp_path / "one", n_workers=1)
    two = embed_augmented(corpus, load_encoder("mfcc"), spec, 2, store=tmp_path / "two", n_workers=2)
    np.testing.assert_allclose(two.layers["mfcc"], one.layers["mfcc"], rtol=1e-4, atol=1e-3)


def test_frames_of_copies_tell_their_originals(corpus, encoder, store):
    copies = Copies(Augmentation.parse("crop:0.1"), 2)
    frames = embed_frames(corpus, encoder, "energy", copies=copies, store=store)
    assert {len(sequence) for sequence in frames.sequences} == {10}
    assert len(frames.originals) == 48
    both = Frames.joined([embed_frames(corpus, encoder, "energy", store=store), frames])
    assert len(both.sequences) == 72


def test_embeddings_and_their_copies_join_to_one_table(corpus, encoder, store):
    plain = embed(corpus, encoder, store=store)
    both = Embeddings.joined([plain, embed_augmented(corpus, encoder, GAIN, 1, store=store)])
    assert len(both.utterance_ids) == 48
    assert set(both.originals.values()) == set(plain.utterance_ids)


def test_a_copy_too_short_for_the_encoder_is_a_bad_recording(corpus, encoder, store):
    encoder.min_seconds = 0.15
    with pytest.raises(
        AudioError, match=r"wav: too_short: its augmented copy lasts 0\.100 s, and .* crop to more"
    ):
        embed_augmented(corpus, encoder, "crop:0.1", store=store)
    with pytest.warns(UserWarning, match="24 recordings cannot be used"):
        copies = embed_augmented(corpus, encoder, "crop:0.1", store=store, skip_bad=True)
    assert copies.utterance_ids == ()
    assert copies.originals == {}


def test_no_copies_are_refused(corpus, encoder, store):
    with pytest.raises(AugmentationError, match="0 augmented copies are none"):
        embed_augmented(corpus, encoder, GAIN, 0, store=store)


# ── the command ───────────────────────────────────────────────────────────────────────────────


def run_command(tones, store, *arguments):
    return ser_transfer.embed.main([*flags_of(tones, store), *arguments])


def flags_of(tones, store):
    return ["--corpus", "folder", "--root", str(tones), "--encoder", "mfcc", "--store", str(store.root)]


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


def test_the_command_keeps_frames_and_copies_and_lists_them(tones, store, capsys):
    flags = ["--frames", "all", "--augment", "gain:-6..-1", "--n-copies", "2"]
    assert run_command(tones, store, *flags) == 0
    said = capsys.readouterr().out
    assert "mfcc: 24 recordings" in said
    assert "mfcc: 48 augmented copies" in said
    assert run_command(tones, store, *flags) == 0
    said = capsys.readouterr().out
    assert "mfcc: all 24 utterances were in" in said
    assert "mfcc: all 48 augmented copies were in" in said
    rows = {stored.part.pooling: stored.n_rows for stored in store.parts()}
    assert rows == {"frames": 72, "mean_std": 72}
    assert ser_transfer.embed.main(["--list", "--store", str(store.root)]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(line[2], line[4], line[5]) for line in listed] == [
        ("frames", "mfcc", "72"),
        ("mean_std", "1", "72"),
    ]
    assert (
        ser_transfer.embed.main(["--clear", "mfcc", "--pooling", "frames", "--store", str(store.root)]) == 0
    )
    assert [stored.part.pooling for stored in store.parts()] == ["mean_std"]


def test_copies_of_a_bad_file_are_not_tried_and_the_others_are_made(tones, store, capsys):
    break_file(tones)
    assert run_command(tones, store, "--skip-bad", "--augment", "gain:-6", "--n-copies", "2") == 1
    assert "mfcc: 46 augmented copies" in capsys.readouterr().out
    lines = (store.root / BAD_FILES).read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["fear/p2_1"]


def test_a_recipe_says_the_same_as_flags(tones, store, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("augment: gain:-6..-1,shift:0..1\nn_copies: 1\nframes: mfcc\n")
    assert ser_transfer.embed.main([str(recipe), *flags_of(tones, store)]) == 0
    assert run_command(tones, store, "--augment", "gain:-6..-1,shift:0..1", "--frames", "mfcc") == 0
    assert "mfcc: all 24 augmented copies were in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--augment", "echo:3"], "known are noise"),
        (["--n-copies", "2"], "--n-copies 2 of what"),
        (["--augment", "gain:1", "--n-copies", "0"], "0 augmented copies are none"),
        (["--frames", "layer_12"], "no layer 'layer_12'"),
        (["--pooling", "frames"], "no pooling named 'frames'"),
        (["--baseline", "nonsense"], "no encoder named 'nonsense'"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_encoded(flags, said, tones, store, capsys):
    assert run_command(tones, store, *flags) == 1
    assert said in capsys.readouterr().err
    assert not store.root.exists()


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
