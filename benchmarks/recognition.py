"""Recognition on real corpora, on speakers never heard: the table and the picture of the README.

    python benchmarks/recognition.py [--shared ../shared] [--store cache/embeddings]

Embeds RAVDESS (EmoBox's six folds) and EmoDB cut to 2 s (leave one speaker out) with YAMNet, with the same
architecture untrained, and with the handcrafted sets, trains heads on each, and prints UAR with its 95 %
interval over speakers. With --out it writes what it prints to a folder, as JSON and as the plots.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ser_transfer import embed, load_corpus, load_encoder, train
from ser_transfer.encoders import Encoder
from ser_transfer.plots import save_figure
from ser_transfer.runs import Run
from ser_transfer.runs.figures import figures
from ser_transfer.store import Embeddings
from ser_transfer.tables import text_table

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared"))
HEADS = ("logistic_regression", "rbf_svm")


@dataclass(frozen=True)
class Protocol:
    """A corpus, where it lies below the shared folder, and how it is split."""

    corpus: str
    folder: str
    split: str
    title: str


PROTOCOLS = {
    "ravdess": Protocol("ravdess", "corpora/ravdess", "emobox", "RAVDESS"),
    "emodb_2s": Protocol("emodb", "corpora/emodb_2s", "leave-one-speaker-out", "EmoDB cut to 2 s"),
}


def encoders(shared: Path) -> list[Encoder]:
    """What can be had without the Hub, the baseline last."""
    return [
        load_encoder("yamnet", weights=shared / "weights/yamnet/yamnet.safetensors"),
        load_encoder("handcrafted"),
        load_encoder("seed180"),
        load_encoder("yamnet", untrained=True),
        load_encoder("mfcc"),
    ]


def run_protocol(protocol: Protocol, head: str, shared: Path, store: str) -> Run:
    """Train and score one head on every encoder; `Run.joined` gives them one table."""
    corpus = load_corpus(protocol.corpus, shared / protocol.folder)
    embedded: list[Embeddings] = [embed(corpus, encoder, store=store) for encoder in encoders(shared)]
    runs: list[Run] = []
    for embeddings in embedded[:-1]:
        begun = time.perf_counter()
        runs.append(
            train(
                corpus,
                embeddings,
                baseline=None if runs else embedded[-1],
                split=protocol.split,
                head=head,
                title=protocol.title,
            )
        )
        print(
            f"{protocol.title}, {head}, {embeddings.encoder}: {time.perf_counter() - begun:.1f} s", flush=True
        )
    return Run.joined(runs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the real corpora and weights")
    parser.add_argument("--store", default="cache/embeddings", help="folder of the embedding store")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), help="heads to train")
    parser.add_argument("--out", type=Path, help="folder for the results as JSON, and the plots")
    arguments = parser.parse_args()

    results = {}
    for name, protocol in PROTOCOLS.items():
        for head in arguments.heads:
            run = run_protocol(protocol, head, arguments.shared, arguments.store)
            results[f"{name}, {head}"] = {
                row[0]: dict(zip(run.rows()[0][1:], row[1:], strict=True)) for row in run.rows()[1:]
            }
            print(f"\n{run.title}\n{head}\n{text_table(run.rows())}\n", flush=True)
            if arguments.out and head == arguments.heads[0]:
                for drawing in figures(run):
                    if drawing.name in ("leaderboard", "speakers"):
                        save_figure(drawing.figure, arguments.out / f"{name}_{drawing.name}.png")
    if arguments.out:
        text = json.dumps(results, indent=1, ensure_ascii=False)
        (arguments.out / "recognition.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
