"""Train a head on stored embeddings, and score it on speakers it has never heard.

python -m ser_transfer.train --corpus ravdess --root DIR --encoder yamnet --split emobox
python -m ser_transfer.train --embeddings user/name
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer._command import CallableModule, SettingsError, as_flags, command
from ser_transfer._setting import setting
from ser_transfer._settings import (
    CorpusSettings,
    EncoderSettings,
    SharedSettings,
    SplitSettings,
    StoreSettings,
    filled_in,
)
from ser_transfer._stored import refused_if_leaky, stored_embeddings, stored_frames
from ser_transfer.augment import Augmentation, Copies
from ser_transfer.cross_validation import (
    HeadChoice,
    Labels,
    Search,
    cross_validate,
    cross_validate_sequences,
    majority_floor,
)
from ser_transfer.embed import EmbedSettings
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.fill import keys_by_id
from ser_transfer.heads import SEQUENCE_HEADS
from ser_transfer.model import FrozenModel, SequenceModel
from ser_transfer.model.fitting import keep_model, keep_sequence_model, training_facts
from ser_transfer.places import mirrored
from ser_transfer.runs import MAJORITY, WANTED_ACCURACY, Mapped, Run, System, provenance, save_run
from ser_transfer.splits import Split, make_split
from ser_transfer.store import Embeddings, Frames

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.sharing.shared_embeddings import SharedEmbeddings


@dataclass(frozen=True, kw_only=True)
class TrainSettings(SharedSettings, StoreSettings, SplitSettings, EncoderSettings, CorpusSettings):
    """Train a head on stored embeddings, and score it on speakers it has never heard."""

    head: str = setting(
        "logistic_regression",
        help="logistic_regression, linear_svm, rbf_svm, knn, lda, mlp, nearest_centroid, gradient_boosting "
        "or layer_mix; on the frames of one layer: mean_mlp, attentive, lstm or cnn",
    )
    head_settings: dict[str, Any] = setting({}, help="fixed settings of the head: --head-settings.C 10")
    tune: bool = setting(True, help="choose the head's other settings on validation speakers, in each fold")
    balanced: bool = setting(True, help="weigh the emotions alike in training, as UAR does")
    layers: str = setting(
        "all",
        help="layers laid side by side: all, last, or names: layer_06,layer_12; or choose, on validation "
        "speakers, among all, each single one and their learned mix",
    )
    show_leak: bool = setting(
        False, help="score the same under a random split too, speakers on both sides, and print the gap"
    )
    wanted_accuracy: float = setting(
        WANTED_ACCURACY, help="for which the share of recordings is told that can be answered so well"
    )
    speaker_normalise: bool = setting(
        False,
        help="standardise features within each speaker; uses the test speakers' recordings, and is labelled",
    )
    baseline: str = setting("mfcc", help="handcrafted encoder to set beside it, or none")
    title: str | None = setting(None, help="the corpus's name in tables and plots; default: --corpus")
    out: str | None = setting(
        None, help="run folder, or a URL of one; default: outputs/<corpus>-<encoder>-<head>-<split>"
    )
    plots: bool = setting(True, help="draw the figures of the run")
    keep_model: bool = setting(
        True,
        help="fit a model on all utterances and keep it in the run folder; not for single folds, untrained "
        "encoders and normalised speakers",
    )

    augment: str | None = setting(
        None, help="train on augmented copies too, in the store by embed's --augment; see there"
    )
    n_copies: int = setting(1, help="augmented copies of each training utterance")
    n_draws: int | None = setting(
        None, help="heads on sequences: try so many combinations of the settings in each fold; default: none"
    )

    def copies(self) -> Copies | None:
        """Which augmented copies are trained on."""
        if self.augment is None:
            return None
        return Copies(Augmentation.parse(self.augment), self.n_copies, self.seed)

    @property
    def head_choice(self) -> HeadChoice:
        """Which head, and how its settings are found."""
        return HeadChoice(
            self.head,
            self.head_settings,
            tune=self.tune,
            class_weight="balanced" if self.balanced else None,
            random_state=self.seed,
        )

    @property
    def keeps_model(self) -> bool:
        """Whether a model of this run would be of use to anyone."""
        is_usable = self.folds is None and not self.untrained and not self.speaker_normalise
        return self.keep_model and is_usable


def train(
    corpus: Dataset,
    embeddings: Embeddings | Frames,
    *,
    baseline: Embeddings | None = None,
    split: str = "speaker-folds",
    n_folds: int = 5,
    folds: Sequence[str] | None = None,
    head: HeadChoice | str = "logistic_regression",
    layers: str | Sequence[str] = "all",
    n_draws: int | None = None,
    show_leak: bool = False,
    speaker_normalise: bool = False,
    wanted_accuracy: float = WANTED_ACCURACY,
    seed: int = 0,
    title: str | None = None,
) -> Run:
    """Train and test a head on every fold of a corpus, beside the baseline and the majority-class floor.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        embeddings: From `ser_transfer.embed`: the encoder under test. Augmented copies among them are trained
            on only. Or frames, from `ser_transfer.embed.embed_frames`, for a head on sequences.
        baseline: Embeddings of a handcrafted encoder, given the same head on the same folds (a logistic
            regression beside a head on sequences); None for none.
        split: A kind of split; see `ser_transfer.splits.make_split`.
        n_folds: Folds, where the kind has a choice.
        folds: Names of the folds to run; None for all.
        head: A name in `ser_transfer.heads.HEADS` or `SEQUENCE_HEADS`, or a `HeadChoice` with settings.
        layers: ``"all"``, ``"last"``, or names of layers to lay side by side; ``"choose"`` to choose among
            all, each single one and their learned mix, on validation speakers.
        n_draws: Of a head on sequences, how many combinations of its settings to try in each fold.
        show_leak: Score the same on a speaker-dependent split as well, to show what the leak is worth.
        speaker_normalise: Standardise features within each speaker; a setting of its own, stamped on the run.
        wanted_accuracy: Share of given answers that shall be right; how many can be given then is told.
        seed: Of the split and of the head.
        title: The corpus's name in tables and plots; None for the one it was loaded by.

    Returns:
        The run; printing it prints its table.

    Raises:
        SplitError: If the corpus cannot be split so, for want of speakers above all.
        TrainingError: If a fold cannot be trained on.
    """
    labels = Labels.of(corpus)
    name = corpus.info.dataset_name
    chosen = head if isinstance(head, HeadChoice) else HeadChoice(head, random_state=seed)
    on_baseline = chosen if isinstance(embeddings, Embeddings) else HeadChoice(random_state=seed)
    search = Search((chosen,), layer_names(embeddings, layers))
    reads_frames = isinstance(embeddings, Frames)

    def run(made: Split) -> Run:
        if isinstance(embeddings, Embeddings):
            answers = cross_validate(embeddings, labels, made, search, speaker_normalise=speaker_normalise)
        else:
            answers = cross_validate_sequences(embeddings, labels, made, chosen, n_draws=n_draws)
        known = provenance([embeddings])
        row = f"{embeddings.encoder} ({chosen.name})" if reads_frames else embeddings.encoder
        systems = [System.scored(row, "encoder", answers, labels, known, wanted_accuracy)]
        if baseline is not None and (baseline.fingerprint != embeddings.fingerprint or reads_frames):
            found = cross_validate(
                baseline,
                labels,
                made,
                Search((on_baseline,), layer_names(baseline, "all")),
                speaker_normalise=speaker_normalise,
            )
            systems.append(
                System.scored(
                    baseline.encoder, "baseline", found, labels, provenance([baseline]), wanted_accuracy
                )
            )
        systems.append(System.scored(MAJORITY, "floor", majority_floor(labels, made), labels))
        return Run(title or name or "corpus", made, search, speaker_normalise, tuple(systems))

    made = make_split(corpus, split, n_folds=n_folds, seed=seed, corpus_name=name)
    if folds is not None:
        made = made.only(folds)
    if not show_leak:
        return run(made)
    leaky = make_split(corpus, "speaker-dependent", n_folds=n_folds, seed=seed, corpus_name=name)
    return replace(run(made), leak=run(leaky))


def layer_names(embeddings: Embeddings | Frames, layers: str | Sequence[str]) -> tuple[str, ...] | None:
    """Resolve ``"all"``, ``"last"`` or ``"layer_06,layer_12"`` to names; None for ``"choose"``."""
    if isinstance(embeddings, Frames):
        return (embeddings.layer,)
    known = tuple(embeddings.layers)
    if layers == "choose":
        return None
    if layers == "all":
        return known
    if layers == "last":
        return known[-1:]
    return tuple(layers.split(",") if isinstance(layers, str) else layers)


@dataclass(frozen=True, eq=False)
class _Given:
    """What a run is made of: from the store, or from somebody who shared it."""

    settings: TrainSettings
    corpus: Dataset
    keys: Mapping[str, str]
    encoder: Encoder
    embeddings: Embeddings | Frames
    baseline: Embeddings | None
    shared: SharedEmbeddings | None = None


def _stored(settings: TrainSettings) -> _Given:
    corpus = settings.load_corpus(hears=False)
    keys = keys_by_id(corpus)
    encoder = settings.load_encoder()
    # --layers says which are read here, and of embed which are kept: it keeps all.
    embed_flags = as_flags(settings, EmbedSettings, without=("layers",))
    common: dict[str, Any] = {"copies": settings.copies(), "embed_flags": embed_flags}
    given: Embeddings | Frames
    if settings.head in SEQUENCE_HEADS:
        given = stored_frames(settings.store, keys, encoder, layer=_one_layer(settings, encoder), **common)
    else:
        given = stored_embeddings(settings.store, keys, encoder, pooling=settings.pooling, **common)
    baseline = None
    if settings.baseline != "none":
        handcrafted = load_encoder(settings.baseline)
        baseline = stored_embeddings(
            settings.store, keys, handcrafted, pooling=None, copies=None, embed_flags=embed_flags
        )
    return _Given(settings, corpus, keys, encoder, given, baseline)


def _shared(settings: TrainSettings, name: str) -> _Given:
    """Take what somebody shared; the baseline too, if they did.

    Raises:
        SettingsError: If a setting asks for what takes the recordings, or contradicts what was shared.
    """
    from ser_transfer.sharing.shared_embeddings import load_shared_embeddings

    if settings.head in SEQUENCE_HEADS:
        raise SettingsError(
            f"{settings.head} reads frames, and shared embeddings have none: give another head"
        )
    if settings.augment is not None:
        raise SettingsError("augmented copies take the recordings: leave --augment out beside --embeddings")
    shared = load_shared_embeddings(name, settings.embeddings_revision)
    encoder = settings.encoder or shared.embeddings.encoder
    if encoder not in shared.tables:
        raise SettingsError(f"{name} has no embeddings by {encoder}; it has {', '.join(shared.tables)}")
    settings = filled_in(settings, shared.settings(encoder))
    settings = replace(settings, embeddings_revision=shared.revision, title=settings.title or shared.title)
    baseline = None if settings.baseline == "none" else shared.tables.get(settings.baseline)
    if baseline is None and settings.baseline != "none":
        warnings.warn(
            f"{name} has no embeddings of the baseline {settings.baseline}, which take the recordings: the "
            "score stands without one",
            stacklevel=2,
        )
    return _Given(
        settings,
        shared.corpus,
        shared.keys,
        shared.encoders[encoder],
        shared.tables[encoder],
        baseline,
        shared,
    )


def _run(settings: TrainSettings) -> int:
    if settings.embeddings is None and settings.embeddings_revision is not None:
        raise SettingsError("--embeddings-revision of what? Give --embeddings user/name too")
    found = _stored(settings) if settings.embeddings is None else _shared(settings, settings.embeddings)
    settings, corpus, given, baseline = found.settings, found.corpus, found.embeddings, found.baseline
    made = settings.make_split(corpus, settings.seed)
    audit = refused_if_leaky(
        corpus,
        made,
        found.keys,
        baseline,
        settings.allow,
        {str(settings.encoder): settings.weights},
        found.shared,
    )
    mapped = None
    if isinstance(given, Embeddings):
        mapped = Mapped(given, layer_names(given, settings.layers) or tuple(given.layers), Labels.of(corpus))
    with mirrored(settings.out or default_folder(settings)) as out:
        run = train(
            corpus,
            given,
            baseline=baseline,
            split=settings.split,
            n_folds=settings.n_folds,
            folds=settings.fold_names,
            head=settings.head_choice,
            layers=settings.layers,
            n_draws=settings.n_draws,
            show_leak=settings.show_leak,
            speaker_normalise=settings.speaker_normalise,
            wanted_accuracy=settings.wanted_accuracy,
            seed=settings.seed,
            title=settings.title,
        )
        run = replace(run, audit=str(audit))
        write_model = model_of(run, corpus, given, found.encoder).save if settings.keeps_model else None
        save_run(
            run, out.folder, asdict(settings), plots=settings.plots, mapped=mapped, write_model=write_model
        )
    print(f"{run}\n\nwritten to {out}")
    return 0


def _one_layer(settings: TrainSettings, encoder: Encoder) -> str:
    """Name the layer whose frames a head on sequences reads."""
    known = encoder.layer_names
    if settings.layers == "last" or (settings.layers == "all" and len(known) == 1):
        return known[-1]
    if settings.layers not in known:
        raise SettingsError(
            f"{settings.head} reads the frames of one layer, and --layers is {settings.layers}: name one of "
            f"{', '.join(known)}"
        )
    return settings.layers


def model_of(
    run: Run,
    corpus: Dataset,
    given: Embeddings | Frames,
    encoder: Encoder,
    head: HeadChoice | None = None,
) -> FrozenModel | SequenceModel:
    """Fit the model to keep, on every utterance: what most folds of a run of `train` chose.

    Args:
        run: Of `train` on the same corpus.
        corpus: From `ser_transfer.load_corpus`.
        given: The embeddings or frames that the run was given.
        encoder: That they are by.
        head: The run's; None for the first that its folds could choose.
    """
    assert run.search is not None  # `train` has searched
    scored, labels = run.systems[0], Labels.of(corpus)
    choice = head or run.search.heads[0]
    name = corpus.info.dataset_name
    facts = training_facts(run.corpus, name, labels, run.split, scored, choice.name)
    if isinstance(given, Frames):
        return keep_sequence_model(given, encoder, labels, choice, scored.predictions, facts)
    return keep_model(given, encoder, labels, run.search, scored.predictions, facts)


def default_folder(settings: TrainSettings) -> Path:
    """Name a run folder after what was asked: corpus, encoder, head, split, and what sets the run apart."""
    words = [settings.corpus, settings.encoder, settings.head, settings.split]
    words += ["untrained"] * settings.untrained + ["speaker-normalised"] * settings.speaker_normalise
    words += ["augmented"] * (settings.augment is not None)
    words += [f"fold-{settings.folds}"] if settings.folds is not None else []
    return Path("outputs") / "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", str(word)).strip("_") for word in words)


main = command(TrainSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
