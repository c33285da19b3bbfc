"""A Ray cluster of two nodes fills a store, and one node is killed half way: is every row there, once?

    python benchmarks/ray_node_killed.py --root ../shared/corpora/ravdess \
        --weights ../shared/weights/yamnet/yamnet.safetensors

Both nodes run on this machine (`ray.cluster_utils.Cluster`), each with one actor of one CPU; the first, which
leads, stays. The rows of all shards are counted, and compared bit by bit with those that the local engine
computes into a store of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from ser_transfer import load_corpus
from ser_transfer.clusters import Cluster, ClusterEncoder, PoolSize
from ser_transfer.encoders import load_encoder
from ser_transfer.fill import fill_store, keys_by_id, part_of
from ser_transfer.store import EmbeddingStore
from ser_transfer.store.shards import SUFFIX, read_keys

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=SHARED / "corpora/ravdess", help="folder of RAVDESS")
    parser.add_argument(
        "--weights", type=Path, default=SHARED / "weights/yamnet/yamnet.safetensors", help="of YAMNet"
    )
    parser.add_argument("--share", type=float, default=0.5, help="of the rows, at which the node is killed")
    arguments = parser.parse_args()
    from ray.cluster_utils import Cluster as Nodes

    corpus = load_corpus("ravdess", arguments.root)
    loading = partial(load_encoder, "yamnet", weights=arguments.weights.absolute())
    encoder = loading(device="cpu")
    part = part_of(encoder)
    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    nodes = Nodes(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = nodes.add_node(**node)
    told: dict[str, float] = {}
    n_done = 0

    def on_recording(n_missing: int, seconds: float) -> None:
        nonlocal n_done
        n_done += 1
        if n_done >= arguments.share * n_missing and not told:
            told["rows"], told["seconds"] = n_done, time.perf_counter() - begun
            killing = threading.Thread(target=nodes.remove_node, args=(second, False))
            killing.start()

    with tempfile.TemporaryDirectory() as folder:
        store, alone = EmbeddingStore(Path(folder) / "ray"), EmbeddingStore(Path(folder) / "local")
        begun = time.perf_counter()
        with Cluster(nodes.address, PoolSize(n_actors=2)) as cluster:
            encode = ClusterEncoder(cluster, loading)
            report = fill_store(corpus, encoder, store, part, encode=encode.encode, on_recording=on_recording)
            n_left = len(cluster.machines())
        nodes.shutdown()
        print(report.summary("yamnet", "the store"))
        fill_store(corpus, encoder, alone, part)
        rows = Counter(
            key.as_py() for path in store.root.rglob(f"*{SUFFIX}") for key in read_keys(path, verify=True)
        )
        keys = list(keys_by_id(corpus).values())
        found, expected = store.read(part, keys), alone.read(part, keys)
        equal = np.ones(len(keys), bool)
        for name, layer in expected.items():
            equal &= (found[name] == layer).all(axis=1)
    print(
        f"a node was killed after {told['rows']:.0f} rows, {told['seconds']:.1f} s; {n_left} of 2 were left"
    )
    print(f"batches that were given out again: {encode.n_again}")
    print(f"rows: {len(keys)} recordings, {len(set(keys))} of different content, {rows.total()} in shards")
    print(f"rows that are there exactly once: {sum(rows[key] == 1 for key in set(keys))}")
    print(f"rows equal to the local engine's, bit by bit: {int(equal.sum())}")


if __name__ == "__main__":
    main()
