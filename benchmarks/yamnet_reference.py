"""YAMNet against its reference vectors, and how fast it embeds.

python benchmarks/yamnet_reference.py --shared ../shared

Reads the reference vectors and 200 clips of RAVDESS there. Prints the largest difference from the
reference and clips per second, decoding included, one clip at a time as `embed` runs it on a CPU.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from ser_transfer.audio import read_audio
from ser_transfer.encoders.base import Encoder
from ser_transfer.encoders.log_mel import log_mel
from ser_transfer.encoders.pooled import Recording, encode_pooled
from ser_transfer.encoders.yamnet import load_yamnet

N_CLIPS = 200


def reference_differences(encoder: Encoder, shared: Path) -> tuple[float, float]:
    """Give the largest absolute difference in log-mel and in patch embeddings over the reference clips."""
    reference = np.load(shared / "weights" / "yamnet" / "reference.npz")
    in_log_mel, in_embeddings = [], []
    for clip in sorted({key.rpartition(".")[0] for key in reference}):
        waveform = read_audio(shared / "corpora" / "ravdess" / f"{clip.replace('__', '/')}.flac")
        in_log_mel.append(np.abs(log_mel(waveform, 0.001) - reference[f"{clip}.log_mel"]).max())
        expected = reference[f"{clip}.embeddings"]
        embeddings = encoder.encode([waveform]).layers[-1][0, : len(expected)].cpu().numpy()
        in_embeddings.append(np.abs(embeddings - expected).max())
    return float(max(in_log_mel)), float(max(in_embeddings))


def clips_per_second(encoder: Encoder, paths: list[Path]) -> tuple[float, float]:
    """Give clips per second and seconds of audio per second."""
    recordings = [Recording(str(path), path) for path in paths]
    start = time.perf_counter()
    seconds = sum(pooled.seconds for pooled in encode_pooled(recordings, encoder, encoder.default_pooling))
    elapsed = time.perf_counter() - start
    return len(paths) / elapsed, seconds / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared_default = os.environ.get("SER_TRANSFER_SHARED", "../shared")
    parser.add_argument("--shared", type=Path, default=shared_default, help="folder of corpora and weights")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encoder = load_yamnet(weights=arguments.shared / "weights" / "yamnet" / "yamnet.safetensors")
    in_log_mel, in_embeddings = reference_differences(encoder, arguments.shared)
    print(f"largest difference from the reference: log-mel {in_log_mel:.1e}, embeddings {in_embeddings:.1e}")
    paths = sorted((arguments.shared / "corpora" / "ravdess").rglob("*.flac"))[:N_CLIPS]
    clips, real_time = clips_per_second(encoder, paths)
    print(
        f"{arguments.threads} threads, {len(paths)} clips: {clips:.0f} clips/s, {real_time:.0f} x real time"
    )


if __name__ == "__main__":
    main()
