"""How fast networks are fine-tuned: our loop against the stock `transformers.Trainer`, in one run.

The stock training is that of transformers' own example, run_audio_classification.py: the same classes, the
feature extractor per clip, a fixed number of clips per batch in random order, padded to the longest by the
default collator, the Trainer's default AdamW. Ours is what the `finetune` command runs: its data set,
batches, network, objective, optimiser and loop. Both start from one folder of random weights, hold the same
waveforms in memory, make batches between the steps (or in --workers processes, started anew in each round),
and neither logs, saves nor validates while it is timed.

A round is one epoch over the same clips. After an untimed round each, the ways take turns round by round, in
an order that rotates, so that whatever else the machine does falls on all of them alike; a ratio is the
median over pairs of neighbouring rounds, above 1 where a way is faster than the stock one. The ratio of
processor time is printed too: other work on the machine moves it less. Many short rounds serve a busy machine
better than a few long ones.

equal    clips of one length, in the same number of steps: what the loops themselves cost
ravdess  clips of 3 to 5 s, in the same number of steps
mix      clips of 1 to 15 s, or as long as the recordings in --recordings; ours with as many seconds of padded
         audio in each batch as --batch-seconds says, the stock one with as many clips in each batch as ours
         has on average, so that both take about the same number of steps over the same audio

On a GPU peak memory is told too: of a way alone, though the others lie beside it. And so is model-FLOP
utilisation: the floating-point operations that the clips' own frames need, over the time and the device's
peak rate. Forward operations are counted from the shapes of the model, of matrix products and convolutions
alone; a step needs them three times for what learns (forward, slopes of inputs, slopes of weights) and once
for what is frozen. Padding and activations computed again count as time, and not as work.

    python benchmarks/finetune.py
    python benchmarks/finetune.py --lengths mix --recordings ../shared/corpora
    python benchmarks/finetune.py --model base --device cuda --bf16 --batch-seconds 240 --steps 40 --workers 8
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ser_transfer.audio import duration_seconds
from ser_transfer.finetuning import LossSettings, Optimisation, load_network, make_accelerator
from ser_transfer.finetuning.batches import StepPlan
from ser_transfer.finetuning.build import make_optimizer
from ser_transfer.finetuning.loop import Step, train
from ser_transfer.finetuning.objective import EmotionObjective
from ser_transfer.finetuning.recordings import Clips, Collate
from ser_transfer.finetuning.state import States
from ser_transfer.finetuning.trainable import freeze
from ser_transfer.finetuning.training_clips import TrainingClips

Waveform = npt.NDArray[np.float32]

SAMPLING_RATE = 16_000  # Hz
CLASSES = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
LEARNING_RATE, WEIGHT_DECAY, WARMUP, CLIP_NORM = 1e-4, 0.01, 0.1, 1.0
EQUAL_SECONDS = 4.0

# Changes to the config of wav2vec2-base. Small is for two slow cores: a sixteenth of the convolutions' work.
MODELS: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "conv_dim": (128,) * 7,
    },
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}

# Dense bf16 rate of a device whose name holds the words, operations per second, from the maker's data sheets.
PEAK_RATES = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}

STOCK, BY_LENGTH, OURS = "stock Trainer", "stock, group_by_length", "ours"


@dataclass(frozen=True)
class Round:
    """One epoch of one way.

    Attributes:
        wall: Seconds by the clock.
        processor: Seconds of processor time, over all threads.
        n_steps: Optimiser steps.
        n_samples: Samples that entered the network, padding included.
        peak_bytes: Highest memory on the GPU of this way alone; 0 on a CPU.
    """

    wall: float
    processor: float
    n_steps: int
    n_samples: int
    peak_bytes: int


@dataclass(frozen=True)
class Job:
    """What all ways have in common.

    Attributes:
        waveforms: The clips.
        targets: Their classes.
        model: Folder with a model and its feature extractor.
        scratch: Folder to write to; only ours does, the weights of the last epoch, with the clock stopped.
        options: Of the command line.
    """

    waveforms: Sequence[Waveform]
    targets: Sequence[int]
    model: Path
    scratch: Path
    options: argparse.Namespace


class Way(ABC):
    """One way to train; made once, so that rounds differ in nothing but the machine's mood."""

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        self.resident_bytes = 0  # on the GPU between rounds: weights and optimiser state
        self._is_cuda, self._is_bf16 = job.options.device == "cuda", job.options.bf16
        self._n_samples = self._n_steps = 0
        self._begun = self._ended = (0.0, 0.0)

    @abstractmethod
    def train(self) -> None:
        """Train one epoch, calling `begin` before its first batch is made and `end` after its last step."""

    def round(self) -> Round:
        """Train one epoch and time it."""
        self._n_samples, at_rest = 0, 0
        gc.collect()
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats()
            at_rest = torch.cuda.memory_allocated()
        self.train()
        peak = 0
        if self._is_cuda:
            peak = torch.cuda.max_memory_allocated() - at_rest + self.resident_bytes
        wall, processor = (end - begin for begin, end in zip(self._begun, self._ended, strict=True))
        return Round(wall, processor, self._n_steps, self._n_samples, peak)

    def begin(self) -> None:
        """Start the clock."""
        self._begun = self._now()

    def end(self, n_steps: int) -> None:
        """Stop the clock, so many steps after its start."""
        self._ended, self._n_steps = self._now(), n_steps

    def watch(self, body: nn.Module) -> None:
        """Count the samples that the encoder reads, and see that it computes in the precision asked for."""

        def note(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            values = args[0] if args else named["input_values"]
            self._n_samples += values.numel()
            if torch.is_autocast_enabled(values.device.type) != self._is_bf16:
                raise RuntimeError(f"{self.name} does not compute in the precision that was asked for")

        body.register_forward_pre_hook(note, with_kwargs=True)

    def _now(self) -> tuple[float, float]:
        if self._is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()


class MemoryClips(Clips):
    """Clips that are in memory from the start; all else is as for those of a corpus."""

    def __init__(self, waveforms: Sequence[Waveform], targets: Sequence[int], min_samples: int) -> None:
        self.ids = tuple(f"clip-{row:05d}" for row in range(len(waveforms)))
        self.sampling_rate, self.min_samples = SAMPLING_RATE, min_samples
        self.targets = np.asarray(targets, np.intp)
        self.seconds = np.array([len(waveform) / SAMPLING_RATE for waveform in waveforms])
        self._waveforms = waveforms

    def waveform(self, row: int) -> Waveform:
        """Return a copy, as `Clips` does of what it keeps."""
        return self._waveforms[row].copy()


class NoStates(States):
    """Keeps no state, as the stock loop is told to keep none."""

    def save(self, *given: Any, **named: Any) -> None:
        """Do nothing."""


class OurLoop(Way):
    """The loop of the `finetune` command, with its own batches, network and optimiser.

    Args:
        job: Shared with the other ways.
        batch_seconds: Of a batch at most, padding included.
        max_clips: Of a batch at most; None for as many as fit.
    """

    def __init__(self, job: Job, *, batch_seconds: float, max_clips: int | None) -> None:
        super().__init__(OURS, job)
        options = job.options
        self._settings = Optimisation(
            learning_rate=LEARNING_RATE,
            head_learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            warmup=WARMUP,
            clip_norm=CLIP_NORM,
            max_epochs=1,
            precision="bf16" if options.bf16 else "float32",
        )
        self._accelerator = make_accelerator(
            self._settings, job.scratch, device="cpu" if options.device == "cpu" else "auto"
        )
        # Without the dropout before the last layer, which the stock class does not have.
        network = load_network(
            str(job.model), CLASSES, dropout=0.0, gradient_checkpointing=options.gradient_checkpointing
        )
        freeze(network, options.trained)
        clips = MemoryClips(job.waveforms, job.targets, network.min_samples)
        examples = TrainingClips(clips, n_classes=len(CLASSES))
        self._plan = StepPlan(examples.seconds, batch_seconds=batch_seconds, max_clips=max_clips)
        self.watch(network.body)
        loader: DataLoader[Any] = DataLoader(
            examples,
            batch_sampler=self._plan,
            collate_fn=Collate(network.front_end, training=True),
            num_workers=options.workers,
            pin_memory=options.device == "cuda",
            generator=torch.Generator(),
        )
        self._objective = EmotionObjective(LossSettings(balanced=False), job.targets, len(CLASSES))
        self._states = NoStates(job.scratch, {})
        self._network, self._optimizer, self._loader = self._accelerator.prepare(
            network, make_optimizer(network, self._settings), loader
        )

    def train(self) -> None:
        """See `Way.train`."""

        def on_step(step: Step) -> None:
            if step.step == step.n_steps:
                self.end(step.step)

        self.begin()
        train(
            self._accelerator,
            self._network,
            self._optimizer,
            self._loader,
            self._plan,
            self._objective,
            None,
            self._settings,
            self._states,
            on_step=on_step,
        )


class StockClips(Dataset[dict[str, Any]]):
    """Clips as the example of transformers makes them: through the feature extractor, one by one."""

    def __init__(self, extractor: Any, waveforms: Sequence[Waveform], targets: Sequence[int]) -> None:
        self._extractor, self._waveforms, self._targets = extractor, waveforms, targets

    def __len__(self) -> int:
        return len(self._waveforms)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Give input and label; the collator makes the mask."""
        inputs = self._extractor(self._waveforms[row], sampling_rate=SAMPLING_RATE)
        return {"input_values": inputs["input_values"][0], "labels": self._targets[row]}


class StockTrainer(Way):
    """`transformers.Trainer` as the example of transformers for audio classification sets it up.

    Args:
        job: Shared with the other ways.
        batch_size: Clips of a batch.
        by_length: Let its own sampler put clips of like length together; the example does not.
    """

    def __init__(self, job: Job, *, batch_size: int, by_length: bool) -> None:
        super().__init__(BY_LENGTH if by_length else STOCK, job)
        options = job.options
        from transformers import (
            AutoFeatureExtractor,
            AutoModelForAudioClassification,
            Trainer,
            TrainerCallback,
            TrainingArguments,
        )

        way = self

        class Clock(TrainerCallback):  # type: ignore[misc]  # transformers carries no types
            def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
                way.begin()

            def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
                if state.global_step == state.max_steps:
                    way.end(state.global_step)

        # The second name is deprecated in releases that have the first.
        words = ("activation_checkpointing", "gradient_checkpointing")
        word = next(word for word in words if hasattr(TrainingArguments, word))
        again: dict[str, Any] = {}
        if options.gradient_checkpointing:
            again = {word: True, f"{word}_kwargs": {"use_reentrant": False}}
        arguments = TrainingArguments(
            output_dir=str(job.scratch),
            remove_unused_columns=False,
            per_device_train_batch_size=batch_size,
            train_sampling_strategy="group_by_length" if by_length else "random",
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            lr_scheduler_type="cosine",
            warmup_steps=WARMUP,
            max_grad_norm=CLIP_NORM,
            bf16=options.bf16,
            use_cpu=options.device == "cpu",
            dataloader_num_workers=options.workers,
            dataloader_pin_memory=options.device == "cuda",
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **again,
        )
        extractor = AutoFeatureExtractor.from_pretrained(job.model, return_attention_mask=True)
        model = AutoModelForAudioClassification.from_pretrained(job.model)
        if options.trained == "layers":
            model.freeze_feature_encoder()
        self.watch(model.base_model)
        self._trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=StockClips(extractor, job.waveforms, job.targets),
            processing_class=extractor,  # with which it pads, to the longest clip of a batch
            callbacks=[Clock()],
        )
        for callback in list(self._trainer.callback_handler.callbacks):
            if type(callback).__name__ == "PrinterCallback":  # prints a summary of every round
                self._trainer.remove_callback(callback)

    def train(self) -> None:
        """See `Way.train`."""
        self._trainer.train()


def save_random_model(folder: Path, model: str) -> Any:
    """Write a model with its feature extractor; return its config."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    # Our networks leave no layer out by chance, so the stock one shall not either.
    config = Wav2Vec2Config(**MODELS[model], layerdrop=0.0, num_labels=len(CLASSES))
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return config


def make_lengths(kind: str, n_clips: int, recordings: Sequence[Path]) -> list[int]:
    """Give lengths in samples, in random order: so many even steps through a distribution, or real ones."""
    rng = np.random.default_rng(0)
    ranks = (rng.permutation(n_clips) + 0.5) / n_clips
    if kind == "equal":
        seconds = np.full(n_clips, EQUAL_SECONDS)
    elif kind == "ravdess":
        seconds = 3 + 2 * ranks
    elif recordings:
        chosen = rng.choice(len(recordings), n_clips, replace=len(recordings) < n_clips)
        seconds = np.array([duration_seconds(recordings[i]) for i in chosen])
    else:
        quantiles = [statistics.NormalDist(math.log(3.5), 0.6).inv_cdf(rank) for rank in ranks]
        seconds = np.clip(np.exp(quantiles), 1, 15)
    return [round(each * SAMPLING_RATE) for each in seconds]


def make_clips(lengths: Sequence[int]) -> list[Waveform]:
    """Noise: the time a transformer takes does not depend on what is said."""
    rng = np.random.default_rng(0)
    return [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in lengths]


def forward_operations(config: Any, n_samples: int) -> tuple[float, float]:
    """Count what one clip needs forward, in the convolutions and in all above them.

    Two operations per multiplication; norms, activations and softmax are left out, as is usual.
    """
    frames, n_inputs, front_end = n_samples, 1, 0.0
    for kernel, stride, n_outputs in zip(
        config.conv_kernel, config.conv_stride, config.conv_dim, strict=True
    ):
        frames = (frames - kernel) // stride + 1
        front_end += 2.0 * frames * kernel * n_inputs * n_outputs
        n_inputs = n_outputs
    hidden = config.hidden_size
    projection = 2.0 * frames * n_inputs * hidden
    positions = (
        2.0 * frames * config.num_conv_pos_embeddings * hidden**2 / config.num_conv_pos_embedding_groups
    )
    dense = 2.0 * frames * hidden * (4 * hidden + 2 * config.intermediate_size)
    attention = 4.0 * frames**2 * hidden
    head = 2.0 * frames * hidden * config.classifier_proj_size
    return front_end, projection + positions + config.num_hidden_layers * (dense + attention) + head


def training_operations(config: Any, lengths: Sequence[int], trained: str) -> float:
    """Count what an epoch needs, without padding: three times forward for what learns, once for the rest."""
    counted = [forward_operations(config, n) for n in lengths]
    of_front_end = 3 if trained == "all" else 1
    return sum(of_front_end * front_end + 3 * above for front_end, above in counted)


def peak_rate(device: str, bf16: bool, given: float | None) -> float | None:
    """Find the device's operations per second; None where they are not known."""
    if given is not None:
        return given * 1e12
    if device == "cpu" or not bf16:
        return None
    name = torch.cuda.get_device_name()
    return next((rate for words, rate in PEAK_RATES.items() if words in name), None)


def measure(makers: Sequence[Callable[[], Way]], n_rounds: int) -> dict[str, list[Round]]:
    """Time rounds of every way, taking turns."""
    ways = []
    for make in makers:
        before = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        way = make()
        way.round()  # takes memory, makes optimiser state, chooses kernels
        if torch.cuda.is_available():
            gc.collect()
            way.resident_bytes = torch.cuda.memory_allocated() - before
        ways.append(way)
    rounds: dict[str, list[Round]] = {way.name: [] for way in ways}
    for turn in range(n_rounds):
        first = turn % len(ways)
        for way in ways[first:] + ways[:first]:
            rounds[way.name].append(way.round())
    return rounds


def figures_of(
    rounds: dict[str, list[Round]], lengths: Sequence[int], operations: float, peak: float | None
) -> dict[str, dict[str, Any]]:
    """Sum up the rounds of every way."""
    n_samples, figures = sum(lengths), {}
    for name, own in rounds.items():
        wall = statistics.median(each.wall for each in own)
        pairs = list(zip(rounds[STOCK], own, strict=True))
        ratios = [stock.wall / each.wall for stock, each in pairs]
        figures[name] = {
            "n_steps": own[0].n_steps,
            "clips_per_step": len(lengths) / own[0].n_steps,
            "padding": 1 - n_samples / own[0].n_samples,
            "steps_per_s": own[0].n_steps / wall,
            "clips_per_s": len(lengths) / wall,
            "audio_s_per_s": n_samples / SAMPLING_RATE / wall,
            "ratio": statistics.median(ratios),
            "ratio_quartiles": statistics.quantiles(ratios)[::2] if len(ratios) > 1 else ratios * 2,
            "processor_ratio": statistics.median(stock.processor / each.processor for stock, each in pairs),
            "peak_gib": max(each.peak_bytes for each in own) / 2**30 or None,
            "operations_per_s": operations / wall,
            "utilisation": None if peak is None else operations / wall / peak,
            "rounds": [asdict(each) for each in own],
        }
    return figures


def report(kind: str, lengths: Sequence[int], figures: dict[str, dict[str, Any]]) -> None:
    """Print a table, a line per way."""
    seconds = [n / SAMPLING_RATE for n in lengths]
    of_each = (
        f"{min(seconds):.1f} to {max(seconds):.1f} s"
        if min(seconds) < max(seconds)
        else f"{seconds[0]:g} s each"
    )
    print(f"\n{kind}: {len(lengths)} clips, {of_each}, {sum(seconds):.0f} s in all")
    print(
        f"{'':24}{'steps':>6}{'clips/step':>11}{'padding':>9}{'steps/s':>9}{'clips/s':>9}{'audio s/s':>10}"
        f"{'of stock (quartiles)':>24}{'by processor':>14}{'peak GiB':>10}{'FLOP use':>10}"
    )
    for name, found in figures.items():
        low, high = found["ratio_quartiles"]
        ratio = f"{found['ratio']:.3f} ({low:.3f} to {high:.3f})"
        memory = "-" if found["peak_gib"] is None else f"{found['peak_gib']:.2f}"
        use = "-" if found["utilisation"] is None else f"{found['utilisation']:.1%}"
        print(
            f"{name:24}{found['n_steps']:6d}{found['clips_per_step']:11.1f}{found['padding']:9.1%}"
            f"{found['steps_per_s']:9.3f}{found['clips_per_s']:9.2f}{found['audio_s_per_s']:10.2f}"
            f"{ratio:>24}{found['processor_ratio']:14.3f}{memory:>10}{use:>10}",
            flush=True,
        )


def run(
    kind: str, model: Path, config: Any, options: argparse.Namespace, peak: float | None
) -> dict[str, dict[str, Any]]:
    """Measure all ways on clips of one kind of length."""
    clips_per_step = max(1, int(options.batch_seconds / EQUAL_SECONDS))
    lengths = make_lengths(kind, options.steps * clips_per_step, options.recordings)
    batch_seconds: float = math.inf
    max_clips: int | None = clips_per_step
    if kind == "mix":
        batch_seconds, max_clips = options.batch_seconds, None
        plan = StepPlan([n / SAMPLING_RATE for n in lengths], batch_seconds=batch_seconds)
        clips_per_step = round(len(lengths) / plan.n_steps(0))
    with tempfile.TemporaryDirectory() as scratch:
        targets = [i % len(CLASSES) for i in range(len(lengths))]
        job = Job(make_clips(lengths), targets, model, Path(scratch), options)
        makers: list[Callable[[], Way]] = [
            lambda: StockTrainer(job, batch_size=clips_per_step, by_length=False),
            lambda: OurLoop(job, batch_seconds=batch_seconds, max_clips=max_clips),
        ]
        if options.by_length and kind != "equal":
            makers.insert(1, lambda: StockTrainer(job, batch_size=clips_per_step, by_length=True))
        rounds = measure(makers, options.rounds)
    figures = figures_of(rounds, lengths, training_operations(config, lengths, options.trained), peak)
    report(kind, lengths, figures)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(MODELS), default="small", help="default: small")
    parser.add_argument(
        "--lengths",
        nargs="+",
        choices=("equal", "ravdess", "mix"),
        default=["equal", "ravdess", "mix"],
        help="default: all three",
    )
    parser.add_argument(
        "--recordings", type=Path, help="take the lengths of mix from the WAV and FLAC files in it"
    )
    parser.add_argument(
        "--by-length",
        action="store_true",
        help="time the Trainer's group_by_length as well; it sorts within a quarter of the clips at most, "
        "so give it --steps 40",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16; default: float32")
    parser.add_argument("--batch-seconds", type=float, default=24.0, help="of audio in a step (default: 24)")
    parser.add_argument("--steps", type=int, default=4, help="in a round (default: 4)")
    parser.add_argument("--rounds", type=int, default=12, help="of every way (default: 12)")
    parser.add_argument("--trained", choices=("layers", "all"), default="layers", help="default: layers")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches (default: 0)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="compute activations again")
    parser.add_argument("--peak-tflops", type=float, help="of the device; default: by its name, in bf16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU here")
    if options.device == "cuda" and torch.cuda.device_count() > 1:
        parser.error("the Trainer would take all GPUs: show it one with CUDA_VISIBLE_DEVICES=0")
    if options.recordings is not None:
        found = options.recordings.rglob("*.*")
        options.recordings = sorted(path for path in found if path.suffix in (".wav", ".flac"))
        if not options.recordings:
            parser.error("--recordings: no WAV or FLAC file in that folder")
    torch.set_num_threads(options.threads)
    from transformers import __version__ as transformers_version
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    peak = peak_rate(options.device, options.bf16, options.peak_tflops)
    machine = {
        "model": options.model,
        "trained": options.trained,
        "precision": "bf16" if options.bf16 else "float32",
        "checkpointing": options.gradient_checkpointing,
        "workers": options.workers,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "peak operations/s": "not known" if peak is None else f"{peak:.3g}",
        "threads": options.threads,
        "torch": torch.__version__,
        "transformers": transformers_version,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    results: dict[str, Any] = {"machine": machine}
    with tempfile.TemporaryDirectory() as name:
        config = save_random_model(Path(name), options.model)
        for kind in options.lengths:
            results[kind] = run(kind, Path(name), config, options, peak)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
