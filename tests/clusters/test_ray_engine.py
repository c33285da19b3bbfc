"""On a Ray cluster: the same rows and bits as on one machine, each once, whichever nodes die meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from slow_crossings import BrokenCrossings, OtherCrossings, SlowCrossings, load
from zero_crossings import ZeroCrossings

import ser_transfer.embed
import ser_transfer.predict
from ser_transfer.clusters import Cluster, ClusterEncoder, ClusterError, PoolSize, batches
from ser_transfer.fill import fill_store, part_of
from ser_transfer.store import EmbeddingStore
from ser_transfer.store.shards import SUFFIX, read_keys

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ray"
)  # Python hides them, pytest does not
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
PATIENCE_SECONDS = 240


@pytest.fixture(autouse=True)
def _no_endless_wait():
    """A test that Ray leaves without an answer fails, and the suite goes on."""

    def give_up(number, frame):
        pytest.fail(f"Ray has not answered within {PATIENCE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes, each with one CPU, both on this machine."""
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        ours = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        patch.setenv("PYTHONPATH", os.pathsep.join([*ours, *sys.path]))
        found = Nodes(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        found.add_node(**NODE)
        yield found
        found.shutdown()


@pytest.fixture
def cluster(nodes):
    with Cluster(nodes.address, PoolSize(n_actors=2)) as joined:
        yield joined


def rows_in_shards(store):
    return Counter(
        key.as_py() for path in store.root.rglob(f"*{SUFFIX}") for key in read_keys(path, verify=True)
    )


def assert_same(found, expected):
    """Compare two stores row by row and bit by bit."""
    parts = {stored.part: stored for stored in expected.parts()}
    assert {stored.part for stored in found.parts()} == set(parts)
    for part in parts:
        keys = expected.keys(part)
        assert found.keys(part) == keys
        if part.holds_frames:
            pairs = zip(
                found.frames(part, keys, keys).sequences,
                expected.frames(part, keys, keys).sequences,
                strict=True,
            )
            for one, other in pairs:
                np.testing.assert_array_equal(one, other)
        else:
            layers = found.read(part, keys)
            for name, layer in expected.read(part, keys).items():
                np.testing.assert_array_equal(layers[name], layer)


def test_the_command_leaves_what_the_local_engine_leaves(nodes, tones, tmp_path, capfd):
    from encoders.tiny_checkpoints import save_checkpoint

    checkpoint = save_checkpoint("wav2vec2-base", tmp_path / "tiny")
    (tones / "anger" / "p1_bad.wav").write_bytes(b"RIFF no sound")
    capfd.readouterr()

    def embedded(store, *flags):
        code = ser_transfer.embed.main(
            [
                *("--corpus", "folder", "--root", str(tones), "--encoder", str(checkpoint)),
                *("--speaker-pattern", "(?P<speaker>p[0-9])_", "--store", str(store), "--baseline", "none"),
                *("--frames", "layer_01", "--keep", "float16", "--layers", "layer_02,layer_03"),
                *("--skip-bad", *flags),
            ]
        )
        return code, capfd.readouterr()

    local = embedded(tmp_path / "local")
    ray = ("--engine", "ray", "--address", nodes.address)
    spread = embedded(tmp_path / "ray", *ray)
    assert spread[0] == local[0] == 1
    assert_same(EmbeddingStore(tmp_path / "ray"), EmbeddingStore(tmp_path / "local"))
    assert max(rows_in_shards(EmbeddingStore(tmp_path / "ray")).values()) == 2, "in two parts"
    listed = [(tmp_path / name / "bad_files.tsv").read_text() for name in ("ray", "local")]
    assert listed[0] == listed[1]
    assert spread[1].err.replace("/ray/", "/local/") == local[1].err, "Ray says nothing"
    told = [line.partition(" in ")[0] for line in spread[1].out.splitlines()]
    assert told == [line.partition(" in ")[0] for line in local[1].out.splitlines()]
    assert "24 recordings (0:00:07 of audio)" in told[0]
    assert "kept in float16" in spread[1].out
    again = embedded(tmp_path / "ray", *ray)
    assert "all 24 utterances were in" in again[1].out
    assert again[0] == 1, "the bad file is still there"


def with_audio_inside(corpus):
    audio = [row["audio"] for row in corpus]
    paths = [each["path"] if isinstance(each, dict) else each for each in audio]
    inside = [{"bytes": Path(path).read_bytes(), "path": None} for path in paths]
    return corpus.remove_columns("audio").add_column("audio", inside)


def test_a_node_that_is_killed_costs_no_row_and_doubles_none(nodes, corpus, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(batches, "MIN_ROWS", 2)
    third = nodes.add_node(**NODE, resources={})
    part = part_of(SlowCrossings())
    found, expected = EmbeddingStore(tmp_path / "ray"), EmbeddingStore(tmp_path / "local")
    inside = with_audio_inside(corpus)
    n_done, at_the_kill, killings = 0, [], []

    def on_recording(n_missing, seconds):
        nonlocal n_done
        n_done += 1
        if n_done == 6:
            at_the_kill.append(rows_in_shards(found).total())
            killings.append(threading.Thread(target=nodes.remove_node, args=(third, False)))
            killings[0].start()

    capfd.readouterr()  # what comes from here on is this test's
    with Cluster(nodes.address, PoolSize(n_actors=3)) as cluster:
        spread = ClusterEncoder(cluster, partial(load, SlowCrossings))
        with pytest.warns(UserWarning, match="lost with a machine"):
            report = fill_store(
                inside, SlowCrossings(), found, part, encode=spread.encode, on_recording=on_recording
            )
        killings[0].join()
        deadline = time.monotonic() + 60  # Ray tells later that it is gone
        while len(cluster.machines()) > 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(cluster.machines()) == 2
    assert 6 <= at_the_kill[0] < 24, "half way"
    assert spread.n_again >= 1, "it had work"
    assert report.n_encoded == n_done == 24
    assert capfd.readouterr() == ("", ""), "Ray would print sixty lines"
    assert report.audio_seconds == pytest.approx(
        fill_store(corpus, ZeroCrossings(), expected, part).audio_seconds
    )
    assert set(rows_in_shards(found).values()) == {1}
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            OtherCrossings,
            r"another encoder on a machine of the cluster \(111111111111, and here 000000000000\)",
        ),
        (BrokenCrossings, r"an actor on .* failed \(ZeroDivisionError: one mistake\)"),
    ],
)
def test_what_goes_wrong_in_an_actor_is_told_in_a_line(kind, message, cluster, corpus, tmp_path):
    encode = ClusterEncoder(cluster, partial(load, kind)).encode
    store = EmbeddingStore(tmp_path / "store")
    with pytest.raises(ClusterError, match=message) as raised:
        fill_store(corpus, ZeroCrossings(), store, part_of(ZeroCrossings()), encode=encode)
    assert "\n" not in str(raised.value)
    assert not rows_in_shards(store)


