"""The store at size: what counts, where it lies, and what becomes of it when something breaks."""

import errno
import os
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from test_store import (
    FRAMES,
    PART,
    assert_rows,
    child,
    embedding,
    fill,
    fill_frames,
    key,
    sequence,
    shard_files,
    write,
)

import ser_transfer.tidy
from ser_transfer.store import EmbeddingStore, StoreError, catalogue, compact, manifest, verify
from ser_transfer.store.catalogue import Catalogue
from ser_transfer.store.halves import cosine_costs, halved, restored
from ser_transfer.store.index import Entry, Index, Removal, key_array
from ser_transfer.store.manifest import Manifest, ManifestReader, merge


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store")


def folder_of(store: EmbeddingStore) -> Path:
    [stored] = store.parts()
    return stored.folder


def index_files(store: EmbeddingStore) -> list[Path]:
    return sorted(store.root.glob("*/manifest/*.index"))


def live_indexes(store: EmbeddingStore) -> dict[str, Index]:
    return ManifestReader(folder_of(store), verify=True).read().indexes


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def hours_ago(path: Path, hours: float) -> None:
    moment = path.stat().st_mtime - 3600 * hours
    os.utime(path, (moment, moment))


@pytest.fixture
def old_store(store) -> EmbeddingStore:
    """30 rows as a version without manifests left them: shards named by their checksums, and no more."""
    fill(store, [])
    folder = folder_of(store)
    shutil.rmtree(folder / "manifest")
    for start in range(0, 30, 10):
        rows = [embedding(i) for i in range(start, start + 10)]
        columns = [
            pa.FixedSizeListArray.from_arrays(np.concatenate([row[n] for row in rows]), PART.dims[n])
            for n in range(2)
        ]
        keys = pa.array([key(i) for i in range(start, start + 10)])
        batch = pa.record_batch([keys, *columns], names=["audio_key", *PART.layer_names])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        content = sink.getvalue().to_pybytes()
        (folder / f"{xxhash.xxh3_128_hexdigest(content)}.arrow").write_bytes(content)
    return EmbeddingStore(store.root)


# ── finding rows ──────────────────────────────────────────────────────────────────────────────


def test_rows_are_found_as_a_plain_search_through_all_shards_finds_them(tmp_path):
    generator = np.random.default_rng(0)
    names = [generator.bytes(16).hex() for _ in range(120)]
    names += [f"{i:032x}" for i in range(40)] + [f"{i << 120:032x}" for i in range(40)]
    shards = {f"{n:02d}.arrow": list(generator.choice(names, 25)) for n in range(30)}
    entries = {name: Entry.of(name, 25, 1) for name in shards}
    gone = ["03.arrow", "17.arrow", "29.arrow"]
    removals = [Removal(name, entries[name].id, 0.0) for name in gone]
    order = generator.permutation(list(shards))
    indexes = {
        str(n): Index.of(
            [(entries[name], key_array(shards[name])) for name in order[5 * n : 5 * n + 5]],
            removals=removals[n : n + 1],
        )
        for n in range(6)
    }
    expected = {}
    for number, name in enumerate(sorted(set(shards) - set(gone))):
        for row, each in enumerate(shards[name]):
            expected.setdefault(each, (number, each, name, row))
    found = Catalogue([Manifest(tmp_path, indexes)], frozenset())
    where, rows = found.find(key_array(names))
    for name, number, row in zip(names, where, rows, strict=True):
        if name not in expected:
            assert number == -1
        else:
            assert number == expected[name][0]
            assert shards[expected[name][2]][row] == name
    assert found.n_distinct() == len(expected)
    merged = Index.merged(list(indexes.values()))
    again = Catalogue([Manifest(tmp_path, {"": merged})], frozenset())
    np.testing.assert_array_equal(again.find(key_array(names))[0], where)
    assert (np.sort(merged.keys) == merged.keys).all()
    assert {entry.name for entry in merged.entries} == set(shards) - set(gone)


