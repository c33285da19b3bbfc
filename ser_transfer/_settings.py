"""Settings that several commands share: which corpus, which encoder, where the store lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._command import setting
from ser_transfer.corpora import load_corpus
from ser_transfer.encoders import Encoder, Precision, load_encoder

if TYPE_CHECKING:
    from datasets import Dataset

CACHE = Path(os.environ.get("SER_TRANSFER_CACHE", "cache"))

# Fields of `CorpusSettings` that go to the loader of the corpus, and only where they were given.
_CORPUS_OPTIONS = (
    "part",
    "speaker_pattern",
    "audio_column",
    "emotion_column",
    "speaker_column",
    "id_column",
    "dataset_split",
)


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Which recordings."""

    corpus: str = setting(help="name of a published corpus, or folder, table or dataset for your own")
    root: str | None = setting(None, help="folder of the corpus; the file of a table; the Hub id or folder of a dataset")
    label_map: str | None = setting(None, help="map to another vocabulary, such as four_classes or calm_as_neutral")
    part: str | None = setting(None, help="ravdess: speech, song or all")
    speaker_pattern: str | None = setting(
        None, help="folder: regular expression on the path with a group named speaker, such as '(?P<speaker>spk\\d+)'"
    )
    audio_column: str | None = setting(None, help="table, dataset: column of the audio")
    emotion_column: str | None = setting(None, help="table, dataset: column of the emotion")
    speaker_column: str | None = setting(None, help="table, dataset: column of the speaker")
    id_column: str | None = setting(None, help="table, dataset: column of unique ids")
    dataset_split: str | None = setting(None, help="dataset: its split, such as train")

    def load_corpus(self) -> Dataset:
        """Load the corpus that these settings name."""
        options = {name: getattr(self, name) for name in _CORPUS_OPTIONS if getattr(self, name) is not None}
        return load_corpus(self.corpus, self.root, label_map=self.label_map, **options)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What turns a recording into numbers."""

    encoder: str = setting(help="Hub id, folder, or one of yamnet, vggish, mfcc, seed180, handcrafted, egemaps, compare, ge2e")
    revision: str | None = setting(None, help="commit, tag or branch of the Hub repository")
    weights: str | None = setting(None, help="yamnet, vggish: file with the weights, in place of the download")
    untrained: bool = setting(False, help="random weights in the same architecture: the floor that pretraining must clear")
    pooling: str | None = setting(None, help="mean, mean_std or functionals; default: what suits the encoder")
    precision: Precision = setting("float32", help="float32, or bf16 for matrix products in bfloat16")
    device: str = setting("auto", help="auto (CUDA, then MPS, then CPU), or a torch device such as cuda:1")
    seed: int = setting(0, help="of every random choice, random weights among them")

    def load_encoder(self) -> Encoder:
        """Find the encoder that these settings name."""
        return load_encoder(
            self.encoder,
            revision=self.revision,
            weights=self.weights,
            untrained=self.untrained,
            seed=self.seed,
            device=self.device,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where embeddings are kept."""

    store: str = setting(str(CACHE / "embeddings"), help="folder of the embedding store")