def test_an_actor_that_no_machine_has_room_for_is_refused_and_not_waited_for(nodes, corpus, tmp_path):
    with Cluster(nodes.address, PoolSize(cpus=64)) as cluster:
        encode = ClusterEncoder(cluster, partial(load, ZeroCrossings)).encode
        with pytest.raises(ClusterError, match=r"64 CPUs that one actor is to have: the most are 1 CPUs"):
            fill_store(
                corpus, ZeroCrossings(), EmbeddingStore(tmp_path), part_of(ZeroCrossings()), encode=encode
            )


def test_predictions_are_those_of_the_local_engine(nodes, tones, tmp_path, capfd):
    (tones / "anger" / "broken.wav").write_bytes(b"RIFF")

    def predicted(out, *flags):
        code = ser_transfer.predict.main(
            [str(tones), "--model", "emodb-mfcc", "--out", str(tmp_path / out), *flags]
        )
        return code, (tmp_path / out).read_bytes()

    local = predicted("local.csv")
    capfd.readouterr()
    ray = ("--engine", "ray", "--address", nodes.address)
    assert predicted("ray.csv", *ray) == local
    assert local[0] == 1
    said = capfd.readouterr().err
    assert "25 recordings: 24 done, 1 could not be used (truncated 1)" in said
    assert len(said.splitlines()) == 3, "the model, the bad file, the summary, and nothing of Ray's"
    answered = [line for line in (tmp_path / "ray.csv.journal").read_text().splitlines() if '"part"' in line]
    assert len(answered) == 25


def test_ray_that_is_started_here_fills_a_store_at_a_url_and_is_stopped(tones, s3, tmp_path):
    asked = ["--corpus", "folder", "--root", str(tones), "--speaker-pattern", "(?P<speaker>p[0-9])_"]
    asked += ["--encoder", "mfcc"]
    assert ser_transfer.embed.main([*asked, "--store", str(tmp_path / "store")]) == 0
    command = [sys.executable, "-m", "ser_transfer.embed", *asked, "--store", f"{s3.url}/store"]
    environment = {**os.environ, "RAY_DEFAULT_OBJECT_STORE_MEMORY_MAX_BYTES": "80000000"}
    done = subprocess.run(
        [*command, "--engine", "ray", "--n-actors", "1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith("mfcc: 24 recordings")
    assert done.stdout.count("\n") == 1
    assert_same(EmbeddingStore(f"{s3.url}/store"), EmbeddingStore(tmp_path / "store"))