@pytest.mark.parametrize("wrong", ["", "ab", "g" * 32, "0" * 31, "0" * 33, "0" * 64])
def test_what_is_no_audio_key_is_refused_by_name(store, wrong):
    with pytest.raises(StoreError, match=f"{wrong!r} is no audio key: it wants 32 hex digits"):
        store.missing(PART, [key(1), wrong])


def test_opening_a_part_lists_its_indexes_and_no_shards(store, monkeypatch):
    fill(store, range(40), max_rows=2)
    listed = []

    def listing(folder, suffix):
        listed.append((folder.name, suffix))
        return list_files(folder, suffix)

    list_files = manifest.list_files
    monkeypatch.setattr(manifest, "list_files", listing)
    reader = EmbeddingStore(store.root)
    assert_rows(reader, range(40))
    assert reader.missing(PART, [key(40)]) == [key(40)]
    assert [stored.n_rows for stored in reader.parts()] == [40]
    assert set(listed) == {("manifest", ".index")}


def test_a_writer_of_many_shards_leaves_few_indexes(store):
    fill(store, range(300), max_rows=1)
    assert len(shard_files(store)) == 300
    assert len(live_indexes(store)) == 1
    with store.writer(PART, max_rows=1) as writer:
        for i in range(300, 600):
            writer.add(key(i), embedding(i))
        assert len(live_indexes(store)) < 1 + 3 * manifest.MERGED
        assert_rows(EmbeddingStore(store.root), range(600))
    assert len(live_indexes(store)) == 2
    assert_rows(store, range(600))


def test_replaced_indexes_stay_a_while_and_go_with_a_later_writer(store):
    fill(store, range(40), max_rows=2)
    n_files = len(index_files(store))
    assert n_files > 10
    fill(store, [40])
    assert len(index_files(store)) == n_files + 1
    for path in index_files(store):
        hours_ago(path, 1)
    fill(store, [41])
    assert len(index_files(store)) == 3  # one of each writer
    assert_rows(store, range(42))


def test_the_indexes_of_many_sessions_become_one(store, monkeypatch):
    monkeypatch.setattr(manifest, "CROWDED", 5)
    for i in range(12):
        fill(store, [i])
    assert len(live_indexes(store)) < 5
    assert_rows(store, range(12))


def test_what_two_merged_at_once_counts_once(store):
    for i in range(0, 12, 3):
        fill(store, range(i, i + 3))
    seen = ManifestReader(folder_of(store), verify=True).read()
    merge(Manifest(seen.folder, dict(list(seen.indexes.items())[:3])))
    merge(seen)
    merge(Manifest(seen.folder, dict(list(seen.indexes.items())[1:])))
    assert [stored.n_rows for stored in store.parts()] == [12]
    assert sorted(store.keys(PART)) == [key(i) for i in range(12)]
    assert_rows(EmbeddingStore(store.root), range(12))
    merge(ManifestReader(folder_of(store), verify=True).read())
    [index] = live_indexes(store).values()
    assert len(index.keys) == 12


def test_an_index_removed_while_it_is_opened_is_looked_for_anew(store, monkeypatch):
    for i in range(3):
        fill(store, [i])
    listed = [path.name for path in index_files(store)]
    assert merge(ManifestReader(folder_of(store), verify=True).read()) == 1
    stale = [folder_of(store) / "manifest" / name for name in listed]
    for path in stale:
        path.unlink()
    answers = [stale]
    list_files = manifest.list_files
    monkeypatch.setattr(
        manifest, "list_files", lambda *asked: answers.pop() if answers else list_files(*asked)
    )
    assert_rows(EmbeddingStore(store.root), range(3))
    assert not answers


# ── stores without a manifest ─────────────────────────────────────────────────────────────────


