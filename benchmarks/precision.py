"""How far bf16 moves each layer's embedding.

python benchmarks/precision.py --shared ../shared --encoder yamnet

Encodes clips of RAVDESS and EmoDB, each alone, in float32 and in bf16. Prints per layer the lowest cosine
between the two mean_std embeddings of a clip.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ser_transfer.audio import read_audio
from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.base import Encoder, Waveform
from ser_transfer.pooling import mean_std_pool

N_CLIPS = {"ravdess": 200, "emodb_2s": 100}


def evenly(paths: list[Path], n: int) -> list[Path]:
    """Take n of the paths, at even distances, so that every speaker has some."""
    return [paths[i * len(paths) // n] for i in range(n)]


def embeddings(encoder: Encoder, waveform: Waveform) -> list[Tensor]:
    """Pool every layer of one clip."""
    states = encoder.encode([waveform])
    return [
        mean_std_pool(layer, mask)[0] for layer, mask in zip(states.layers, states.frame_masks, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared_default = os.environ.get("SER_TRANSFER_SHARED", "../shared")
    parser.add_argument("--shared", type=Path, default=shared_default, help="folder of corpora and weights")
    parser.add_argument("--encoder", default="yamnet", help="as in load_encoder")
    parser.add_argument("--all", action="store_true", help="every clip, not 300 of them")
    parser.add_argument("--untrained", action="store_true", help="with random weights")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = None
    if arguments.encoder == "yamnet" and not arguments.untrained:
        weights = arguments.shared / "weights" / "yamnet" / "yamnet.safetensors"
    exact = load_encoder(arguments.encoder, weights=weights, untrained=arguments.untrained)
    rounded = load_encoder(
        arguments.encoder, weights=weights, untrained=arguments.untrained, precision="bf16"
    )
    lowest, n_encoded = torch.ones(len(exact.layer_names)), 0
    for corpus, n_clips in N_CLIPS.items():
        folder = arguments.shared / "corpora" / corpus
        paths = sorted([*folder.rglob("*.flac"), *folder.rglob("*.wav")])
        chosen = paths if arguments.all else evenly(paths, n_clips)
        n_encoded += len(chosen)
        for path in chosen:
            waveform = read_audio(path, exact.sampling_rate)
            for i, pair in enumerate(
                zip(embeddings(exact, waveform), embeddings(rounded, waveform), strict=True)
            ):
                lowest[i] = min(lowest[i], functional.cosine_similarity(*pair, dim=0).cpu())
    for name, cosine in zip(exact.layer_names, lowest.tolist(), strict=True):
        print(f"{name}: {cosine:.6f}")
    print(f"lowest of {n_encoded} clips and {len(lowest)} layers: {lowest.min().item():.6f}")


if __name__ == "__main__":
    main()
