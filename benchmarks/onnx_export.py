"""What an ONNX file saves: time of an answer and size beside PyTorch, and the UAR that 8 bits cost.

    python benchmarks/onnx_export.py
    python benchmarks/onnx_export.py --corpus emodb --root ../shared/corpora/emodb_2s

Without a corpus: PyTorch, ONNX and int8 ONNX taking turns, clip by clip, in one process on the same cores.
Speech is synthesised and heads are fitted on noise: time does not depend on either. YAMNet has its real
weights where they are; wav2vec2-base has random ones.

With a corpus: a head on all layers of the frozen YAMNet, trained on two thirds of the speakers, asked about
the others as float32 and as int8. The threads of PyTorch and of onnxruntime are `--threads` each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
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
from ser_transfer.metrics import confusion_matrix, uar
from ser_transfer.model import EmotionModel, FrozenModel

WEIGHTS = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared")) / "weights/yamnet/yamnet.safetensors"
EMOTIONS = ("anger", "fear", "happiness", "neutral")
SHARE_TESTED = 1 / 3  # of the speakers


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
    model: EmotionModel, files: Sequence[OnnxModel], clips: Sequence[npt.NDArray[np.float32]]
) -> None:
    ways: dict[str, EmotionModel] = dict(zip(("PyTorch", "ONNX", "ONNX int8"), (model, *files), strict=True))
    seconds = np.zeros((len(clips), len(ways)))
    for way in ways.values():
        way.probabilities_of_waveforms(clips[:1])
    for row, clip in enumerate(clips):
        turns = list(enumerate(ways.values()))
        for column, way in turns[row % len(turns) :] + turns[: row % len(turns)]:
            begun = time.perf_counter()
            way.probabilities_of_waveforms([clip])
            seconds[row, column] = time.perf_counter() - begun
    for column, name in enumerate(ways):
        ratios = seconds[:, 0] / seconds[:, column]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(
            f"  {name:10} {np.median(seconds[:, column]) * 1e3:8.1f} ms a clip, {middle:.2f} x PyTorch's "
            f"speed (quartiles {low:.2f} to {high:.2f}; n = {len(clips)})"
        )


def speed(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        synthesise_corpus(folder / "clips", n_speakers=1 + arguments.clips // 30)
        paths = sorted((folder / "clips").rglob("*.wav"))[: arguments.clips]
        for name in arguments.models.split(","):
            model = on_noise(encoder_of(name, arguments.weights))
            clips = [read_audio(path, model.sampling_rate) for path in paths]
            compare_speed(model, written(model, folder, arguments.threads), clips)


def cost(arguments: argparse.Namespace) -> None:
    corpus = load_corpus(arguments.corpus, arguments.root)
    labels = Labels.of(corpus)
    speakers = sorted({speaker for speaker in labels.speakers.values() if speaker is not None})
    tested = set(speakers[-max(1, round(SHARE_TESTED * len(speakers))) :])
    sources = corpus.select_columns(list(SOURCE_COLUMNS))
    recordings = [
        Recording(id_, *(source[name] for name in SOURCE_COLUMNS))
        for id_, source in zip(corpus["utterance_id"], sources, strict=True)
    ]
    encoder = encoder_of("yamnet", arguments.weights)
    learned = [each for each in recordings if labels.speakers[each.key] not in tested]
    encoded = list(encode_pooled(learned, encoder, "mean_std", n_workers=arguments.threads))
    features = np.stack([np.concatenate(each.layers) for each in encoded])
    sizes = [len(layer) for layer in encoded[0].layers]
    head = make_head("logistic_regression", block_sizes=sizes)
    head.fit(features, np.array([labels.emotions[each.recording.key] for each in encoded]))
    told = {"corpus": arguments.corpus, "head": "logistic_regression"}
    model = FrozenModel(encoder, "mean_std", encoder.layer_names, head, told)
    asked = [each for each in recordings if labels.speakers[each.key] in tested]
    truth = [labels.emotions[each.key] for each in asked]
    told_by = {}
    with tempfile.TemporaryDirectory() as temporary:
        file, small = written(model, Path(temporary), arguments.threads)
        for name, way in {"PyTorch": model, "ONNX": file, "ONNX int8": small}.items():
            rows = {answer.key: answer.probabilities for answer in way.answers(asked)}
            told_by[name] = np.stack([row for each in asked if (row := rows[each.key]) is not None])
    print(
        f"{len(learned)} clips of {len(speakers) - len(tested)} speakers learned, {len(asked)} of "
        f"{len(tested)} asked"
    )
    classes = np.array(model.classes)
    for name, probabilities in told_by.items():
        predicted = [str(each) for each in classes[probabilities.argmax(axis=1)]]
        reached = float(uar(confusion_matrix(truth, predicted, labels.classes)))
        changed = float((probabilities.argmax(axis=1) != told_by["PyTorch"].argmax(axis=1)).mean())
        furthest = np.abs(probabilities - told_by["PyTorch"]).max()
        print(
            f"  {name:10} UAR {reached:.3f}; another emotion than PyTorch's for {changed:.1%}, a probability "
            f"off by {furthest:.2g} at most"
        )


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
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.corpus:
        cost(arguments)
    else:
        speed(arguments)


if __name__ == "__main__":
    main()