def test_a_store_of_before_manifests_is_read_as_it_is(old_store):
    assert_rows(old_store, [29, 3, 12, 3])
    assert [(stored.n_rows, stored.n_shards) for stored in old_store.parts()] == [(30, 3)]
    assert old_store.missing(PART, [key(30), key(5)]) == [key(30)]
    assert index_files(old_store) == []


@pytest.mark.parametrize("how", ["writer", "verify", "compact"])
def test_an_old_store_is_written_down_by_the_first_who_may_write(old_store, how):
    if how == "writer":
        fill(old_store, [30])
    elif how == "verify":
        assert verify(folder_of(old_store)).n_sound == 3
    else:
        compact(folder_of(old_store), PART)
    entries = [entry for index in live_indexes(old_store).values() for entry in index.entries]
    assert sum(entry.n_rows for entry in entries) == 30 + (how == "writer")
    assert_rows(EmbeddingStore(old_store.root), range(30))


def test_two_who_take_up_an_old_store_at_once_double_nothing(old_store):
    folder = folder_of(old_store)
    (folder / "manifest").mkdir()
    unlisted = ManifestReader(folder, verify=True).read().indexes[""]
    manifest.write_index(folder / "manifest", unlisted)
    manifest.write_index(folder / "manifest", Index.of([], removals=()))
    manifest.write_index(folder / "manifest", unlisted)
    assert [(stored.n_rows, stored.n_shards) for stored in old_store.parts()] == [(30, 3)]
    assert_rows(old_store, range(30))


def test_a_bit_flipped_in_an_old_shard_is_found_as_ever(old_store, caplog):
    flip(shard_files(old_store)[1], 0.7)
    assert len(old_store.missing(PART, [key(i) for i in range(30)])) == 10
    assert "is damaged and was set aside" in caplog.text


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_with_a_damaged_index_the_shards_are_listed_and_the_next_writer_indexes_them(store, caplog, place):
    fill(store, range(20), max_rows=5)
    [name] = live_indexes(store)
    flip(folder_of(store) / "manifest" / name, place)
    assert_rows(EmbeddingStore(store.root), range(20))
    assert f"{name} is damaged" in caplog.text
    fill(store, [20])
    caplog.clear()
    assert_rows(EmbeddingStore(store.root), range(21))
    assert caplog.text == ""
    assert [stored.n_rows for stored in store.parts()] == [21]


# ── what breaks ───────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """A death that runs no handler of ours, as far as a process can play it to itself."""


def break_at(monkeypatch, n: int, error: BaseException) -> None:
    """Let the n-th file that is put in its place, and all after it, fail."""
    left = [n]
    replace = Path.replace

    def breaking(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", breaking)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), Killed()], ids=["full", "kill"]
)
def test_wherever_writing_ends_the_store_opens_and_the_next_run_goes_on(tmp_path, monkeypatch, error):
    n_broken = 0
    for n in range(100):
        store = EmbeddingStore(tmp_path / str(n))
        fill(store, range(4), max_rows=2)
        with monkeypatch.context() as patch:
            break_at(patch, n, error)
            try:
                fill(store, range(4, 12), max_rows=2)
            except (StoreError, Killed):
                n_broken += 1
            else:
                break
        wanted = [key(i) for i in range(12)]
        lost = EmbeddingStore(store.root).missing(PART, wanted)
        assert not set(lost) & set(wanted[:4])
        assert_rows(EmbeddingStore(store.root), [i for i in range(12) if key(i) not in lost])
        fill(store, [int(name, 16) for name in lost], max_rows=2)
        assert_rows(EmbeddingStore(store.root), range(12))
        assert not list(store.root.glob("**/.*.tmp"))
    assert n_broken >= 8  # four shards, and the index of each


