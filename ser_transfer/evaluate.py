"""Score a saved model on a corpus that it has not seen, on the emotions that both know.

python -m ser_transfer.evaluate --model outputs/RUN/model --corpus emodb --root DIR
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings, StoreSettings
from ser_transfer._stored import computed_embeddings
from ser_transfer.cross_validation import Labels, Predictions, TrainingError
from ser_transfer.encoders import load_encoder
from ser_transfer.labels import resolve_label_map
from ser_transfer.model import EmotionModel, encoder_name
from ser_transfer.runs import Role, Run, System, save_run
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from datasets import Dataset

SHARED_SPEAKERS = "shared-speakers"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(StoreSettings, CorpusSettings):
    """Score a saved model on a corpus that it has not seen, on the emotions that both know."""

    model: str | None = setting(None, help="folder of a model, such as outputs/RUN/model")
    weights: str | None = setting(None, help="file with the weights of the model's encoder, yamnet or vggish")
    baseline_model: str | None = setting(None, help="folder of a model to set beside it, on mfcc say")
    allow: str | None = setting(
        None, help=f"{SHARED_SPEAKERS}: score speakers that the model was trained on; stamped on every output"
    )
    title: str | None = setting(None, help="the corpus's name in tables and plots; default: --corpus")
    out: str | None = setting(None, help="run folder; default: outputs/evaluate-<corpus>-<model>")
    plots: bool = setting(True, help="draw the figures and the report")


@dataclass(frozen=True)
class Matching:
    """How a model's emotions and a corpus's are brought together.

    Attributes:
        classes: The emotions that both know, after the label map.
        of_model: Per emotion of the model, the one it counts as; None where it is left out.
        left_out: Utterances of the corpus whose emotion the model does not know, by emotion.
    """

    classes: tuple[str, ...]
    of_model: Mapping[str, str | None]
    left_out: Mapping[str, int]

    @classmethod
    def of(cls, model: EmotionModel, labels: Labels, label_map: str | None = None) -> Matching:
        """Match the classes of a model and of a corpus whose labels the map was applied to already.

        Raises:
            TrainingError: If they share fewer than two emotions.
        """
        mapping = {} if label_map is None else resolve_label_map(label_map)
        targets = {emotion: mapping.get(emotion, emotion) for emotion in model.classes}
        known = set(targets.values())
        classes = tuple(emotion for emotion in labels.classes if emotion in known)
        if len(classes) < 2:
            raise TrainingError(
                f"the model knows {', '.join(model.classes)} and the corpus {', '.join(labels.classes)}: "
                "they share fewer than two emotions; bring them together with --label-map"
            )
        strange = Counter(emotion for emotion in labels.emotions.values() if emotion not in classes)
        of_model = {emotion: target if target in classes else None for emotion, target in targets.items()}
        return cls(classes, of_model, dict(strange))

    def __str__(self) -> str:
        renamed = [f"{a} as {b}" for a, b in self.of_model.items() if b is not None and a != b]
        unused = [emotion for emotion, target in self.of_model.items() if target is None]
        strange = [f"{emotion} ({n} utterances)" for emotion, n in self.left_out.items()]
        lines = [f"emotions that both know: {', '.join(self.classes)}"]
        lines += [f"of the model, counted: {', '.join(renamed)}"] if renamed else []
        lines += [f"of the model, never answered here: {', '.join(unused)}"] if unused else []
        lines += [f"of the corpus, left out: {', '.join(strange)}"] if strange else []
        return "\n".join(lines)


def evaluate(
    model: EmotionModel,
    corpus: Dataset,
    embeddings: Embeddings,
    *,
    label_map: str | None = None,
    title: str | None = None,
    role: Role = "encoder",
    allow_shared_speakers: bool = False,
) -> Run:
    """Score a model on a corpus, on the emotions that both know.

    The model answers among those emotions only: the probabilities of the others are left out, and the rest
    is brought to a sum of 1.

    Args:
        model: From `EmotionModel.load`.
        corpus: From `ser_transfer.load_corpus`, with the label map applied.
        embeddings: Of the corpus, by the model's encoder under its pooling.
        label_map: A name in `ser_transfer.labels.LABEL_MAPS`, applied to the model's emotions.
        title: The corpus's name in tables and plots; None for the one it was loaded by.
        role: Of the row.
        allow_shared_speakers: Score speakers that the model was trained on too.

    Returns:
        A run of one system.

    Raises:
        TrainingError: If they share fewer than two emotions, or speakers.
    """
    labels = Labels.of(corpus)
    name = corpus.info.dataset_name or "corpus"
    matching = Matching.of(model, labels, label_map)
    ids = [id_ for id_ in embeddings.utterance_ids if labels.emotions[id_] in matching.classes]
    shared = _shared_speakers(model, name, labels, ids)
    if shared and not allow_shared_speakers:
        raise TrainingError(
            f"the model was trained on {len(shared)} of the corpus's speakers ({', '.join(shared[:3])}): "
            f"its score on them says nothing about new speakers. Take another corpus, the run's own "
            f"cross-validated score, or type --allow {SHARED_SPEAKERS}"
        )
    given = model.probabilities_of(embeddings.select(ids))
    probabilities = np.zeros((len(ids), len(matching.classes)))
    for column, emotion in enumerate(model.classes):
        target = matching.of_model[emotion]
        if target is not None:
            probabilities[:, matching.classes.index(target)] += given[:, column]
    probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    predictions = Predictions(
        utterance_ids=tuple(ids),
        folds=("all",) * len(ids),
        speakers=tuple(labels.speakers[id_] for id_ in ids),
        truth=tuple(labels.emotions[id_] for id_ in ids),
        probabilities=probabilities,
        classes=matching.classes,
    )
    description = f"trained on {model.training['corpus']}, tested on all of it"
    if shared:
        description += f", {len(shared)} speakers shared with training"
    split = Split(
        "evaluate",
        (Fold("all", (), (), tuple(ids)),),
        not shared,
        description,
        tuple(str(matching).splitlines()),
    )
    system = System.scored(_name(model), role, predictions, labels)
    return Run(title or name, split, None, False, (system,))


def _name(model: EmotionModel) -> str:
    return f"{model.encoder.name}, trained on {model.training['corpus']}"


def _shared_speakers(model: EmotionModel, corpus: str, labels: Labels, ids: Sequence[str]) -> list[str]:
    """Name the speakers that are on both sides; names mean the same person within one corpus only."""
    if model.training.get("corpus_name", model.training["corpus"]) != corpus:
        return []
    heard = {labels.speakers[id_] for id_ in ids} & set(model.training["speakers"])
    return sorted(speaker for speaker in heard if speaker is not None)


def _run(settings: EvaluateSettings) -> int:
    if settings.model is None:
        raise SettingsError("no model: give --model, the folder model/ of a run of ser_transfer.train")
    corpus = settings.load_corpus()
    runs = []
    roles: list[tuple[str | None, Role]] = [
        (settings.model, "encoder"),
        (settings.baseline_model, "baseline"),
    ]
    for folder, role in roles:
        if folder is None:
            continue
        encoder = None
        if role == "encoder" and settings.weights is not None:
            encoder = load_encoder(encoder_name(folder), weights=settings.weights)
        model = EmotionModel.load(folder, encoder)
        runs.append(
            evaluate(
                model,
                corpus,
                computed_embeddings(
                    settings.store, corpus, model.encoder, pooling=model.pooling, title=settings.title
                ),
                label_map=settings.label_map,
                title=settings.title,
                role=role,
                allow_shared_speakers=settings.allow == SHARED_SPEAKERS,
            )
        )
    run = replace(runs[0], systems=tuple(system for each in runs for system in each.systems))
    slug = Path(settings.model).resolve().parent.name
    folder_out = Path(settings.out or f"outputs/evaluate-{settings.corpus}-{slug}")
    save_run(run, folder_out, asdict(settings), plots=settings.plots)
    print(f"{run}\n\nwritten to {folder_out}")
    return 0


main = command(EvaluateSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
