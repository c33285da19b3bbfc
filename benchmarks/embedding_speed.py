"""How fast wav2vec2-base is embedded: ours against the plain transformers loop, interleaved in one run.

The plain loop is what one writes from the model card: feature extractor, model, all hidden states, one
clip at a time, and no pooling. Ours is the encoder with mean+std pooling of all 13 layers. Both run the
same random weights. The ways take turns clip by clip, in an order that rotates, so that whatever else the
machine does falls on all of them alike; a ratio is the median over groups of eight clips of like length.
The ratio of processor time is printed too: other work on the machine moves it less.

    python benchmarks/embedding_speed.py
    python benchmarks/embedding_speed.py --bf16-clips 8 --threads 2
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ser_transfer.encoders import Encoder, Precision, load_encoder
from ser_transfer.pooling import mean_std_pool

Waveform = npt.NDArray[np.float32]
Way = Callable[[Sequence[Waveform]], None]

GROUP = 8  # clips, and the size of the batches
SAMPLING_RATE = 16_000  # Hz
PLAIN, OURS, BATCHED = "plain loop, batch 1", "ours, batch 1", "ours, batches of 8, sorted"


def make_clips(n_clips: int) -> list[Waveform]:
    """Noise of 2 to 4 s: the time a transformer takes does not depend on what is said."""
    generator = np.random.default_rng(0)
    lengths = generator.uniform(2 * SAMPLING_RATE, 4 * SAMPLING_RATE, n_clips).astype(int)
    return [(0.1 * generator.standard_normal(n)).astype(np.float32) for n in lengths]


def save_random_model(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def plain_loop(folder: Path, bf16: bool) -> Way:
    from transformers import AutoFeatureExtractor, AutoModel

    extractor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def run(clips: Sequence[Waveform]) -> None:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            for clip in clips:
                inputs = extractor(clip, sampling_rate=SAMPLING_RATE, return_tensors="pt")
                model(**inputs, output_hidden_states=True)

    return run


def embed(encoder: Encoder, clips: Sequence[Waveform]) -> None:
    states = encoder.encode(clips)
    for layer, mask in zip(states.layers, states.frame_masks, strict=True):
        mean_std_pool(layer, mask)


def ours(encoder: Encoder, batch_size: int) -> Way:
    def run(clips: Sequence[Waveform]) -> None:
        for start in range(0, len(clips), batch_size):
            embed(encoder, clips[start : start + batch_size])

    return run


@dataclass(frozen=True)
class Timing:
    """How often faster than real time a way ran a group of clips, by the clock and by processor time."""

    wall: float
    processor: float


def measure(ways: dict[str, Way], clips: Sequence[Waveform]) -> dict[str, list[Timing]]:
    """Time every way on every group of clips, taking turns clip by clip."""
    ordered = sorted(clips, key=len)
    groups = [ordered[start : start + GROUP] for start in range(0, len(ordered), GROUP)]
    for run in ways.values():
        run(groups[0][:1])  # loads the weights
    timings: dict[str, list[Timing]] = {name: [] for name in ways}
    names = list(ways)
    for group in groups:
        wall, processor = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        for i, clip in enumerate(group):
            turn = i % len(names)
            for name in names[turn:] + names[:turn]:
                if name == BATCHED and i > 0:
                    continue
                start = time.perf_counter(), time.process_time()
                ways[name](group if name == BATCHED else [clip])
                wall[name] += time.perf_counter() - start[0]
                processor[name] += time.process_time() - start[1]
        seconds = sum(map(len, group)) / SAMPLING_RATE
        for name in names:
            timings[name].append(Timing(seconds / wall[name], seconds / processor[name]))
    return timings


def report(precision: str, timings: dict[str, list[Timing]]) -> dict[str, dict[str, float]]:
    """Print a line per way and return the figures."""
    figures = {}
    for name, values in timings.items():
        pairs = list(zip(values, timings[PLAIN], strict=True))
        ratios = [value.wall / plain.wall for value, plain in pairs]
        figures[name] = {
            "x_real_time": statistics.median(value.wall for value in values),
            "ratio": statistics.median(ratios),
            "processor_ratio": statistics.median(value.processor / plain.processor for value, plain in pairs),
        }
        print(
            f"{precision:8} {name:28} {figures[name]['x_real_time']:7.2f} x real time, "
            f"{figures[name]['ratio']:.3f} of the plain loop ({min(ratios):.3f} to {max(ratios):.3f}), "
            f"by processor time {figures[name]['processor_ratio']:.3f}"
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=60, help="clips in float32 (default: 60)")
    parser.add_argument("--bf16-clips", type=int, default=0, help="clips in bf16 (default: 0, left out)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="this CPU has no bfloat16")
    has_bf16 = sorted(name for name, here in torch.cpu.get_capabilities().items() if here and "bf16" in name)
    machine = {
        "threads": options.threads,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "bf16 instructions": ", ".join(has_bf16) or "none",
        "torch": torch.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    results: dict[str, object] = {"machine": machine}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_random_model(folder)
        wanted: dict[Precision, int] = {"float32": options.clips, "bf16": options.bf16_clips}
        for precision, n_clips in wanted.items():
            if n_clips == 0:
                continue
            encoder = load_encoder(str(folder), device="cpu", precision=precision)
            ways = {
                PLAIN: plain_loop(folder, bf16=precision == "bf16"),
                OURS: ours(encoder, 1),
                BATCHED: ours(encoder, GROUP),
            }
            results[precision] = report(precision, measure(ways, make_clips(n_clips)))
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # ru_maxrss is in KiB on Linux
    print(f"peak memory {peak_gib:.2f} GiB, with two models loaded")
    if options.out is not None:
        options.out.write_text(
            json.dumps({**results, "peak_gib": peak_gib}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