def test_eight_processes_write_one_part_at_once(store):
    script = """
store = EmbeddingStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
fill(store, range(int(sys.argv[2]), int(sys.argv[3])), max_rows=3)
"""
    writers = [child(script, store.root, 20 * n, 20 * n + 40) for n in range(8)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert_rows(store, range(180))
    assert [stored.n_rows for stored in store.parts()] == [180]
    assert verify(folder_of(store)).is_sound


def test_a_damaged_row_of_a_store_too_large_to_check_is_never_handed_out(store, monkeypatch, caplog):
    monkeypatch.setattr(catalogue, "CHECKED_BYTES", 0)
    fill(store, range(30), max_rows=10)
    bad = shard_files(store)[1]
    content = bad.read_bytes()
    damaged = next(i for i in range(30) if (place := content.find(embedding(i)[1].tobytes())) >= 0)
    flip(bad, (place + 0.5) / len(content))
    reader = EmbeddingStore(store.root)
    assert reader.missing(PART, [key(i) for i in range(30)]) == []
    neighbours = [i for i in range(30) if i // 10 == damaged // 10 and i != damaged]
    assert_rows(reader, neighbours[:2])
    with pytest.raises(StoreError, match=r"1 of 1 embeddings .* run `ser-transfer embed`"):
        reader.read(PART, [key(damaged)])
    assert f"{bad} is damaged" in caplog.text
    lost = EmbeddingStore(store.root).missing(PART, [key(i) for i in range(30)])
    assert len(lost) == 10


def test_a_damaged_frame_of_a_store_too_large_to_check_is_never_handed_out(store, monkeypatch):
    monkeypatch.setattr(catalogue, "CHECKED_BYTES", 0)
    fill_frames(store, range(10))
    [bad] = shard_files(store)
    content = bad.read_bytes()
    flip(bad, (content.find(sequence(3).tobytes()) + 0.5) / len(content))
    reader = EmbeddingStore(store.root)
    assert len(reader.frames(FRAMES, ["a"], [key(4)]).sequences) == 1
    with pytest.raises(StoreError, match="1 of 1 embeddings"):
        reader.frames(FRAMES, ["a"], [key(3)])


def test_rows_computed_again_to_the_same_bytes_count_again(store):
    fill(store, range(10))
    [bad] = shard_files(store)
    flip(bad, 0.6)
    for reader in (store, EmbeddingStore(store.root)):
        assert len(reader.missing(PART, [key(i) for i in range(10)])) == 10
    fill(store, range(10))
    assert shard_files(store) == [bad]
    for reader in (store, EmbeddingStore(store.root)):
        assert_rows(reader, range(10))
        assert [stored.n_rows for stored in reader.parts()] == [10]


# ── verify ────────────────────────────────────────────────────────────────────────────────────


def test_verify_names_what_is_damaged_or_gone_and_takes_up_what_no_index_names(store):
    fill(store, range(40), max_rows=10)
    flipped, gone = shard_files(store)[1:3]
    flip(flipped, 0.9)
    gone.unlink()
    with store.writer(PART) as writer:  # a kill between the shard and its index
        writer._manifest.add = lambda *args, **kwargs: None
        writer.add(key(100), embedding(100))
    assert store.missing(PART, [key(100)]) == [key(100)]
    seen = []
    found = verify(folder_of(store), on_shard=lambda n_shards, n_bytes: seen.append(n_shards))
    assert (found.damaged, found.gone) == ([flipped], [gone])
    assert len(found.taken_up) == 1
    assert (found.n_sound, found.n_rows_lost, found.is_sound) == (2, 20, False)
    assert seen == [4] * 4
    reader = EmbeddingStore(store.root)
    lost = reader.missing(PART, [*(key(i) for i in range(40)), key(100)])
    assert len(lost) == 20
    assert_rows(reader, [100])
    fill(reader, [int(name, 16) for name in lost])
    again = verify(folder_of(store))
    assert again.is_sound
    assert not again.taken_up
    assert_rows(EmbeddingStore(store.root), range(40))


# ── compact ───────────────────────────────────────────────────────────────────────────────────


def test_compaction_keeps_every_row_once_under_readers_and_removes_files_later(store):
    fill(store, range(60), max_rows=7)
    fill(store, range(30, 90), max_rows=11)
    reader = EmbeddingStore(store.root)
    held = reader._catalogues.read([folder_of(store)])
    small = shard_files(store)
    done = compact(folder_of(store), PART)
    assert (done.n_before, done.n_after, done.n_removed) == (len(small), 1, 0)
    assert set(small) < set(shard_files(store))
    assert_rows(reader, range(90))
    assert reader.parts()[0].n_shards == 1
    assert [len(index.keys) for index in live_indexes(store).values()] == [90]
    assert held.path(0).exists()
    for path in small:
        hours_ago(path, 2)
    done = compact(folder_of(store), PART, grace_hours=0)
    assert (done.n_before, done.n_removed) == (0, len(small))
    assert len(shard_files(store)) == 1
    assert_rows(reader, range(90))
    assert_rows(EmbeddingStore(store.root), range(90))
    assert verify(folder_of(store)).is_sound


def test_frames_are_compacted_each_with_its_own_length(store):
    fill_frames(store, range(40), max_rows=7)
    compact(folder_of(store), FRAMES)
    assert store.parts()[0].n_shards == 1
    frames = store.frames(FRAMES, [str(i) for i in range(40)], [key(i) for i in range(40)])
    for i, got in enumerate(frames.sequences):
        np.testing.assert_array_equal(got, sequence(i))


def test_compaction_ends_shards_at_their_size_and_leaves_large_ones(store):
    fill(store, range(40), max_rows=4)
    size = shard_files(store)[0].stat().st_size
    done = compact(folder_of(store), PART, large_bytes=5 * size, grace_hours=0)
    assert (done.n_before, done.n_after) == (10, 2)
    assert compact(folder_of(store), PART, large_bytes=size, grace_hours=0).n_before == 0
    assert_rows(store, range(40))


def test_a_damaged_shard_is_not_compacted_into_a_sound_one(store):
    fill(store, range(40), max_rows=10)
    bad = shard_files(store)[2]
    flip(bad, 0.8)
    assert compact(folder_of(store), PART).n_before == 3
    assert verify(folder_of(store)).damaged == [bad]
    lost = EmbeddingStore(store.root).missing(PART, [key(i) for i in range(40)])
    assert len(lost) == 10


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), Killed()], ids=["full", "kill"]
)
def test_wherever_compaction_ends_no_row_is_lost_or_doubled(tmp_path, monkeypatch, error):
    for n in range(20):
        store = EmbeddingStore(tmp_path / str(n))
        fill(store, range(24), max_rows=3)
        size = shard_files(store)[0].stat().st_size
        with monkeypatch.context() as patch:
            break_at(patch, n, error)
            try:
                compact(folder_of(store), PART, large_bytes=4 * size, grace_hours=0)
            except (OSError, Killed):
                broken = True
            else:
                broken = False
        assert_rows(EmbeddingStore(store.root), range(24))
        compact(folder_of(store), PART, large_bytes=4 * size, grace_hours=0)
        assert_rows(EmbeddingStore(store.root), range(24))
        entries = ManifestReader(folder_of(store), verify=True).read().entries
        assert sum(entry.n_rows for entry in entries.values()) == 24
        if not broken:
            break
    assert n >= 4


