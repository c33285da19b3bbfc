import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ser_transfer.store import Embeddings, EmbeddingStore, Frames, Part, StoreError, disk, shards

PART = Part("lab/tiny-encoder", "ab" * 32, "mean", "float32", ("layer_0", "layer_1"), (3, 5))


def key(i: int) -> str:
    return f"{i:032x}"


def embedding(i: int) -> list[np.ndarray]:
    generator = np.random.default_rng(i)
    return [generator.standard_normal(dim, dtype=np.float32) for dim in PART.dims]


def write(store: EmbeddingStore, rows, part: Part = PART, **limits) -> None:
    with store.writer(part, **limits) as writer:
        for name, layers in rows:
            writer.add(name, layers)


def fill(store: EmbeddingStore, rows, part: Part = PART, **limits) -> None:
    write(store, ((key(i), embedding(i)) for i in rows), part, **limits)


def assert_rows(store: EmbeddingStore, rows) -> None:
    layers = store.read(PART, [key(i) for i in rows])
    for row, i in enumerate(rows):
        for layer, expected in zip(layers.values(), embedding(i), strict=True):
            np.testing.assert_array_equal(layer[row], expected)


def shard_files(store: EmbeddingStore) -> list[Path]:
    return sorted(store.root.glob("*/*.arrow"))


