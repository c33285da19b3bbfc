"""Recognition on real corpora, speaker-independent: the table of the README.

    python benchmarks/recognition.py [--shared ../shared] [--store cache/embeddings]

Embeds RAVDESS (six EmoBox folds) and EmoDB cut to 2 s (leave one speaker out) with YAMNet, with the
same architecture untrained, and with the handcrafted sets, trains a head on each, and prints UAR with
its 95 % interval over speakers. With --out it writes what it prints as JSON, too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from ser_transfer import embed, load_corpus, load_encoder, train
from ser_transfer.encoders import Encoder
from ser_transfer.tables import text_table

PROTOCOLS = {
    "ravdess": ("ravdess", "corpora/ravdess", "emobox"),
    "emodb_2s": ("emodb", "corpora/emodb_2s", "leave-one-speaker-out"),
}
HEADS = ("logistic_regression", "rbf_svm")
SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared"))


def encoders(shared: Path) -> dict[str, Encoder]:
    """The encoders that this machine can reach without the Hub."""
    return {
        "yamnet": load_encoder("yamnet", weights=shared / "weights/yamnet/yamnet.safetensors"),
        "yamnet, untrained": load_encoder("yamnet", untrained=True),
        "handcrafted": load_encoder("handcrafted"),
        "seed180": load_encoder("seed180"),
        "mfcc": load_encoder("mfcc"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the real corpora and weights")
    parser.add_argument("--store", default="cache/embeddings", help="folder of the embedding store")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), help="heads to train")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    results = []
    for protocol, (name, folder, split) in PROTOCOLS.items():
        corpus = load_corpus(name, arguments.shared / folder)
        for label, encoder in encoders(arguments.shared).items():
            embeddings = embed(corpus, encoder, store=arguments.store)
            for head in arguments.heads:
                begun = time.perf_counter()
                system = train(corpus, embeddings, split=split, head=head, name=name).systems[0]
                low, high = (system.scores.intervals or {})["uar"]
                results.append(
                    {
                        "protocol": f"{protocol}, {split}",
                        "encoder": label,
                        "dims": sum(layer.shape[1] for layer in embeddings.layers.values()),
                        "head": head,
                        "uar": round(system.scores.uar, 4),
                        "interval": [round(low, 4), round(high, 4)],
                        "wa": round(system.scores.wa, 4),
                        "seconds": round(time.perf_counter() - begun, 1),
                    }
                )
                print(".", end="", flush=True)
    header = list(results[0])
    print("\n" + text_table([header, *([str(row[key]) for key in header] for row in results)]))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