def test_a_reader_reads_on_while_the_store_is_compacted_and_written(store):
    fill(store, range(60), max_rows=2)
    script = """
store = EmbeddingStore(sys.argv[1])
print("ready", flush=True)
for n in range(60):
    assert_rows(store if n % 2 else EmbeddingStore(sys.argv[1]), range(60))
"""
    reader = child(script, store.root)
    assert reader.stdout.readline() == "ready\n"
    for n in range(60, 90, 2):
        fill(store, range(n, n + 2), max_rows=1)
        compact(folder_of(store), PART, grace_hours=0)
        if reader.poll() is not None:
            break
    reader.communicate()
    assert reader.returncode == 0
    assert_rows(store, range(n + 2))


# ── what nobody uses, and what it takes ───────────────────────────────────────────────────────


def unused_for(folder: Path, days: float) -> None:
    """Let a part have been written, and last read, some days ago."""
    then = datetime.now(timezone.utc) - timedelta(days=days)
    (folder / "used").write_text(then.isoformat())
    for path in (folder / "manifest").iterdir():
        path.unlink()
    for path in folder.glob("*.arrow"):
        os.utime(path, (then.timestamp(), then.timestamp()))


def test_collecting_removes_what_was_neither_read_nor_written_for_so_long(store):
    fill(store, range(3))
    fill_frames(store, range(3))
    frames, vectors = store.parts()
    for stored in (frames, vectors):
        unused_for(stored.folder, 20)
    assert store.collect(21) == []
    EmbeddingStore(store.root).missing(PART, [key(0)])
    assert [stored.part for stored in store.collect(19)] == [FRAMES]
    assert_rows(store, range(3))
    assert [stored.folder for stored in store.parts()] == [vectors.folder]