def child(script: str, *arguments: object) -> subprocess.Popen:
    """Run a script that has the helpers of this module, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from test_store import *\n{script}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store")


# ── rows ──────────────────────────────────────────────────────────────────────────────────────


def test_rows_come_back_bit_for_bit_in_the_order_asked_across_shards(store):
    fill(store, range(50), max_rows=7)
    assert len(shard_files(store)) == 8
    for reader in (store, EmbeddingStore(store.root), EmbeddingStore(store.root, verify=False)):
        assert_rows(reader, np.random.default_rng(0).permutation(50))
        assert_rows(reader, [3, 3, 49])
        assert sorted(reader.keys(PART)) == [key(i) for i in range(50)]


def test_layers_are_read_by_name_each_with_its_own_dim(store):
    fill(store, range(4))
    read = store.read(PART, [key(2)], layers=["layer_1"])
    assert list(read) == ["layer_1"]
    np.testing.assert_array_equal(read["layer_1"], [embedding(2)[1]])
    assert {name: layer.shape for name, layer in store.read(PART, []).items()} == {
        "layer_0": (0, 3),
        "layer_1": (0, 5),
    }
    with pytest.raises(StoreError, match="no layer 'layer_7'; it has layer_0, layer_1"):
        store.read(PART, [key(2)], layers=["layer_7"])


def test_missing_names_each_absent_key_once_in_order(store):
    assert store.missing(PART, [key(1), key(0), key(1)]) == [key(1), key(0)]
    fill(store, range(5), max_rows=2)
    assert store.missing(PART, [key(9), key(4), key(7), key(0), key(9)]) == [key(9), key(7)]
    with pytest.raises(StoreError, match=f"2 of 3 embeddings .* the first that of audio {key(7)}"):
        store.read(PART, [key(1), key(7), key(8)])


def test_making_a_store_and_reading_it_touch_nothing_on_the_disk(store):
    assert store.keys(PART) == [] == store.parts()
    assert not store.root.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "ab" * 31 + "ac"},
        {"pooling": "mean_std"},
        {"precision": "bf16"},
        {"layer_names": ("layer_0", "layer_2")},
        {"dims": (3, 6)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_makes_other_numbers_is_a_miss(store, change):
    fill(store, range(3))
    other = replace(PART, **change)
    assert store.missing(other, [key(0)]) == [key(0)]
    with store.writer(other) as writer:
        writer.add(key(0), [np.zeros(dim) for dim in other.dims])
    assert_rows(store, range(3))
    assert len(store.read(other, [key(0)])) == 2


def test_an_encoder_under_another_name_finds_its_embeddings(store):
    fill(store, range(3))
    elsewhere = replace(PART, encoder="/moved/to/tiny-encoder")
    assert store.missing(elsewhere, [key(i) for i in range(4)]) == [key(3)]
    fill(store, [3], part=elsewhere)
    assert len(store.parts()) == 1
    assert_rows(store, range(4))


def test_moving_the_corpus_and_the_store_keeps_every_embedding(store, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    from ser_transfer.audio import audio_key

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for i in range(3):
        soundfile.write(corpus / f"{i}.wav", np.random.default_rng(i).uniform(-0.5, 0.5, 4000), 16000)
    keys = [audio_key(str(path)) for path in sorted(corpus.glob("*.wav"))]
    with store.writer(PART) as writer:
        for i, name in enumerate(keys):
            writer.add(name, embedding(i))
    moved = corpus.rename(tmp_path / "renamed")
    (moved / "2.wav").write_bytes((moved / "2.wav").read_bytes()[:-2] + b"\x01\x02")
    store.root.rename(tmp_path / "store_moved")
    now = [audio_key(str(path)) for path in sorted(moved.glob("*.wav"))]
    assert EmbeddingStore(tmp_path / "store_moved").missing(PART, now) == [now[2]]


# ── writing ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([np.zeros(3)], "2 layers, and the embedding of .* has 1"),
        ([np.zeros(3), np.zeros(4)], r"layer layer_1 .* wants shape \(5,\), .* has \(4,\)"),
        ([np.zeros((1, 3)), np.zeros(5)], r"wants shape \(3,\), .* has \(1, 3\)"),
        ([np.zeros(3), np.array([0, 0, np.nan, 0, 0])], "layer_1 .* not finite"),
        ([np.array([0, np.inf, 0]), np.zeros(5)], "layer_0 .* not finite"),
        ([np.array([0, 1e300, 0]), np.zeros(5)], "layer_0 .* not finite"),
    ],
)
def test_a_row_that_cannot_be_an_embedding_is_refused_and_the_others_kept(store, layers, said):
    with pytest.raises(StoreError, match=said):
        write(store, [(key(0), embedding(0)), (key(1), layers)])
    assert store.keys(PART) == [key(0)]
    assert_rows(store, [0])


def test_an_interrupted_body_keeps_the_rows_it_added(store):
    def interrupted():
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(store, interrupted())
    assert_rows(store, [0])


def test_shards_end_by_rows_by_bytes_and_by_age(store, monkeypatch):
    row_bytes = 4 * sum(PART.dims)
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with store.writer(PART, max_rows=3, max_seconds=30) as writer:
        for i in range(5):
            writer.add(key(i), embedding(i))
        assert len(store.keys(PART)) == 3
        now += 29
        writer.add(key(5), embedding(5))
        assert len(store.keys(PART)) == 6
        writer.add(key(6), embedding(6))
        now += 30
        writer.add(key(7), embedding(7))
        assert len(store.keys(PART)) == 8
    with store.writer(PART, max_bytes=2 * row_bytes + 1) as writer:
        for i in range(10, 13):
            writer.add(key(i), embedding(i))
        assert len(store.keys(PART)) == 10
    assert_rows(store, [*range(8), 10, 11, 12])


def test_a_row_larger_than_a_shard_is_a_shard_of_its_own(store):
    fill(store, range(3), max_bytes=1)
    assert len(shard_files(store)) == 3


def test_the_callers_array_may_be_reused(store):
    buffer = [np.empty(dim, np.float32) for dim in PART.dims]
    with store.writer(PART) as writer:
        for i in range(3):
            for layer, values in zip(buffer, embedding(i), strict=True):
                layer[:] = values
            writer.add(key(i), buffer)
    assert_rows(store, range(3))


def test_a_writers_memory_does_not_grow_with_the_corpus(store):
    wide = replace(PART, dims=(4096, 4096))
    layers = [np.ones(4096, np.float32)] * 2

    def peak(n_rows: int) -> int:
        tracemalloc.start()
        with store.writer(wide, max_rows=32) as writer:
            for i in range(n_rows):
                writer.add(key(i), layers)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(32)
    assert peak(1024) < 1.1 * peak(64)


# ── shards ────────────────────────────────────────────────────────────────────────────────────


def test_datasets_opens_a_shard_by_itself_and_maps_it(store):
    datasets = pytest.importorskip("datasets")
    fill(store, range(6))
    before = pa.total_allocated_bytes()
    dataset = datasets.Dataset.from_file(str(shard_files(store)[0]))
    assert pa.total_allocated_bytes() == before
    assert dataset.column_names == ["audio_key", "layer_0", "layer_1"]
    assert dataset.features["layer_1"] == datasets.List(datasets.Value("float32"), length=5)
    row = dataset.with_format("numpy")[4]
    assert row["audio_key"] == key(4)
    np.testing.assert_array_equal(row["layer_1"], embedding(4)[1])


def test_reading_maps_the_file_and_copies_only_what_is_asked(store):
    wide = replace(PART, dims=(1 << 16, 1 << 16))  # 32 rows: 16 MiB
    with store.writer(wide) as writer:
        for i in range(32):
            writer.add(key(i), [np.full(dim, i, np.float32) for dim in wide.dims])
    before = pa.total_allocated_bytes()
    shard = shards.open_shard(shard_files(store)[0], verify=True)
    view = shards.layer_view(shard, "layer_0")
    assert pa.total_allocated_bytes() == before
    assert not view.flags.owndata
    assert not view.flags.writeable
    tracemalloc.start()
    rows = store.read(wide, [key(7), key(30)], layers=["layer_1"])["layer_1"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows[:, 0].tolist() == [7.0, 30.0]
    assert peak < 3 * rows.nbytes


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_found_and_only_its_shard_computed_again(store, caplog, place):
    fill(store, range(30), max_rows=10)
    bad = shard_files(store)[1]
    content = bytearray(bad.read_bytes())
    content[int(place * len(content))] ^= 4
    bad.write_bytes(content)

    reader = EmbeddingStore(store.root)
    reader.parts()  # looks at the shards without verifying them
    lost = reader.missing(PART, [key(i) for i in range(30)])
    assert len(lost) == 10
    assert f"{bad} is damaged and was set aside" in caplog.text
    assert not bad.exists()
    assert bad.with_name(bad.name + ".damaged").exists()
    fill(reader, [int(name, 16) for name in lost])
    assert_rows(EmbeddingStore(store.root), range(30))


def test_a_damaged_shard_in_a_read_only_store_is_left_out(store, caplog, monkeypatch):
    fill(store, range(20), max_rows=10)
    bad = shard_files(store)[0]
    bad.write_bytes(bad.read_bytes()[:-1] + b"!")

    def refuse(self, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    assert len(EmbeddingStore(store.root).keys(PART)) == 10
    assert "left out" in caplog.text


def test_a_cut_shard_is_found_even_without_checksums(store):
    fill(store, range(20), max_rows=10)
    bad = shard_files(store)[0]
    content = bad.read_bytes()
    # The last 8 bytes only say that the stream ends.
    for n_kept in range(0, len(content) - 8, 8):
        bad.write_bytes(content[:n_kept])
        with pytest.raises(shards.DamagedShard):
            shards.open_shard(bad, verify=False)
    reader = EmbeddingStore(store.root, verify=False)
    assert len(reader.keys(PART)) == 10
    assert [stored.n_rows for stored in reader.parts()] == [10]
    assert [stored.n_rows for stored in EmbeddingStore(store.root).parts()] == [10]


@pytest.mark.parametrize("verify", [True, False])
def test_a_shard_that_another_process_sets_aside_meanwhile_counts_as_missing(store, verify):
    fill(store, range(20), max_rows=10)
    reader = EmbeddingStore(store.root, verify=verify)
    assert len(reader.keys(PART)) == 20
    shard_files(store)[0].unlink()
    with pytest.raises(StoreError, match="10 of 20 embeddings"):
        reader.read(PART, [key(i) for i in range(20)])
    assert len(reader.keys(PART)) == len(EmbeddingStore(store.root, verify=verify).keys(PART)) == 10


def test_of_a_row_written_several_times_the_shard_first_by_name_counts(store):
    for value in range(12):
        write(store, [(key(0), [np.full(dim, value) for dim in PART.dims])])
    first = min(shard_files(store), key=lambda path: path.name)
    expected = shards.layer_view(shards.open_shard(first, verify=True), "layer_0")
    assert len(shard_files(store)) == 12
    np.testing.assert_array_equal(store.read(PART, [key(0)])["layer_0"], expected)


# ── several processes, and their deaths ───────────────────────────────────────────────────────


def test_two_processes_write_one_part_at_once(store):
    script = """
store = EmbeddingStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
fill(store, range(int(sys.argv[2]), int(sys.argv[3])), max_rows=int(sys.argv[4]))
"""
    writers = [child(script, store.root, 0, 200, 5), child(script, store.root, 100, 300, 7)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert_rows(store, range(300))
    assert sorted(store.keys(PART)) == [key(i) for i in range(300)]
    assert [stored.n_rows for stored in store.parts()] == [300]
    assert list(store.root.glob("*/.*")) == []


@pytest.fixture
def paused_writer(store):
    """A process that has written 10 rows as one shard and stands still inside the write of the next 10."""
    script = """
import time
def pause(descriptor):
    print("paused", flush=True)
    time.sleep(600)
with EmbeddingStore(sys.argv[1]).writer(PART, max_rows=10) as writer:
    for i in range(20):
        if i == 10:
            os.fsync = pause
        writer.add(key(i), embedding(i))
"""
    process = child(script, store.root)
    assert process.stdout.readline() == "paused\n"
    yield process
    process.kill()
    process.communicate()


def test_a_kill_inside_a_write_loses_that_shard_only_and_the_next_run_goes_on(store, paused_writer):
    paused_writer.send_signal(signal.SIGKILL)
    paused_writer.wait()
    assert len(list(store.root.glob("*/.*.tmp"))) == 1
    wanted = [key(i) for i in range(20)]
    lost = EmbeddingStore(store.root).missing(PART, wanted)
    assert lost == wanted[10:]
    fill(store, [int(name, 16) for name in lost])
    assert list(store.root.glob("*/.*")) == []
    assert_rows(store, range(20))
    assert len(shard_files(store)) == 2


def test_the_temporary_file_of_a_live_writer_is_left_alone(store, paused_writer):
    temporary = list(store.root.glob("*/.*.tmp"))
    fill(store, range(10, 20))
    assert list(store.root.glob("*/.*.tmp")) == temporary
    assert_rows(store, range(20))


def test_a_temporary_file_cleaned_up_before_it_was_locked_is_begun_again(store, monkeypatch):
    flock, cleaned = disk.fcntl.flock, []

    def clean_first(file, operation):
        if not cleaned:
            cleaned.append(Path(file.name))
            cleaned[0].unlink()
        flock(file, operation)

    monkeypatch.setattr(disk.fcntl, "flock", clean_first)
    fill(store, range(3))
    assert cleaned
    assert_rows(store, range(3))


# ── what the system refuses ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "no space left on the disk .* embed --list.* --store.* goes on from there"),
        (errno.EROFS, "may not be accessed .* --store"),
        (errno.EIO, "check the disk"),
    ],
)
def test_a_refused_write_is_explained_and_leaves_the_rows_before_it(store, monkeypatch, call, code, said):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    def breaking(rows):
        monkeypatch.setattr(call, refuse)
        yield from rows

    fill(store, range(5), max_rows=5)
    with pytest.raises(StoreError, match=said):
        fill(store, breaking(range(5, 10)), max_rows=5)
    monkeypatch.undo()
    assert list(store.root.glob("*/.*")) == []
    assert store.keys(PART) == [key(i) for i in range(5)]
    assert_rows(store, range(5))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_is_read_but_not_written(store):
    fill(store, range(5))
    folder = shard_files(store)[0].parent
    folder.chmod(0o500)
    try:
        assert_rows(EmbeddingStore(store.root), range(5))
        with pytest.raises(StoreError, match="may not be accessed"):
            fill(store, [5])
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("verb", ["parts", "keys", "writer"])
def test_a_store_of_a_newer_version_is_refused(store, verb):
    fill(store, range(2))
    path = next(store.root.glob("*/part.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 3, "shape": "unheard of"}))
    with pytest.raises(StoreError, match=r"newer ser_transfer \(store format 3; this one reads 2\): update"):
        getattr(store, verb)(*([] if verb == "parts" else [PART]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": "x"}', "\xff"])
def test_a_damaged_description_is_named(store, text):
    fill(store, range(2))
    next(store.root.glob("*/part.json")).write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=r"part\.json is damaged"):
        store.keys(PART)


def test_a_folder_whose_maker_died_before_describing_it_is_taken_up(store):
    (store.root / PART.folder_name).mkdir(parents=True)
    assert store.parts() == []
    fill(store, range(2))
    assert_rows(store, range(2))


@pytest.mark.parametrize(
    "change", [{"layer_names": ()}, {"layer_names": ("a", "a")}, {"dims": (3,)}, {"dims": (3, 0)}]
)
def test_a_part_that_describes_nothing_is_refused(change):
    with pytest.raises(StoreError, match="a part wants"):
        replace(PART, **change)


# ── list and clear ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def full_store(store) -> EmbeddingStore:
    """The tiny encoder under two poolings and in two versions, and another encoder."""
    fill(store, range(6), max_rows=2)
    fill(store, range(6), max_rows=3)
    fill(store, range(2), part=replace(PART, pooling="mean_std"))
    fill(store, range(3), part=replace(PART, fingerprint="abcd" * 16))
    fill(store, range(4), part=replace(PART, encoder="yamnet", fingerprint="12" * 32))
    return store


def test_parts_are_listed_with_distinct_rows_bytes_and_age(full_store):
    parts = full_store.parts()
    assert [(stored.part.encoder, stored.part.pooling, stored.n_rows) for stored in parts] == [
        ("lab/tiny-encoder", "mean", 6),
        ("lab/tiny-encoder", "mean_std", 2),
        ("lab/tiny-encoder", "mean", 3),
        ("yamnet", "mean", 4),
    ]
    assert [stored.n_shards for stored in parts] == [5, 1, 1, 1]
    for stored in parts:
        assert stored.n_bytes == sum(path.stat().st_size for path in stored.folder.glob("*.arrow"))
        newest = max(path.stat().st_mtime for path in stored.folder.glob("*.arrow"))
        assert stored.written.timestamp() == pytest.approx(newest, abs=0.5)
    assert parts[1].folder.name.startswith("lab-tiny-encoder-abababababab-mean_std-float32-")


@pytest.mark.parametrize(
    ("given", "n_rows"),
    [
        ({"encoder": "yamnet"}, [4]),
        ({"encoder": "1212"}, [4]),
        ({"encoder": "lab/tiny-encoder"}, [6, 2, 3]),
        ({"encoder": "abcd"}, [3]),
        ({"encoder": "abab"}, [6, 2]),
        ({"encoder": "lab/tiny-encoder", "pooling": "mean_std"}, [2]),
        ({"encoder": "yamnet", "precision": "float32"}, [4]),
    ],
)
def test_clear_removes_what_is_named_and_nothing_else(full_store, given, n_rows):
    before = full_store.parts()
    removed = full_store.clear(**given)
    assert [stored.n_rows for stored in removed] == n_rows
    assert full_store.parts() == [stored for stored in before if stored not in removed]
    assert len(list(full_store.root.iterdir())) == len(before) - len(removed)


@pytest.mark.parametrize("encoder", ["", "12", "yam", "hubert", "ffff"])
def test_clear_refuses_what_names_nothing_and_lists_what_there_is(full_store, encoder):
    with pytest.raises(StoreError, match=r"nothing in .*(?s:.)*yamnet \(fingerprint 121212121212"):
        full_store.clear(encoder)
    assert len(full_store.parts()) == 4


def test_clear_refuses_an_ambiguous_prefix(full_store):
    fill(full_store, [0], part=replace(PART, fingerprint="abcf" * 16))
    fill(full_store, [0], part=replace(PART, fingerprint="abcfe" * 12))
    with pytest.raises(StoreError, match=r"abcf… is ambiguous(?s:.)*abcfabcfabcf(?s:.)*abcfeabcfeab"):
        full_store.clear("abcf")
    assert len(full_store.parts()) == 6


def test_what_a_killed_clear_left_is_not_listed_and_goes_with_the_next(full_store):
    yamnet = full_store.parts()[3]
    yamnet.folder.rename(full_store.root / ".cleared-half")
    assert yamnet.part not in [stored.part for stored in full_store.parts()]
    assert full_store.keys(yamnet.part) == []
    full_store.clear("abcd")
    assert len(list(full_store.root.iterdir())) == 2


def test_a_part_cleared_under_its_writer_is_said_to_be_gone(store):
    def clearing():
        yield 0
        store.clear("lab/tiny-encoder")

    with pytest.raises(StoreError, match="removed while it was in use"):
        fill(store, clearing())


# ── embeddings in memory ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def embeddings(store) -> Embeddings:
    fill(store, range(4))
    return store.embeddings(PART, ["a", "b", "c", "twin of b"], [key(i) for i in (0, 1, 2, 1)])


def test_utterances_of_the_same_audio_share_an_embedding(embeddings):
    assert (embeddings.encoder, embeddings.fingerprint) == (PART.encoder, PART.fingerprint)
    for layer in embeddings.layers.values():
        np.testing.assert_array_equal(layer[1], layer[3])


def test_select_joins_by_id_in_the_order_given(embeddings):
    some = embeddings.select(["c", "a"])
    assert some.utterance_ids == ("c", "a")
    np.testing.assert_array_equal(some.layers["layer_1"], [embedding(2)[1], embedding(0)[1]])
    assert embeddings.select([]).layers["layer_0"].shape == (0, 3)
    with pytest.raises(StoreError, match="of utterance 'x' and 1 others"):
        embeddings.select(["a", "x", "y"])
    with pytest.raises(StoreError, match="'a' is there twice"):
        embeddings.select(["a", "b", "a"])


def test_concatenate_lays_layers_side_by_side_in_the_order_named(embeddings):
    X, block_sizes = embeddings.concatenate()
    assert block_sizes == (3, 5)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X[2], np.concatenate(embedding(2)))
    X, block_sizes = embeddings.concatenate(["layer_1"])
    assert block_sizes == (5,)
    np.testing.assert_array_equal(X[0], embedding(0)[1])
    with pytest.raises(
        StoreError, match="'layer_9' was asked of lab/tiny-encoder, which has layer_0, layer_1"
    ):
        embeddings.concatenate(["layer_1", "layer_9"])
    with pytest.raises(StoreError, match="no layer was asked"):
        embeddings.concatenate([])


def test_ids_and_rows_must_agree(store):
    fill(store, range(2))
    with pytest.raises(StoreError, match=r"wants shape \(1, dim\), not \(2, 3\)"):
        store.embeddings(PART, ["a"], [key(0), key(1)])
    with pytest.raises(StoreError, match="'a' is there twice"):
        store.embeddings(PART, ["a", "a"], [key(0), key(1)])


def test_joined_lays_tables_beneath_one_another_and_keeps_what_is_a_copy_of_what(embeddings):
    copies = replace(
        embeddings.select(["a", "b"]), utterance_ids=("a#1", "b#1"), originals={"a#1": "a", "b#1": "b"}
    )
    both = Embeddings.joined([embeddings, copies])
    assert both.utterance_ids == ("a", "b", "c", "twin of b", "a#1", "b#1")
    assert both.originals == {"a#1": "a", "b#1": "b"}
    np.testing.assert_array_equal(both.layers["layer_1"][5], both.layers["layer_1"][1])
    assert both.select(["c", "b#1"]).originals == {"b#1": "b"}
    with pytest.raises(StoreError, match="'a' is there twice"):
        Embeddings.joined([embeddings, embeddings])


@pytest.mark.parametrize(
    "change", [{"fingerprint": "cd" * 32}, {"pooling": "mean_std"}, {"precision": "bf16"}]
)
def test_what_was_made_differently_is_not_joined(embeddings, change):
    other = replace(embeddings, utterance_ids=tuple("wxyz"), **change)
    with pytest.raises(StoreError, match=f"tables of {next(iter(change))} .* cannot be joined"):
        Embeddings.joined([embeddings, other])
    fewer = replace(embeddings, utterance_ids=tuple("wxyz"), layers={"layer_0": embeddings.layers["layer_0"]})
    with pytest.raises(StoreError, match=r"tables of layers .* cannot be joined"):
        Embeddings.joined([embeddings, fewer])
    with pytest.raises(StoreError, match="nothing to join"):
        Embeddings.joined([])


# ── frames ────────────────────────────────────────────────────────────────────────────────────

FRAMES = replace(PART, pooling="frames", layer_names=("layer_1",), dims=(5,), frame_rate=50.0)


def sequence(i: int) -> np.ndarray:
    """1 to 40 frames, each told apart."""
    generator = np.random.default_rng(i)
    return generator.standard_normal((1 + (7 * i) % 40, 5)).astype(np.float16)


def fill_frames(store: EmbeddingStore, rows, part: Part = FRAMES, **limits) -> None:
    write(store, ((key(i), [sequence(i)]) for i in rows), part, **limits)


def test_frames_come_back_bit_for_bit_each_with_its_own_length_across_shards(store):
    fill_frames(store, range(50), max_rows=7)
    assert len(shard_files(store)) == 8
    order = [*np.random.default_rng(0).permutation(50).tolist(), 49, 3]
    for reader in (store, EmbeddingStore(store.root), EmbeddingStore(store.root, verify=False)):
        frames = reader.frames(FRAMES, [f"{n}" for n in range(52)], [key(i) for i in order])
        assert frames.utterance_ids == tuple(f"{n}" for n in range(52))
        for got, i in zip(frames.sequences, order, strict=True):
            assert got.dtype == np.float16
            np.testing.assert_array_equal(got, sequence(i))
    assert (frames.layer, frames.frame_rate, frames.encoder) == ("layer_1", 50.0, "lab/tiny-encoder")
    assert (frames.fingerprint, frames.precision) == (PART.fingerprint, "float32")


def test_frames_are_mapped_and_not_read(store):
    wide = replace(FRAMES, dims=(1 << 16,))
    write(store, ((key(i), [np.full((4, 1 << 16), i)]) for i in range(32)), wide)  # 16 MiB
    store.missing(wide, [])
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    frames = store.frames(wide, [str(i) for i in range(32)], [key(i) for i in range(32)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 1 << 16
    assert peak < 1 << 18
    assert not frames.sequences[0].flags.writeable
    assert [int(each[3, -1]) for each in frames.sequences] == list(range(32))
    del store
    np.testing.assert_array_equal(frames.sequences[31][0], np.full(1 << 16, 31))


def test_frames_and_embeddings_of_one_encoder_are_kept_apart(store):
    fill(store, range(3))
    other_layer = replace(FRAMES, layer_names=("layer_0",), dims=(3,))
    assert store.missing(FRAMES, [key(0)]) == [key(0)]
    fill_frames(store, range(2))
    assert store.missing(other_layer, [key(0)]) == [key(0)]
    assert_rows(store, range(3))
    shown = [(stored.part.pooling, stored.part.layer_names, stored.n_rows) for stored in store.parts()]
    assert shown == [("frames", ("layer_1",), 2), ("mean", ("layer_0", "layer_1"), 3)]
    assert store.parts()[0].part.frame_rate == 50.0
    assert [stored.n_rows for stored in store.clear("lab/tiny-encoder", pooling="frames")] == [2]
    assert_rows(store, range(3))
    fill_frames(store, range(2))
    assert len(store.clear("lab/tiny-encoder")) == 2


def test_frames_at_another_rate_are_a_miss(store):
    fill_frames(store, range(2))
    assert store.missing(FRAMES, [key(0)]) == []
    assert store.missing(replace(FRAMES, frame_rate=100.0), [key(0)]) == [key(0)]
    fill_frames(store, range(2), part=replace(FRAMES, frame_rate=100.0))
    assert sorted(stored.part.frame_rate for stored in store.parts()) == [50.0, 100.0]


def test_frames_are_not_read_as_embeddings_nor_embeddings_as_frames(store):
    fill(store, range(2))
    fill_frames(store, range(2))
    with pytest.raises(
        StoreError, match=r"frames of layer_1, float32\) are no embeddings: .*EmbeddingStore\.frames"
    ):
        store.embeddings(FRAMES, ["a"], [key(0)])
    with pytest.raises(StoreError, match=r"holds no frames: .*EmbeddingStore\.embeddings"):
        store.frames(PART, ["a"], [key(0)])
    with pytest.raises(StoreError, match=r"1 of 2 .* first that of audio 0+9: run .* and --frames layer_1"):
        store.frames(FRAMES, ["a", "b"], [key(0), key(9)])


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (
            np.full((2, 5), 65_520.0),
            r"frames of layer_1.* reach 65520 for 0+1, .*float16, which ends at 65504",
        ),
        (np.full((2, 5), -1e30, np.float32), "reach 1e\\+30 .*float16"),
        (np.array([[0, 0, np.nan, 0, 0]]), "layer_1 .* not finite for 0+1"),
        (np.array([[0, 0, np.inf, 0, 0]], np.float32), "layer_1 .* not finite for 0+1"),
        (np.zeros((0, 5)), r"want shape \(frames, 5\) with one frame or more, .* have \(0, 5\)"),
        (np.zeros((3, 4)), r"want shape \(frames, 5\).* have \(3, 4\)"),
        (np.zeros(5), r"want shape \(frames, 5\).* have \(5,\)"),
    ],
)
def test_frames_that_float16_cannot_hold_are_refused_by_name_and_the_others_kept(store, frames, said):
    with pytest.raises(StoreError, match=said):
        write(store, [(key(0), [sequence(0)]), (key(1), [frames])], FRAMES)
    assert store.keys(FRAMES) == [key(0)]
    np.testing.assert_array_equal(store.frames(FRAMES, ["a"], [key(0)]).sequences[0], sequence(0))


def test_the_largest_float16_is_kept(store):
    write(store, [(key(0), [np.full((1, 5), 65_504.0)])], FRAMES)
    assert (store.frames(FRAMES, ["a"], [key(0)]).sequences[0] == 65_504).all()


def test_the_callers_frames_may_be_reused(store):
    buffer = np.empty((4, 5), np.float16)
    with store.writer(FRAMES) as writer:
        for i in range(3):
            buffer[:] = i
            writer.add(key(i), [buffer])
    frames = store.frames(FRAMES, ["0", "1", "2"], [key(i) for i in range(3)])
    assert [each[0, 0] for each in frames.sequences] == [0, 1, 2]


def test_a_frames_writers_memory_does_not_grow_with_the_corpus(store):
    wide = replace(FRAMES, dims=(4096,))
    frames = np.ones((8, 4096), np.float16)  # 64 KiB

    def peak(n_rows: int) -> int:
        tracemalloc.start()
        write(store, ((key(i), [frames]) for i in range(n_rows)), wide, max_bytes=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(16)
    assert len(shard_files(store)) == 1
    assert peak(256) < 1.2 * peak(32)


def test_datasets_opens_a_shard_of_frames(store):
    datasets = pytest.importorskip("datasets")
    fill_frames(store, range(4))
    dataset = datasets.Dataset.from_file(str(shard_files(store)[0]))
    assert dataset.column_names == ["audio_key", "layer_1"]
    np.testing.assert_array_equal(np.array(dataset[3]["layer_1"], np.float16), sequence(3))


def test_a_damaged_shard_of_frames_is_found_and_computed_again(store, caplog):
    fill_frames(store, range(30), max_rows=10)
    bad = shard_files(store)[1]
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 4
    bad.write_bytes(content)
    reader = EmbeddingStore(store.root)
    lost = reader.missing(FRAMES, [key(i) for i in range(30)])
    assert len(lost) == 10
    assert "was set aside" in caplog.text
    fill_frames(reader, [int(name, 16) for name in lost])
    again = reader.frames(FRAMES, [str(i) for i in range(30)], [key(i) for i in range(30)])
    for i, got in enumerate(again.sequences):
        np.testing.assert_array_equal(got, sequence(i))


@pytest.mark.parametrize(
    "change",
    [{"frame_rate": None}, {"pooling": "mean"}, {"layer_names": ("layer_0", "layer_1"), "dims": (3, 5)}],
    ids=["no frame rate", "a frame rate of what is pooled", "two layers"],
)
def test_a_part_of_frames_has_one_layer_and_a_frame_rate(change):
    with pytest.raises(StoreError, match="a part wants a frame rate, and a single layer, if and only if"):
        replace(FRAMES, **change)


def test_frames_are_selected_and_joined_by_id(store):
    fill_frames(store, range(3))
    frames = store.frames(FRAMES, ["a", "b", "c"], [key(i) for i in range(3)])
    some = frames.select(["c", "a"])
    assert some.utterance_ids == ("c", "a")
    assert some.sequences[0] is frames.sequences[2]
    copies = replace(some, utterance_ids=("c#1", "a#1"), originals={"c#1": "c", "a#1": "a"})
    both = Frames.joined([frames, copies])
    assert both.utterance_ids == ("a", "b", "c", "c#1", "a#1")
    assert both.sequences[3] is frames.sequences[2]
    assert both.select(["b", "a#1"]).originals == {"a#1": "a"}
    with pytest.raises(StoreError, match="no frames by lab/tiny-encoder of utterance 'x'"):
        frames.select(["x"])
    with pytest.raises(StoreError, match="'a' is there twice"):
        Frames.joined([frames, some])
    with pytest.raises(StoreError, match="tables of layer 'layer_1' and 'layer_0' cannot be joined"):
        Frames.joined([frames, replace(copies, layer="layer_0")])
    with pytest.raises(StoreError, match="2 utterances and 3 sequences"):
        replace(frames, utterance_ids=("a", "b"))


def test_importing_the_store_imports_neither_torch_nor_datasets():
    script = "import ser_transfer.store, sys; print({'torch', 'datasets', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"
