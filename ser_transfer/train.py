"""Train a head on stored embeddings, and score it on speakers it has never heard.

python -m ser_transfer.train --corpus ravdess --root DIR --encoder yamnet --split emobox
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer._command import CallableModule, as_flags, command, setting
from ser_transfer._settings import CorpusSettings, EncoderSettings, StoreSettings
from ser_transfer.cross_validation import HeadChoice, Labels, cross_validate, fit_on_all, majority_floor
from ser_transfer.embed import EmbedSettings, keys_by_id, part_of
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.model import EmotionModel
from ser_transfer.runs import Role, Run, System
from ser_transfer.splits import make_split
from ser_transfer.store import Embeddings, EmbeddingStore, StoreError

if TYPE_CHECKING:
    from datasets import Dataset

MAJORITY = "majority class"


@dataclass(frozen=True, kw_only=True)
class TrainSettings(StoreSettings, EncoderSettings, CorpusSettings):
    """Train a head on stored embeddings, and score it on speakers it has never heard."""

    split: str = setting(
        "speaker-folds",
        help="speaker-folds, leave-one-speaker-out, by-session, emobox (published folds), grouped-by:COLUMN, "
        "or speaker-dependent, which shares speakers between both sides and is stamped as such",
    )
    n_folds: int = setting(5, help="folds of speaker-folds, grouped-by and speaker-dependent")
    folds: str | int | None = setting(None, help="only these folds, by name: 1, or 1,4; default: all")
    head: str = setting(
        "logistic_regression",
        help="logistic_regression, linear_svm, rbf_svm, knn, lda, mlp, nearest_centroid or gradient_boosting",
    )
    head_settings: dict[str, Any] = setting({}, help="fixed settings of the head: --head-settings.C 10")
    tune: bool = setting(True, help="choose the head's other settings on validation speakers, in each fold")
    balanced: bool = setting(True, help="weigh the emotions alike in training, as UAR does")
    layers: str = setting("all", help="layers laid side by side: all, last, or names: layer_06,layer_12")
    speaker_normalise: bool = setting(
        False,
        help="standardise features within each speaker; uses the test speakers' recordings, and is labelled",
    )
    baseline: str = setting("mfcc", help="handcrafted encoder to set beside it, or none")
    title: str | None = setting(None, help="the corpus's name in tables and plots; default: --corpus")
    out: str | None = setting(None, help="run folder; default: outputs/<corpus>-<encoder>-<head>-<split>")
    plots: bool = setting(True, help="draw the figures of the run")
    keep_model: bool = setting(
        True,
        help="fit a model on all utterances and keep it in the run folder; not for single folds, untrained "
        "encoders and normalised speakers",
    )

    @property
    def keeps_model(self) -> bool:
        """Whether a model of this run would be of use to anyone."""
        is_usable = self.folds is None and not self.untrained and not self.speaker_normalise
        return self.keep_model and is_usable


def train(
    corpus: Dataset,
    embeddings: Embeddings,
    *,
    baseline: Embeddings | None = None,
    split: str = "speaker-folds",
    n_folds: int = 5,
    folds: Sequence[str] | None = None,
    head: HeadChoice | str = "logistic_regression",
    layers: str | Sequence[str] = "all",
    speaker_normalise: bool = False,
    seed: int = 0,
    title: str | None = None,
) -> Run:
    """Train and test a head on every fold of a corpus, beside the baseline and the majority-class floor.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        embeddings: From `ser_transfer.embed`: the encoder under test.
        baseline: Embeddings of a handcrafted encoder, given the same head on the same folds; None for none.
        split: A kind of split; see `ser_transfer.splits.make_split`.
        n_folds: Folds, where the kind has a choice.
        folds: Names of the folds to run; None for all.
        head: A name in `ser_transfer.heads.HEADS`, or a `HeadChoice` with settings.
        layers: ``"all"``, ``"last"``, or names of layers to lay side by side.
        speaker_normalise: Standardise features within each speaker; a setting of its own, stamped on the run.
        seed: Of the split and of the head.
        title: The corpus's name in tables and plots; None for the one it was loaded by.

    Returns:
        The run; printing it prints its table.

    Raises:
        SplitError: If the corpus cannot be split so, for want of speakers above all.
        TrainingError: If a fold cannot be trained on.
    """
    labels = Labels.of(corpus)
    chosen = head if isinstance(head, HeadChoice) else HeadChoice(head, random_state=seed)
    name = corpus.info.dataset_name
    made = make_split(corpus, split, n_folds=n_folds, seed=seed, corpus_name=name)
    if folds is not None:
        made = made.only(folds)
    competing: list[tuple[Role, Embeddings]] = [("encoder", embeddings)]
    if baseline is not None and baseline.fingerprint != embeddings.fingerprint:
        competing.append(("baseline", baseline))
    systems = []
    for role, system in competing:
        names = layer_names(system, layers if role == "encoder" else "all")
        predictions = cross_validate(
            system, labels, made, chosen, layers=names, speaker_normalise=speaker_normalise
        )
        systems.append(System.scored(system.encoder, role, predictions, **_provenance(system, names)))
    systems.append(System.scored(MAJORITY, "floor", majority_floor(labels, made)))
    return Run(title or name or "corpus", made, chosen, speaker_normalise, tuple(systems))


def layer_names(embeddings: Embeddings, layers: str | Sequence[str]) -> list[str]:
    """Resolve ``"all"``, ``"last"`` or ``"layer_06,layer_12"`` to names of layers."""
    known = list(embeddings.layers)
    if layers == "all":
        return known
    if layers == "last":
        return known[-1:]
    return layers.split(",") if isinstance(layers, str) else list(layers)


def _provenance(embeddings: Embeddings, layers: Sequence[str]) -> dict[str, Any]:
    return {
        "encoder": embeddings.encoder,
        "fingerprint": embeddings.fingerprint,
        "pooling": embeddings.pooling,
        "precision": embeddings.precision,
        "layers": list(layers),
    }


def _run(settings: TrainSettings) -> int:
    corpus = settings.load_corpus()
    keys = keys_by_id(corpus)
    encoder = settings.load_encoder()
    embeddings = _stored(settings, keys, encoder, settings.pooling)
    baseline = None
    if settings.baseline != "none":
        baseline = _stored(settings, keys, load_encoder(settings.baseline), None)
    head = HeadChoice(
        settings.head,
        settings.head_settings,
        tune=settings.tune,
        class_weight="balanced" if settings.balanced else None,
        random_state=settings.seed,
    )
    run = train(
        corpus,
        embeddings,
        baseline=baseline,
        split=settings.split,
        n_folds=settings.n_folds,
        folds=None if settings.folds is None else str(settings.folds).split(","),
        head=head,
        layers=settings.layers,
        speaker_normalise=settings.speaker_normalise,
        seed=settings.seed,
        title=settings.title,
    )
    folder = Path(settings.out) if settings.out else default_folder(settings)
    run.save(folder, asdict(settings), plots=settings.plots)
    if settings.keeps_model:
        model_of(run, corpus, embeddings, encoder).save(folder / "model")
    print(f"{run}\n\nwritten to {folder}")
    return 0


def model_of(run: Run, corpus: Dataset, embeddings: Embeddings, encoder: Encoder) -> EmotionModel:
    """Fit the model to keep, on every utterance: the head of the run, with the settings most folds chose."""
    scored = run.systems[0]
    layers = tuple(scored.embeddings["layers"])
    head = fit_on_all(embeddings, Labels.of(corpus), run.head, scored.predictions, layers)
    training = {
        "corpus": run.corpus,
        "n_utterances": len(embeddings.utterance_ids),
        "speakers": sorted({speaker for speaker in corpus["speaker"] if speaker is not None}),
        "split": run.split.description,
        "speaker_independent": run.split.speaker_independent,
        "uar": scored.scores.uar,
        "head": run.head.name,
    }
    return EmotionModel(encoder, embeddings.pooling, layers, head, training)


def _stored(
    settings: TrainSettings, keys: Mapping[str, str], encoder: Encoder, pooling: str | None
) -> Embeddings:
    """Read an encoder's embeddings; what is missing is answered with the command that computes it."""
    try:
        store = EmbeddingStore(settings.store)
        return store.embeddings(part_of(encoder, pooling), list(keys), list(keys.values()))
    except StoreError as error:
        flags = as_flags(settings, EmbedSettings)
        raise StoreError(f"{error}\nFirst run: python -m ser_transfer.embed {flags}") from error


def default_folder(settings: TrainSettings) -> Path:
    """Name a run folder after what was asked: corpus, encoder, head, split, and what sets the run apart."""
    words = [settings.corpus, settings.encoder, settings.head, settings.split]
    words += ["untrained"] * settings.untrained + ["speaker-normalised"] * settings.speaker_normalise
    words += [f"fold-{settings.folds}"] if settings.folds is not None else []
    return Path("outputs") / "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", str(word)).strip("_") for word in words)


main = command(TrainSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