def test_use_is_noted_once_a_day(store):
    fill(store, range(3))
    note = folder_of(store) / "used"
    store.missing(PART, [key(0)])
    written = note.stat().st_ino
    store.read(PART, [key(0)])
    assert note.stat().st_ino == written
    assert abs(datetime.fromisoformat(note.read_text()) - datetime.now(timezone.utc)) < timedelta(minutes=5)


def test_the_command_verifies_compacts_and_tells_sizes(store, capsys):
    fill(store, range(40), max_rows=10)
    flags = ["--store", str(store.root)]
    assert ser_transfer.tidy.main(["--verify", "--compact", "--grace-hours", "0", *flags]) == 0
    said = capsys.readouterr().out
    assert "4 shards are sound" in said
    assert "4 shards became 1; 4 files merged before were removed" in said
    flip(shard_files(store)[0], 0.9)
    assert ser_transfer.tidy.main(["--verify", *flags]) == 1
    said = capsys.readouterr().out
    assert (
        f"damaged, and set aside: {shard_files(store)[0] if shard_files(store) else folder_of(store)}" in said
    )
    assert "40 embeddings are to be computed again" in said
    fill(store, range(3))
    assert ser_transfer.tidy.main(flags) == 0
    header, _, row, total = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["encoder", "pooling", "precision", "rows", "shards"]
    assert row.split()[:6] == ["lab/tiny-encoder", "abababababab", "mean", "float32", "3", "1"]
    assert "MB free on its disk" in total
    assert ser_transfer.tidy.main(["--collect", "30", *flags]) == 0
    assert "was used within 30 days" in capsys.readouterr().out
    assert ser_transfer.tidy.main(["--collect", "-1", *flags]) == 1


# ── kept in half the bytes, and fewer layers ──────────────────────────────────────────────────


@pytest.mark.parametrize("kept", ["float16", "bf16"])
def test_what_is_kept_in_half_the_bytes_is_rounded_as_torch_rounds(store, kept):
    torch = pytest.importorskip("torch")
    part = replace(PART, kept=kept)
    fill(store, range(40), part=part, max_rows=7)
    dtype = {"float16": torch.float16, "bf16": torch.bfloat16}[kept]
    layers = EmbeddingStore(store.root).read(part, [key(i) for i in range(40)])
    for n, layer in enumerate(layers.values()):
        expected = torch.tensor(np.array([embedding(i)[n] for i in range(40)])).to(dtype).to(torch.float32)
        assert layer.dtype == np.float32
        np.testing.assert_array_equal(layer, expected.numpy())
    compact(folder_of(store), part)
    again = EmbeddingStore(store.root).read(part, [key(i) for i in range(40)])
    np.testing.assert_array_equal(again["layer_1"], layers["layer_1"])
    assert verify(folder_of(store)).is_sound


