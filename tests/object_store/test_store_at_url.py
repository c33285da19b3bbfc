"""A store at a URL keeps what a store on a disk keeps, whatever happens on the way."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from object_store.server import DROP_DOWNLOAD, DROP_UPLOAD, SLOW_DOWN, STORE_SHORT
from test_store import PART, assert_rows, embedding, fill, key, write

import ser_transfer.embed
import ser_transfer.tidy
from ser_transfer.places import place
from ser_transfer.store import EmbeddingStore, StoreError, compact, disk, fetched, files, objects, verify

SHARD, INDEX = r"\.arrow$", r"\.index$"


@pytest.fixture
def url(s3) -> str:
    return f"{s3.url}/store"


@pytest.fixture
def store(url) -> EmbeddingStore:
    return EmbeddingStore(url)


@pytest.mark.parametrize("name", [name for name, call in vars(files).items() if hasattr(call, "__wrapped__")])
def test_each_call_of_a_disk_is_one_of_an_object_store(name):
    assert inspect.signature(getattr(objects, name)).replace(return_annotation=None) == inspect.signature(
        getattr(disk, name)
    ).replace(return_annotation=None)


def anew(store: EmbeddingStore) -> EmbeddingStore:
    """The same store, as another process on another machine opens it: with no copy of anything."""
    for copy in fetched.copies_folder().glob("*"):
        fetched.forget(copy)
    return EmbeddingStore(str(store.root))


def folder(store: EmbeddingStore):
    return store.root / PART.folder_name


def shards(s3) -> list[str]:
    return [name for name in s3.keys if name.endswith(".arrow")]


def flipped(content: bytes) -> bytes:
    at = len(content) - 64  # in the numbers of the last rows, which any value may stand in
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


# ── rows ──────────────────────────────────────────────────────────────────────────────────────


def test_rows_come_back_bit_for_bit_from_s3(s3, store):
    fill(store, range(50), max_rows=7)
    assert_rows(anew(store), [41, 3, 3, 0, 49])
    assert sorted(anew(store).keys(PART)) == [key(i) for i in range(50)]
    assert anew(store).missing(PART, [key(60), key(3)]) == [key(60)]


def test_the_objects_are_the_files_of_a_store_on_a_disk(s3, store, tmp_path):
    local = EmbeddingStore(tmp_path / "local")
    for each in (store, local):
        fill(each, range(20), max_rows=6)
    names = {path.name for path in local.root.rglob("*.arrow")}
    assert {Path(name).name for name in shards(s3)} == names
    for name in shards(s3):
        assert s3.content(name) == (local.root / PART.folder_name / Path(name).name).read_bytes()


def test_rows_come_back_from_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_TRANSFER_CACHE", str(tmp_path / "cache"))
    store = EmbeddingStore("memory://test_rows_come_back_from_memory/store")
    fill(store, range(30), max_rows=7)
    assert_rows(anew(store), [29, 0])
    assert compact(folder(store), PART, grace_hours=0).n_after == 1
    assert_rows(anew(store), range(30))
    assert [stored.n_rows for stored in store.clear("lab/tiny-encoder")] == [30]
    assert anew(store).parts() == []


def test_opening_costs_few_requests_and_lists_no_shard(s3, store):
    fill(store, range(200), max_rows=5)
    before = len(shards(s3))
    assert before == 40
    opened = anew(store)
    s3.forget()
    [part] = opened.parts()
    assert (part.n_rows, part.n_shards) == (200, 40)
    assert opened.missing(PART, [key(i) for i in range(200)]) == []
    for listing in s3.listings:
        assert "/manifest/" in listing.query or "prefix=store/&" in listing.query
    assert s3.n_requests(key=SHARD) == 0
    assert len(s3.requests) <= 20


def test_a_shard_is_fetched_once_whoever_reads_it(s3, store, url):
    fill(store, range(50), max_rows=10)
    reader = anew(store)
    s3.forget()
    assert_rows(reader, range(50))
    assert_rows(EmbeddingStore(url), range(50))
    assert s3.n_requests(method="GET", key=SHARD) == 5


def test_what_another_has_just_written_is_seen(s3, store, url):
    fill(store, range(5))
    reader = EmbeddingStore(url)
    assert reader.missing(PART, [key(7)]) == [key(7)]
    fill(anew(store), range(5, 9))
    assert reader.missing(PART, [key(7)]) == []
    assert_rows(reader, range(9))


def test_a_forked_process_reads_what_its_parent_has_opened(s3, store):
    import multiprocessing

    fill(store, range(5))
    reader = anew(store)
    assert reader.missing(PART, [key(0)]) == []
    forked = multiprocessing.get_context("fork").Process(target=assert_rows, args=(reader, range(5)))
    forked.start()
    forked.join(60)
    assert forked.exitcode == 0


def test_two_writers_at_once_lose_nothing(s3, store, url):
    fill(store, range(2))
    assert store.missing(PART, [key(45)]) == [key(45)]
    begin = time.time() + 3
    code = """
