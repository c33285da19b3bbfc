"""What an ONNX file saves: time of an answer and size beside PyTorch, and the UAR that 8 bits cost.

    python benchmarks/onnx_export.py
    python benchmarks/onnx_export.py --corpus emodb --root ../shared/corpora/emodb_2s

Without a corpus: PyTorch, ONNX and int8 ONNX taking turns in one process on the same cores, first clip by
clip, each with all cores, then on all files at once, as many in parallel as there are cores.
Speech is synthesised and heads are fitted on noise: time does not depend on either. YAMNet has its real
weights where they are; wav2vec2-base has random ones.

With a corpus: heads on all layers of the frozen YAMNet, each trained without the speakers of one fold and
asked about them, in PyTorch, as float32 and as int8. The interval of what 8 bits cost is over speakers. The
threads of PyTorch and of onnxruntime are `--threads` each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ser_transfer import load_corpus, load_encoder
from ser_transfer.audio import read_audio
from ser_transfer.corpora.synthetic import synthesise_corpus
from ser_transfer.cross_validation import Labels
from ser_transfer.encoders import Encoder
from ser_transfer.encoders.pooled import Recording, encode_pooled, encode_waveforms
from ser_transfer.exporting import OnnxModel, export_onnx, quantise
from ser_transfer.fill import SOURCE_COLUMNS
from ser_transfer.heads import make_head
from ser_transfer.metrics import Difference, confusion_matrix, difference, uar
from ser_transfer.model import EmotionModel, FrozenModel
from ser_transfer.splits import make_split

WEIGHTS = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared")) / "weights/yamnet/yamnet.safetensors"
EMOTIONS = ("anger", "fear", "happiness", "neutral")


def encoder_of(name: str, weights: Path) -> Encoder:
    if name == "yamnet" and weights.is_file():
        return load_encoder(name, weights=weights, device="cpu")
    return load_encoder(name, untrained=True, device="cpu")


def on_noise(encoder: Encoder) -> FrozenModel:
    """A head that has as much to compute as a real one."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.1, encoder.sampling_rate).astype(np.float32) for _ in range(8)]
    features = np.stack(
        [np.concatenate(each.layers) for each in encode_waveforms(noise, encoder, "mean_std")]
    )
    head = make_head("logistic_regression").fit(features, np.array(EMOTIONS * 2))
    return FrozenModel(encoder, "mean_std", encoder.layer_names, head, {"head": "noise"})


def written(model: EmotionModel, folder: Path, n_threads: int) -> tuple[OnnxModel, OnnxModel]:
    """The model as a file, and as one of int8; their sizes are printed."""
    begun = time.perf_counter()
    file = folder / "model.onnx"
    comparison = export_onnx(model, file)
    took = time.perf_counter() - begun
    small = quantise(file, folder / "int8.onnx")
    sizes = [each.stat().st_size / 1e6 for each in (file, small)]
    print(f"{model.name}: written in {took:.0f} s, {sizes[0]:.1f} MB, int8 {sizes[1]:.1f} MB")
    print(f"  ONNX beside PyTorch: {comparison}")
    return OnnxModel.from_file(file, n_threads=n_threads), OnnxModel.from_file(small, n_threads=n_threads)


def compare_speed(
    model: EmotionModel, files: Sequence[OnnxModel], paths: Sequence[Path], rounds: int
) -> None:
    """Time the ways in turns: one clip on all cores, as one who waits; all files, as `predict` asks them."""
    ways: dict[str, EmotionModel] = dict(zip(("PyTorch", "ONNX", "ONNX int8"), (model, *files), strict=True))
    clips = [read_audio(path, model.sampling_rate) for path in paths]
    for way in ways.values():
        way.probabilities_of_waveforms(clips[:1])
    alone = _seconds(ways, [partial(_alone, clip) for clip in clips] * rounds)
    recordings = [Recording(str(path), path) for path in paths]
    together = _seconds(ways, [lambda way: list(way.answers(recordings))] * rounds)
    for told, seconds in (("one clip alone", alone), ("clips of many files", together / len(paths))):
        for column, name in enumerate(ways):
            low, middle, high = np.percentile(seconds[:, 0] / seconds[:, column], [25, 50, 75])
            print(
                f"  {told}, {name}: {np.median(seconds[:, column]) * 1e3:.1f} ms, {middle:.2f} x PyTorch's "
                f"speed (quartiles {low:.2f} to {high:.2f}; n = {len(seconds)})"
            )


def _alone(clip: npt.NDArray[np.float32], way: EmotionModel) -> object:
    return way.probabilities_of_waveforms([clip])