def test_the_cosine_cost_is_that_of_the_vectors_in_double_precision():
    vectors = np.random.default_rng(0).standard_normal((20, 300)).astype(np.float32)
    vectors[3] = 0.0
    for kept, largest in (("float16", 1e-7), ("bf16", 1e-5)):
        full, half = vectors.astype(np.longdouble), restored(halved(vectors, kept)).astype(np.longdouble)
        norms = np.sqrt((full**2).sum(1) * (half**2).sum(1))
        expected = 1 - (full * half).sum(1) / np.where(norms, norms, 1)
        expected[3] = 0
        costs = cosine_costs(vectors, kept)
        np.testing.assert_allclose(costs, expected.astype(float), rtol=1e-3, atol=1e-17)
        assert 0 < costs.max() < largest


def test_what_float16_cannot_hold_is_refused_and_bf16_holds_it(store):
    row = [np.full(3, 65_520.0), np.zeros(5)]
    with (
        pytest.raises(StoreError, match=r"layer_0 .* reaches 65520 for 0+, beyond float16: .*--keep bf16"),
        store.writer(replace(PART, kept="float16")) as writer,
    ):
        writer.add(key(0), row)
    with store.writer(replace(PART, kept="bf16")) as writer:
        writer.add(key(0), row)
    assert len(store.keys(replace(PART, kept="bf16"))) == 1


@pytest.mark.parametrize("change", [{"kept": "float64"}, {"kept": "float16", "pooling": "frames"}])
def test_nothing_is_kept_otherwise(change):
    with pytest.raises(StoreError, match=r"a part wants|are kept in float32, or in float16 or bf16"):
        replace(PART, **change)


def test_kept_apart_and_read_with_a_warning_where_the_full_ones_are_not_there(store, caplog):
    half = replace(PART, kept="float16")
    one = replace(PART, layer_names=("layer_1",), dims=(5,))
    fill(store, range(3), part=half)
    write(store, [(key(i), embedding(i)[1:]) for i in range(6)], one)
    assert store.missing(PART, [key(0)]) == [key(0)]
    names, keys = list("abc"), [key(i) for i in range(3)]
    found = store.embeddings(PART, names, keys)
    assert list(found.layers) == ["layer_0", "layer_1"]
    assert "read as they were kept: 2 of 2 layers, in float16" in caplog.text
    found = store.embeddings(PART, ["a", "b"], [key(4), key(5)])
    np.testing.assert_array_equal(found.layers["layer_1"], [embedding(4)[1], embedding(5)[1]])
    assert "read as they were kept: 1 of 2 layers, in float32" in caplog.text
    with pytest.raises(StoreError, match="1 of 1 embeddings"):
        store.embeddings(PART, ["a"], [key(4)], layers=["layer_0"])
    with pytest.raises(StoreError, match="1 of 1 embeddings"):
        store.embeddings(half, ["a"], [key(4)])
    caplog.clear()
    fill(store, range(3))
    np.testing.assert_array_equal(store.embeddings(PART, names, keys).layers["layer_0"][2], embedding(2)[0])
    assert caplog.text == ""


def test_the_embed_command_keeps_what_it_is_told_and_says_what_it_costs(tones, store, capsys):
    import ser_transfer.embed

    flags = ["--corpus", "folder", "--root", str(tones), "--speaker-pattern", r"(?P<speaker>p\d+)"]
    flags += ["--encoder", "mfcc", "--store", str(store.root), "--keep", "float16", "--layers"]
    assert ser_transfer.embed.main([*flags, "mfcc"]) == 0
    said = capsys.readouterr().out
    assert "kept in float16, at a cosine to float32 of no less than 1 - " in said
    [stored] = store.parts()
    assert (stored.part.kept, stored.part.layer_names, stored.n_rows) == ("float16", ("mfcc",), 24)
    assert ser_transfer.embed.main([*flags, "layer_99"]) == 1
    assert "has no layer 'layer_99' to keep; its layers are mfcc" in capsys.readouterr().err
