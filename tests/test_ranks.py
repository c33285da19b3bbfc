"""Several processes on one corpus: each recording once, in shares of equal length, and the dead are named."""

import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from torch.distributed import HashStore

from ser_transfer import load_corpus, load_encoder
from ser_transfer._ranks import SILENT_SECONDS, RankError, Ranks, shares
from ser_transfer.embed import embed
from ser_transfer.fill import keys_by_id, part_of
from ser_transfer.store import EmbeddingStore

SPEAKER = "(?P<speaker>p[0-9])_"


def test_shares_hold_each_item_once_and_are_about_equally_long():
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(1.0, 1.0, 1000).tolist()
    parts = shares(seconds, 7)
    assert sorted(item for part in parts for item in part) == list(range(1000))
    totals = [sum(seconds[item] for item in part) for part in parts]
    assert max(totals) - min(totals) < max(seconds)
    assert max(totals) < 1.01 * sum(seconds) / 7


def test_a_share_by_hand():
    assert shares([3.0, 1.0, 2.0, 2.0], 2) == [[0, 1], [2, 3]]
    assert shares([1.0], 3) == [[0], [], []]


def test_everyone_hears_what_everyone_told():
    store, heard = HashStore(), {}

    def speak(rank):
        ranks = Ranks(rank, 3, store)
        heard[rank] = [ranks.all_told({"from": rank, "about": about}) for about in ("this", "that")]

    threads = [threading.Thread(target=speak, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = [[{"from": rank, "about": about} for rank in range(3)] for about in ("this", "that")]
    assert heard == {0: expected, 1: expected, 2: expected}


def test_a_process_that_gives_no_sign_of_life_is_named():
    store, now = HashStore(), [0.0]
    first, second = Ranks(0, 2, store, clock=lambda: now[0]), Ranks(1, 2, store)
    second.beat()

    def later():
        now[0] += SILENT_SECONDS / 10
        if now[0] == pytest.approx(SILENT_SECONDS / 2):
            second.beat()

    with pytest.raises(RankError, match=r"process 1 of 2 .* no sign of life for 60 s: what it had finished"):
        first.all_told("here", on_look=later)
    assert now[0] == pytest.approx(1.6 * SILENT_SECONDS), "it was heard of once more, half way"


@pytest.fixture
def launched(tones, tmp_path):
    """Start `embed` on several processes; they share a store."""

    def start(*flags, n=2, encoder="seed180"):
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)),
            *("-m", "ser_transfer.embed", "--corpus", "folder", "--root", str(tones), "--encoder", encoder),
            *("--speaker-pattern", SPEAKER, "--store", str(tmp_path / "store"), "--baseline", "none", *flags),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_PROXY": "*"}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def rows(tmp_path, encoder="seed180"):
    [stored] = EmbeddingStore(tmp_path / "store").parts()
    return stored.n_rows


def test_two_processes_fill_the_store_as_one_does(launched, tones, tmp_path):
    corpus = load_corpus("folder", tones, speaker_pattern=SPEAKER)
    process = launched()
    printed, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    summaries = re.findall(r"^seed180: .*", printed, re.MULTILINE)
    assert len(summaries) == 1, "one summary for all"
    assert summaries[0].startswith("seed180: 24 recordings")
    assert rows(tmp_path) == 24
    assert len(list((tmp_path / "store").rglob("*.arrow"))) == 2, "each wrote a shard of its own"
    encoder = load_encoder("seed180")
    expected = embed(corpus, encoder, store=tmp_path / "alone", n_workers=1)
    ids = list(corpus["utterance_id"])
    keys = keys_by_id(corpus)
    found = EmbeddingStore(tmp_path / "store").embeddings(part_of(encoder), ids, [keys[id_] for id_ in ids])
    for name, layer in expected.layers.items():
        np.testing.assert_array_equal(found.layers[name], layer)
    again = launched()
    printed, complaints = again.communicate(timeout=300)
    assert again.returncode == 0, complaints
    assert "all 24 utterances were in" in printed


def test_recordings_that_cannot_be_used_are_listed_once_whoever_met_them(launched, tones, tmp_path):
    for number in range(3):
        (tones / "anger" / f"p1_bad{number}.wav").write_bytes(b"RIFF no sound" + bytes([number]))
    process = launched("--skip-bad")
    printed, complaints = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "24 recordings" in printed
    assert complaints.count("3 recordings could not be used") == 1
    listed = (tmp_path / "store" / "bad_files.tsv").read_text().splitlines()[1:]
    assert len(listed) == len(set(listed)) == 3


def test_after_a_process_was_killed_the_same_command_goes_on(launched, tones, tmp_path):
    process = launched()
    second = []
    while not second:
        assert process.poll() is None
        second = [child for child in psutil.Process(process.pid).children() if rank_of(child) == "1"]
    second[0].send_signal(signal.SIGKILL)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "rank      : 1" in complaints, "the launcher names who died"
    again = launched()
    _, complaints = again.communicate(timeout=300)
    assert again.returncode == 0, complaints
    assert rows(tmp_path) == 24


def rank_of(process):
    """Tell which process of a launch it is; None where it is another, or gone."""
    try:
        return process.environ().get("RANK")
    except psutil.Error:
        return None
