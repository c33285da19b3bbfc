"""Settings that several commands share: which corpus, which encoder, where the store lies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ser_transfer._command import SettingsError
from ser_transfer._setting import setting
from ser_transfer.corpora import CORPORA, StreamedDataset, load_corpus
from ser_transfer.encoders import Encoder, Precision, load_encoder
from ser_transfer.exporting import ONNX_FILE, ONNX_SUFFIX, load_onnx
from ser_transfer.model import EmotionModel
from ser_transfer.places import Output, fetched, is_url
from ser_transfer.splits import Split, make_split

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.finetuning import Step

Part = TypeVar("Part")
Shared = TypeVar("Shared", bound="SharedSettings")

Backend = Literal["torch", "onnx"]

# What `finetune` and `pretrain` read of a run that they go on with; the weights of finished folds are not.
RESUMED_FROM = ("*/state-*", "*/best-*", "*.npz", "*/pretrained.json", "*model/training.json")

CACHE = Path(os.environ.get("SER_TRANSFER_CACHE", "cache"))


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Which recordings, and what is known of them. All but `corpus` go to `ser_transfer.load_corpus`."""

    corpus: str | None = setting(
        None, help="name of a published corpus, or folder, table or dataset for your own recordings"
    )
    root: str | None = setting(
        None,
        help="folder of the corpus; the file of a table; Hub id or folder of a dataset; each may be a URL: "
        "s3://bucket/ravdess",
    )
    label_map: str | None = setting(
        None, help="map to another vocabulary, such as four_classes or calm_as_neutral"
    )
    part: str | None = setting(
        None, help="ravdess: speech, song or all; iemocap: all, improvised or scripted"
    )
    speaker_pattern: str | None = setting(
        None, help=r"folder: regular expression on the path with a group named speaker: '(?P<speaker>p\d+)'"
    )
    emotion_codes: dict[str, str | None] | None = setting(
        None, help="folder, table, dataset: their words for emotions, such as {hot: anger, laugh: null}"
    )
    language: str | None = setting(None, help="folder, table, dataset: ISO 639-1 code of the language")
    audio_column: str | None = setting(None, help="table, dataset: column of the audio")
    emotion_column: str | None = setting(None, help="table, dataset: column of the emotion")
    speaker_column: str | None = setting(None, help="table, dataset: column of the speaker")
    id_column: str | None = setting(None, help="table, dataset: column of unique ids")
    start_column: str | None = setting(None, help="table, dataset: column of the segment's start, in seconds")
    end_column: str | None = setting(None, help="table, dataset: column of the segment's end, in seconds")
    dataset_config: str | None = setting(None, help="dataset: its configuration")
    dataset_split: str | None = setting(None, help="dataset: its split, or several: train+test")
    dataset_revision: str | None = setting(None, help="dataset: commit of its Hub repository")

    streaming: bool = setting(
        False,
        help="dataset: embed reads it as it comes, without downloading it whole, and train from what embed "
        "kept of it",
    )

    def load_corpus(self, *, hears: bool = True) -> Dataset:
        """Load the corpus that these settings name.

        Args:
            hears: Whether its recordings will be read; of a streamed one they are not there.
        """
        if self.streaming and hears:
            raise SettingsError(
                "--streaming leaves no recordings behind, and this reads them: embed and train take it; "
                "without it the dataset is downloaded whole"
            )
        if self.corpus is None:
            raise SettingsError(
                f"no corpus: give --corpus NAME and --root DIR; names are {', '.join(CORPORA)}"
            )
        options = {item.name: getattr(self, item.name) for item in fields(CorpusSettings)}
        return load_corpus(options.pop("corpus"), options.pop("root"), **options)

    def stream_corpus(self) -> StreamedDataset:
        """Open the dataset that these settings name, to be read as it comes."""
        if self.corpus != "dataset":
            raise SettingsError(
                f"--streaming reads a dataset as it comes, and --corpus is {self.corpus}: leave it out"
            )
        stray = [name for name in ("part", "speaker_pattern") if getattr(self, name) is not None]
        if stray:
            raise SettingsError(f"a dataset has no --{stray[0].replace('_', '-')}: leave it out")
        others = ("corpus", "root", "label_map", "part", "speaker_pattern", "streaming")
        names = [item.name for item in fields(CorpusSettings) if item.name not in others]
        return StreamedDataset(self.root, **{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What turns a recording into numbers."""

    encoder: str | None = setting(
        None,
        help="Hub id, folder, or one of yamnet, vggish, mfcc, seed180, handcrafted, egemaps, compare, ge2e",
    )
    revision: str | None = setting(None, help="commit, tag or branch of the Hub repository")
    weights: str | None = setting(
        None, help="yamnet, vggish: file with the weights, in place of the download"
    )
    untrained: bool = setting(
        False, help="random weights in the same architecture: the floor that pretraining must clear"
    )
    pooling: str | None = setting(None, help="mean, mean_std or functionals; default: what suits the encoder")
    precision: Precision = setting(
        "float32", help="float32, or bf16 for matrix products in bfloat16 (of yamnet, a third of them)"
    )
    device: str = setting("auto", help="auto (CUDA, then MPS, then CPU), or a torch device such as cuda:1")
    seed: int = setting(0, help="of every random choice, random weights among them")

    def load_encoder(self) -> Encoder:
        """Find the encoder that these settings name."""
        return self.loading()(device=self.device)

    def loading(self) -> Callable[..., Encoder]:
        """Give what finds the encoder when it is called with a ``device``: here, or on another machine."""
        if self.encoder is None:
            raise SettingsError(
                "no encoder: give --encoder, a Hub id or folder, or a name such as yamnet or handcrafted"
            )
        return partial(
            load_encoder,
            self.encoder,
            revision=self.revision,
            weights=self.weights,
            untrained=self.untrained,
            seed=self.seed,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """Who is trained on, and who is tested."""

    split: str = setting(
        "speaker-folds",
        help="speaker-folds, leave-one-speaker-out, by-session, emobox (published folds), grouped-by:COLUMN, "
        "or speaker-dependent, which shares speakers between both sides and is stamped as such",
    )
    n_folds: int = setting(5, help="folds of speaker-folds, grouped-by and speaker-dependent")
    folds: str | int | None = setting(None, help="only these folds, by name: 1, or 1,4; default: all")
    allow: str | None = setting(
        None,
        help="what the sides may share without stopping the run: identical-audio, near-identical-audio, or "
        "both, with a comma",
    )

    @property
    def fold_names(self) -> list[str] | None:
        """The folds asked for; None for all."""
        return None if self.folds is None else str(self.folds).split(",")

    def make_split(self, corpus: Dataset, seed: int) -> Split:
        """Split the corpus as these settings say."""
        name = corpus.info.dataset_name
        made = make_split(corpus, self.split, n_folds=self.n_folds, seed=seed, corpus_name=name)
        return made if self.fold_names is None else made.only(self.fold_names)


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where embeddings are kept."""

    store: str = setting(
        str(CACHE / "embeddings"), help="folder of the embedding store, or its URL: s3://bucket/store"
    )


@dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """Embeddings that somebody shared, in place of a corpus and an encoder."""

    embeddings: str | None = setting(
        None,
        help="shared embeddings, a dataset's Hub id or a folder, in place of --corpus, --root, --encoder and "
        "--store; no audio is needed. Of several encoders, --encoder names another than the first",
    )
    embeddings_revision: str | None = setting(None, help="commit, tag or branch of the shared embeddings")


def filled_in(settings: Shared, told: Mapping[str, Any]) -> Shared:
    """Fill in the settings with which shared embeddings were made, and refuse others beside them.

    What agrees with them is no contradiction: so the recipe of a run on shared embeddings runs again.

    Args:
        settings: With corpus, encoder and store.
        told: Which were not the defaults.

    Raises:
        SettingsError: If one was given that they were not made with.
    """
    for kind in (CorpusSettings, EncoderSettings, StoreSettings):
        for item in fields(kind):
            value = getattr(settings, item.name)
            if item.name == "seed" or value == item.default or value == told.get(item.name):
                continue
            made = told.get(item.name)
            raise SettingsError(
                f"--{item.name.replace('_', '-')} {value} does not go with --embeddings "
                f"{settings.embeddings}"
                + (f", which were made with {made}" if made is not None else "")
                + ": they have their corpus and encoder with them; leave it out"
            )
    return replace(settings, **told)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a training with accelerate is started, followed, and taken up again."""

    device: str = setting(
        "auto", help="auto (what accelerate finds or was told at its launch), or cpu whatever there is"
    )
    resume: bool = setting(False, help="go on with an unfinished run of the same settings")
    restart: bool = setting(False, help="throw an unfinished or finished run away and start over")
    save_steps: int | None = setting(
        None, help="save all that is needed to go on every so many steps; default: after every epoch"
    )
    tracker: str = setting(
        "tensorboard", help="tensorboard, wandb, or another that accelerate knows and that is installed; none"
    )

    def those_of(self, kind: type[Part]) -> Part:
        """Give the settings that a part of the training is made of."""
        return kind(**{item.name: getattr(self, item.name) for item in fields(kind)})  # type: ignore[arg-type]

    def committing(self, out: Output) -> Callable[[str, Step], None]:
        """Give what is called after each step, with the fold, to put states where an output at a URL belongs.

        A state is saved after a step, and put with the first step behind it.
        """
        seen: tuple[str, int] | None = None

        def on_step(fold: str, step: Step) -> None:
            nonlocal seen
            is_due = self.save_steps is not None and (step.step - 1) % self.save_steps == 0
            if seen is not None and (is_due or seen != (fold, step.epoch)):
                out.commit()
            seen = fold, step.epoch

        return on_step

    def begin(self, folder: Path | Output, places: Sequence[Path]) -> None:
        """Stop before hours of training are lost to a forgotten flag, or throw them away as asked.

        Args:
            folder: Of the run, as it is told to the user.
            places: What holds its states, in folders of their own or itself.

        Raises:
            SettingsError: If it is unfinished, and neither ``--resume`` nor ``--restart`` was given, or both.
        """
        if self.resume and self.restart:
            raise SettingsError("--resume goes on and --restart starts over: give one of them")
        if self.restart:
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
        elif not self.resume and any(next(place.rglob("state-*"), None) for place in places):
            raise SettingsError(
                f"{folder} holds an unfinished training: go on with --resume, or start over with --restart"
            )


def load_model(
    name: str,
    *,
    backend: Backend = "torch",
    revision: str | None = None,
    weights: str | None = None,
    device: str = "auto",
) -> EmotionModel:
    """Read the model that a setting names: what `EmotionModel.from_pretrained` takes, or its ONNX file.

    Args:
        name: With ``onnx`` the folder of a model or run that has its ONNX file in it; such a file itself is
            run by onnxruntime whatever the backend.
        backend: What computes the answers.
        revision: Commit, tag or branch of a Hub id.
        weights: File with the weights of its encoder.
        device: ``"auto"``, or a torch device.

    Raises:
        SettingsError: If an ONNX file is given what only PyTorch can use.
        ModelError: If there is no model, or it cannot be read.
        ExportError: If there is no ONNX file, it is none of ours, or of another model than the one beside it.
    """
    if backend == "torch" and not name.lower().endswith(ONNX_SUFFIX):
        return EmotionModel.from_pretrained(name, revision=revision, weights=weights, device=device)
    given = {
        "revision": revision,
        "weights": weights,
        "device": None if device in ("auto", "cpu") else device,
    }
    stray = [f"--{flag}" for flag, value in given.items() if value is not None]
    if stray:
        raise SettingsError(
            f"an ONNX file holds its encoder, and is run on the CPU: leave {' and '.join(stray)} away"
        )
    return load_onnx(_onnx_from_url(name) if is_url(name) else name)


def _onnx_from_url(url: str) -> str:
    """Fetch an ONNX file, with what says whether it is still that of the model beside it."""
    from ser_transfer.runs.files import NOT_READ  # with all that draws: no other command needs it here

    above, _, name = url.rstrip("/").rpartition("/")
    if name.lower().endswith(ONNX_SUFFIX):
        return str(fetched(above, (name,)) / name)
    beside = [f"*{each}" for each in (ONNX_FILE, "metrics.json", "training.json", "config.json")]
    if name == "model":  # of a run, which has the file
        return str(fetched(above, beside, without=NOT_READ) / name)
    return str(fetched(url, beside, without=NOT_READ))
