"""What of the Ray engine needs no Ray: batches, what is refused, and what an actor does with an error."""

import builtins
import http.server
import socket
import sys
import threading
import warnings

import numpy as np
import pytest

import ser_transfer.embed
import ser_transfer.predict
from ser_transfer.clusters import Cluster, ClusterError, PoolSize
from ser_transfer.clusters.actor import Actor, Outcome
from ser_transfer.clusters.batches import MAX_ROWS, MAX_SECONDS, MIN_ROWS, batches_of
from ser_transfer.clusters.pool import MAX_ATTEMPTS, Pool
from ser_transfer.clusters.reaching import host_and_port


@pytest.mark.parametrize(("n_rows", "n_actors"), [(1, 1), (24, 2), (1440, 2), (5000, 8)])
def test_batches_hold_each_row_once_and_end_together(n_rows, n_actors):
    seconds = np.random.default_rng(0).lognormal(1.0, 0.5, n_rows).tolist()
    found = batches_of(seconds, n_actors)
    assert [row for batch in found for row in batch] == list(range(n_rows))
    assert max(map(len, found)) <= MAX_ROWS
    # Each to whoever is free first, as Ray does: nobody works much longer than a fair share.
    busy = [0.0] * n_actors
    for batch in found:
        busy[busy.index(min(busy))] += sum(seconds[row] for row in batch)
    assert max(busy) <= sum(seconds) / n_actors + MIN_ROWS * max(seconds)


def test_hours_are_batches_of_their_own_and_what_has_no_length_is_no_trouble():
    assert batches_of([MAX_SECONDS * 4] * 3, 2) == [range(1), range(1, 2), range(2, 3)]
    assert batches_of([0.0] * 3, 2) == [range(3)]
    assert batches_of([], 2) == []


def test_most_rows_lie_in_large_batches():
    found = batches_of([3.7] * 10_000, 4)
    assert sum(len(batch) for batch in found if len(batch) > 100) > 8000


def test_an_actor_tells_what_went_wrong_and_what_was_warned_of():
    pa = pytest.importorskip("pyarrow")
    cloudpickle = pytest.importorskip("ray.cloudpickle")

    def prepare():
        warnings.warn("ready", stacklevel=1)

        def work(content):
            warnings.warn(f"{len(content)} of them", stacklevel=1)
            return 10 // len(content)

        return work

    actor = Actor(cloudpickle.dumps(prepare), ".")
    table = pa.table({"batch": [0, 1], "content": [cloudpickle.dumps([1, 2]), cloudpickle.dumps([])]})
    first, second = (cloudpickle.loads(each.as_py()) for each in actor(table).column("outcome"))
    assert (first.batch, first.answer, first.failed, first.warnings) == (0, 5, None, ["ready", "2 of them"])
    assert (second.batch, second.answer, second.warnings) == (1, None, ["0 of them"])
    assert "ZeroDivisionError" in second.failed


def test_an_actor_that_cannot_be_prepared_says_so_for_each_batch():
    pa = pytest.importorskip("pyarrow")
    cloudpickle = pytest.importorskip("ray.cloudpickle")

    def prepare():
        raise ClusterError("no such weights")

    table = pa.table({"batch": [7], "content": [cloudpickle.dumps([])]})
    [outcome] = Actor(cloudpickle.dumps(prepare), ".")(table).column("outcome")
    assert cloudpickle.loads(outcome.as_py()).failed == "no such weights"


class Losing(Pool):
    """A pool whose machines die with some batches in their hands."""

    def __init__(self, lost):
        super().__init__(Cluster(size=PoolSize(n_actors=1)), lambda: len, gpus=0)
        self.lost, self.rounds = lost, []
        self._cluster.n_actors = lambda gpus: 1

    def _next_round(self, waiting, content):
        tables = {batch: content(batch) for batch in waiting}
        waiting.clear()
        return tables

    def _round(self, tables, n_actors):
        self.rounds.append(tables)
        lost = self.lost.pop(0) if self.lost else ()
        yield from (Outcome(batch, batch, None, 0.0) for batch in reversed(tables) if batch not in lost)


def test_batches_that_were_lost_are_given_out_again_and_each_is_answered_once():
    pool = Losing([{1, 3}, {3}])
    assert sorted(pool.answers(5, lambda batch: batch)) == [(batch, batch) for batch in range(5)]
    assert pool.rounds == [[0, 1, 2, 3, 4], [1, 3], [3]]
    assert pool.n_again == 3


def test_a_batch_that_ends_every_actor_is_given_up():
    with pytest.raises(ClusterError, match=f"1 batches have ended their actors {MAX_ATTEMPTS} times"):
        list(Losing([{2}] * (MAX_ATTEMPTS + 1)).answers(3, lambda batch: batch))


def test_an_address_is_taken_apart():
    assert host_and_port("10.0.0.1:6379") == ("10.0.0.1", 6379)
    assert host_and_port("[::1]:6379") == ("::1", 6379)
    assert host_and_port("auto") is None


def embedded(tones, tmp_path, *flags):
    return ser_transfer.embed.main(
        [
            *("--corpus", "folder", "--root", str(tones), "--speaker-pattern", "(?P<speaker>p[0-9])_"),
            *("--encoder", "mfcc", "--store", str(tmp_path / "store"), *flags),
        ]
    )


def test_an_address_where_nothing_answers_is_told_at_once(tones, tmp_path, capsys):
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    assert embedded(tones, tmp_path, "--engine", "ray", "--address", address) == 1
    assert capsys.readouterr().err.startswith(f"error: no Ray at {address} (Connection refused)")
    assert embedded(tones, tmp_path, "--engine", "ray", "--address", f"ray://{address}") == 1
    assert "is an address of Ray Client, under which Ray Data does not run" in capsys.readouterr().err


def test_a_server_that_is_not_ray_is_told_at_once(tones, tmp_path, capsys):
    pytest.importorskip("ray")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert embedded(tones, tmp_path, "--engine", "ray", "--address", f"127.0.0.1:{server.server_port}") == 1
    assert "something answers there that is not Ray" in capsys.readouterr().err
    server.shutdown()


def test_without_ray_it_is_said_how_to_get_it(tones, tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without_ray(name, *arguments, **options):
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert embedded(tones, tmp_path, "--engine", "ray") == 1
    assert capsys.readouterr().err == "error: --engine ray needs Ray: pip install 'ser-transfer[ray]'\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--n-actors", "2", "--address", "auto"], "--address, --n-actors says how a Ray cluster works"),
        (["--engine", "ray", "--n-workers", "2"], "--n-workers is for one machine"),
        (["--engine", "ray", "--device", "cuda:1"], "--device is for one machine"),
        (["--engine", "ray", "--n-actors", "0"], "give --n-actors 1 or more"),
        (["--engine", "ray", "--cpus-per-actor", "0"], "give --cpus-per-actor 1 or more"),
        (["--engine", "ray", "--gpus-per-actor", "1.5"], "cannot have 1.5 GPUs"),
    ],
)
def test_flags_that_do_not_go_with_the_engine_are_refused(flags, message, tones, tmp_path, capsys):
    assert embedded(tones, tmp_path, *flags) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "flags", [["--timeline", "--out", "lines"], ["--transcribe", "openai/whisper-tiny"], ["--n-workers", "2"]]
)
def test_what_predict_does_on_one_machine_alone_is_refused(flags, capsys):
    assert ser_transfer.predict.main(["a.wav", "--engine", "ray", *flags]) == 1
    assert f"{flags[0]} is for one machine" in capsys.readouterr().err