def _seconds(
    ways: dict[str, EmotionModel], tasks: Sequence[Callable[[EmotionModel], object]]
) -> npt.NDArray[np.float64]:
    """Time each task in each way, of shape (tasks, ways); who begins takes turns."""
    seconds = np.zeros((len(tasks), len(ways)))
    for row, task in enumerate(tasks):
        turns = list(enumerate(ways.values()))
        for column, way in turns[row % len(turns) :] + turns[: row % len(turns)]:
            begun = time.perf_counter()
            task(way)
            seconds[row, column] = time.perf_counter() - begun
    return seconds


def speed(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        synthesise_corpus(folder / "clips", n_speakers=1 + arguments.clips // 30)
        paths = sorted((folder / "clips").rglob("*.wav"))[: arguments.clips]
        for name in arguments.models.split(","):
            model = on_noise(encoder_of(name, arguments.weights))
            compare_speed(model, written(model, folder, arguments.threads), paths, arguments.rounds)


def cost(arguments: argparse.Namespace) -> None:
    corpus = load_corpus(arguments.corpus, arguments.root)
    labels = Labels.of(corpus)
    sources = corpus.select_columns(list(SOURCE_COLUMNS))
    recordings = {
        id_: Recording(id_, *(source[name] for name in SOURCE_COLUMNS))
        for id_, source in zip(corpus["utterance_id"], sources, strict=True)
    }
    encoder = encoder_of("yamnet", arguments.weights)
    encoded = list(encode_pooled(recordings.values(), encoder, "mean_std", n_workers=arguments.threads))
    features = {each.recording.key: np.concatenate(each.layers) for each in encoded}
    sizes = [len(layer) for layer in encoded[0].layers]
    split = make_split(corpus, "speaker-folds", n_folds=arguments.folds)
    ids: list[str] = []
    told: dict[str, list[npt.NDArray[np.float64]]] = {"PyTorch": [], "ONNX": [], "ONNX int8": []}
    with tempfile.TemporaryDirectory() as temporary:
        for fold in split.folds:
            learned = [*fold.train_ids, *fold.validation_ids]
            head = make_head("logistic_regression", block_sizes=sizes)
            head.fit(
                np.stack([features[id_] for id_ in learned]), np.array([labels.emotions[i] for i in learned])
            )
            model = FrozenModel(encoder, "mean_std", encoder.layer_names, head, {"corpus": arguments.corpus})
            file, small = written(model, Path(temporary), arguments.threads)
            ids += fold.test_ids
            told["PyTorch"] += list(head.predict_proba(np.stack([features[id_] for id_ in fold.test_ids])))
            for name, way in {"ONNX": file, "ONNX int8": small}.items():
                answers = way.answers(recordings[id_] for id_ in fold.test_ids)
                rows = {answer.key: answer.probabilities for answer in answers}
                told[name] += [row for id_ in fold.test_ids if (row := rows[id_]) is not None]
    classes = np.array(model.classes)
    truth, speakers = [labels.emotions[id_] for id_ in ids], [labels.speakers[id_] for id_ in ids]
    predicted = {name: [str(each) for each in classes[np.argmax(told[name], axis=1)]] for name in told}
    print(f"{split.description}: {len(ids)} clips of {len(set(speakers))} speakers, each asked once")
    for name, answers_of_way in predicted.items():
        reached = float(uar(confusion_matrix(truth, answers_of_way, labels.classes)))
        line = f"  {name:10} UAR {reached:.3f}"
        if name != "PyTorch":
            beside = difference(truth, answers_of_way, predicted["PyTorch"], labels.classes, speakers)
            changed = np.mean([a != b for a, b in zip(answers_of_way, predicted["PyTorch"], strict=True)])
            furthest = np.abs(np.array(told[name]) - np.array(told["PyTorch"])).max()
            line += (
                f", {beside.uar:+.3f} beside PyTorch{_within(beside)}; {changed:.1%} of answers changed, "
                f"a probability by {furthest:.2g} at most"
            )
        print(line)


def _within(beside: Difference) -> str:
    if beside.interval is None:
        return ""
    low, high = beside.interval
    return f" ({low:+.3f} to {high:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="yamnet,wav2vec2-base", help="with commas")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of YAMNet")
    parser.add_argument("--corpus", help="ask it about speakers that were not heard, instead")
    parser.add_argument("--root", type=Path, help="folder of the corpus")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is timed")
    parser.add_argument("--folds", type=int, default=5, help="of speakers of the corpus")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.corpus:
        cost(arguments)
    else:
        speed(arguments)


if __name__ == "__main__":
    main()