import sys, time
from test_store import *
url, first, begin = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
while time.time() < begin: pass
fill(EmbeddingStore(url), range(first, first + 40), max_rows=4)
"""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, str(first), str(begin)], env={**os.environ, "PYTHONPATH": paths}
        )
        for first in (0, 20)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert_rows(store, range(60))
    assert sorted(store.keys(PART)) == [key(i) for i in range(60)]


# ── faults ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("what", [500, SLOW_DOWN, DROP_UPLOAD, STORE_SHORT, 0.1])
def test_puts_that_fail_once_cost_nothing(s3, store, what):
    troubles = [s3.trouble(what, method="PUT", key=where) for where in (SHARD, INDEX, "part.json")]
    fill(store, range(20), max_rows=5)
    assert [trouble.n_met for trouble in troubles] == [1, 1, 1]
    s3.calm()
    assert_rows(anew(store), range(20))
    assert verify(folder(store)).is_sound


@pytest.mark.parametrize("what", [500, SLOW_DOWN, DROP_DOWNLOAD])
def test_gets_that_fail_once_cost_nothing(s3, store, what):
    fill(store, range(20), max_rows=5)
    reader = anew(store)
    troubles = [s3.trouble(what, method="GET", key=where) for where in (SHARD, INDEX, "part.json")]
    assert_rows(reader, range(20))
    assert [trouble.n_met for trouble in troubles] == [1, 1, 1]


@pytest.mark.parametrize(
    ("what", "where"),
    [
        (500, SHARD),
        (SLOW_DOWN, INDEX),
        (DROP_UPLOAD, INDEX),
        (STORE_SHORT, SHARD),
        (STORE_SHORT, INDEX),
        (403, SHARD),
    ],
)
def test_puts_that_go_on_failing_end_in_one_line_and_the_same_command_goes_on(s3, store, what, where):
    fill(store, range(8), max_rows=4)
    trouble = s3.trouble(what, method="PUT", key=where, times=float("inf"))
    with pytest.raises(StoreError) as found:
        fill(store, range(8, 16), max_rows=4)
    assert trouble.n_met >= 1
    assert "\n" not in str(found.value)
    assert str(store.root) in str(found.value)
    assert "same command" in str(found.value)
    s3.calm()
    again = anew(store)
    assert_rows(again, range(8))
    lacking = again.missing(PART, [key(i) for i in range(16)])
    write(again, ((name, embedding(int(name, 16))) for name in lacking))
    assert_rows(anew(store), range(16))
    assert verify(folder(store)).is_sound


@pytest.mark.parametrize("what", [500, DROP_DOWNLOAD, 403])
def test_gets_that_go_on_failing_end_in_one_line_and_cost_no_row(s3, store, what):
    fill(store, range(8), max_rows=4)
    reader = anew(store)
    s3.trouble(what, method="GET", key=SHARD, times=float("inf"))
    with pytest.raises(StoreError, match="cannot be read") as found:
        reader.read(PART, [key(i) for i in range(8)])
    assert "\n" not in str(found.value)
    s3.calm()
    assert_rows(anew(store), range(8))
    assert anew(store).missing(PART, [key(i) for i in range(8)]) == []


def test_a_bucket_that_is_not_there_is_named(s3):
    store = EmbeddingStore(f"s3://{s3.bucket}-x/store")
    for act in (store.parts, lambda: fill(store, range(2)), lambda: store.missing(PART, [key(0)])):
        with pytest.raises(StoreError, match="there is no such bucket"):
            act()


def test_missing_credentials_are_told_in_a_line(s3, monkeypatch, capsys, request):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3.reconnect()
    request.addfinalizer(s3.reconnect)
    assert ser_transfer.embed.main(["--list", "--store", f"{s3.url}/store"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "credentials" in error
    assert error.count("\n") == 1


def test_a_server_that_is_gone_is_told_in_a_line(s3, monkeypatch, capsys, request):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3.reconnect()
    request.addfinalizer(s3.reconnect)
    assert ser_transfer.embed.main(["--list", "--store", f"{s3.url}/store"]) == 1
    error = capsys.readouterr().err
    assert "check the address and the network" in error
    assert error.count("\n") == 1


def test_a_store_that_may_only_be_read_is_read(s3, store):
    fill(store, range(8), max_rows=4)
    reader = anew(store)
    s3.trouble(403, method="PUT|POST|DELETE", times=float("inf"))
    assert_rows(reader, range(8))


# ── damage ────────────────────────────────────────────────────────────────────────────────────


def test_a_flipped_bit_is_found_by_verify_named_and_computed_again(s3, store, url, capsys):
    fill(store, range(12), max_rows=4)
    bad = shards(s3)[1]
    s3.damage(bad, flipped)
    assert ser_transfer.tidy.main(["--verify", "--store", url]) == 1
    assert Path(bad).name in capsys.readouterr().out
    again = anew(store)
    lacking = again.missing(PART, [key(i) for i in range(12)])
    assert len(lacking) == 4
    write(again, ((name, embedding(int(name, 16))) for name in lacking))
    assert_rows(anew(store), range(12))
    assert ser_transfer.tidy.main(["--verify", "--store", url]) == 0


@pytest.mark.parametrize("what", ["flipped", "flipped, and the store knows", "removed"])
def test_a_damaged_or_lost_shard_is_never_read_and_counts_as_missing(s3, store, what, caplog):
    fill(store, range(12), max_rows=4)
    bad = shards(s3)[1]
    s3.remove(bad) if what == "removed" else s3.damage(bad, flipped, knows_checksum="knows" in what)
    with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match="4 of 12 embeddings"):
        anew(store).read(PART, [key(i) for i in range(12)])
    assert Path(bad).name in caplog.text
    again = anew(store)
    lacking = again.missing(PART, [key(i) for i in range(12)])
    assert len(lacking) == 4
    write(again, ((name, embedding(int(name, 16))) for name in lacking))
    assert_rows(anew(store), range(12))


def test_a_damaged_index_loses_no_row(s3, store):
    fill(store, range(12), max_rows=4)
    for name in s3.keys:
        if name.endswith(".index"):
            s3.damage(name, flipped)
    assert_rows(anew(store), range(12))


def test_a_damaged_copy_is_found_and_fetched_again(s3, store):
    fill(store, range(12), max_rows=4)
    for copy in list(fetched.copies_folder().glob("*")):
        fetched._sound.discard(copy)  # as in a process that has not looked at it
        copy.write_bytes(flipped(copy.read_bytes()))
    s3.forget()
    assert_rows(EmbeddingStore(str(store.root)), range(12))
    assert s3.n_requests(method="GET", key=SHARD) == 3
    assert verify(folder(store)).is_sound


def test_the_copies_used_longest_ago_go_when_they_take_too_much(s3, store, monkeypatch):
    fill(store, range(40), max_rows=4)
    copies = sorted(fetched.copies_folder().glob("*.arrow"))
    size = copies[0].stat().st_size
    for age, copy in enumerate(copies):
        os.utime(copy, (1e9 - age, 1e9 - age))  # the last are the oldest
    in_all = sum(path.stat().st_size for path in fetched.copies_folder().glob("*.*"))
    monkeypatch.setenv("SER_TRANSFER_CACHE_GB", str((in_all - size) / 1e9))
    fill(store, range(40, 44))  # one more comes, which looks
    assert not copies[-1].exists()
    assert copies[0].exists()
    assert_rows(store, range(44))


# ── looking after it ──────────────────────────────────────────────────────────────────────────


def test_compaction_while_others_read_loses_nothing(s3, store):
    fill(store, range(60), max_rows=4)
    reader = anew(store)
    assert_rows(reader, range(10))
    done = compact(folder(store), PART, grace_hours=0)
    assert (done.n_before, done.n_after, done.n_removed) == (15, 1, 15)
    assert len(shards(s3)) == 1
    assert_rows(reader, range(60))
    assert_rows(anew(store), range(60))


def test_clearing_removes_every_object_and_no_other(s3, store):
    other = replace(PART, encoder="lab/other", fingerprint="cd" * 32)
    fill(store, range(8), max_rows=4)
    fill(store, range(8), part=other, max_rows=4)
    s3.put("store/notes/mine.txt", b"not ours")
    before = {name for name in s3.keys if PART.folder_name not in name}
    assert [stored.n_rows for stored in store.clear("lab/tiny-encoder")] == [8]
    assert set(s3.keys) == before
    assert store.missing(PART, [key(0)]) == [key(0)]


def test_a_clearing_that_breaks_off_leaves_no_half_part_and_the_next_ends_it(s3, store):
    fill(store, range(12), max_rows=4)
    s3.trouble(403, method="POST", nth=2, times=float("inf"))  # part.json goes, and nothing else
    with pytest.raises(StoreError, match="access is refused"):
        store.clear("lab/tiny-encoder")
    assert anew(store).parts() == []
    assert anew(store).missing(PART, [key(0)]) == [key(0)]
    assert len(shards(s3)) == 3
    s3.calm()
    with pytest.raises(StoreError, match="nothing in"):
        anew(store).clear("lab/tiny-encoder")
    assert s3.keys == []


def test_a_part_that_is_cleared_under_its_writer_is_told(s3, store):
    def rows():
        yield key(0), embedding(0)
        EmbeddingStore(str(store.root)).clear("lab/tiny-encoder")

    with pytest.raises(StoreError, match="removed while it was in use: run the same command again"):
        write(store, rows())
    fill(store, range(3))
    assert_rows(anew(store), range(3))


def test_tidy_and_list_tell_of_a_store_at_a_url(s3, store, url, capsys):
    fill(store, range(12), max_rows=4)
    assert ser_transfer.tidy.main(["--sizes", "--store", url]) == 0
    assert f"MB in {url}" in capsys.readouterr().out
    assert ser_transfer.embed.main(["--list", "--store", url]) == 0
    assert "lab/tiny-encoder" in capsys.readouterr().out
    assert ser_transfer.tidy.main(["--collect", "1", "--store", url]) == 0
    assert "was used within 1 days" in capsys.readouterr().out


def test_nothing_on_the_object_store_has_a_temporary_name(s3, store):
    fill(store, range(12), max_rows=4)
    compact(folder(store), PART, grace_hours=0)
    put = {request.key for request in s3.requests if request.method == "PUT"}
    assert put
    assert all(not Path(name).name.startswith(".") and ".tmp" not in name for name in put)
    assert place(str(store.root)) == store.root
