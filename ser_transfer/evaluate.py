"""Score a saved model on a corpus that it has not seen, on the emotions that both know.

python -m ser_transfer.evaluate --model outputs/RUN --corpus emodb --root DIR
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer._settings import CorpusSettings, StoreSettings, load_model
from ser_transfer._stored import computed_embeddings
from ser_transfer.cross_validation import Labels, Predictions, TrainingError
from ser_transfer.encoders.heard import heard_among
from ser_transfer.encoders.pooled import Recording
from ser_transfer.fill import SOURCE_COLUMNS
from ser_transfer.labels import resolve_label_map
from ser_transfer.model import SHIPPED_MODELS, EmotionModel, FrozenModel
from ser_transfer.places import is_url, mirrored
from ser_transfer.runs import Role, Run, System, save_run
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from datasets import Dataset

SHARED_SPEAKERS = "shared-speakers"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(StoreSettings, CorpusSettings):
    """Score a saved model on a corpus that it has not seen, on the emotions that both know."""

    model: str | None = setting(
        None,
        help="folder of a run or of its model, a Hub id, a shipped one such as emodb-handcrafted, or an ONNX "
        "file of ser_transfer.export",
    )
    weights: str | None = setting(None, help="file with the weights of the model's encoder, yamnet or vggish")
    baseline_model: str | None = setting(None, help="model to set beside it, such as emodb-mfcc")
    allow: str | None = setting(
        None, help=f"{SHARED_SPEAKERS}: score speakers that the model was trained on; stamped on every output"
    )
    title: str | None = setting(None, help="the corpus's name in tables and plots; default: --corpus")
    out: str | None = setting(
        None, help="run folder, or a URL of one; default: outputs/evaluate-<corpus>-<model>"
    )
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
    embeddings: Embeddings | None = None,
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
        model: From `EmotionModel.from_pretrained`.
        corpus: From `ser_transfer.load_corpus`, with the label map applied.
        embeddings: Of the corpus, by the encoder of a `FrozenModel` under its pooling, so that nothing is
            computed twice; None to let the model hear the recordings.
        label_map: A name in `ser_transfer.labels.LABEL_MAPS`, applied to the model's emotions.
        title: The corpus's name in tables and plots; None for the one it was loaded by.
        role: Of the row.
        allow_shared_speakers: Score speakers that the model was trained on too.

    Returns:
        A run of one system.

    Raises:
        TrainingError: If they share fewer than two emotions, or speakers.
        AudioError: If a recording cannot be used.
    """
    labels = Labels.of(corpus)
    name = corpus.info.dataset_name or "corpus"
    matching = Matching.of(model, labels, label_map)
    known = labels.emotions if embeddings is None else embeddings.utterance_ids
    ids = [id_ for id_ in known if labels.emotions[id_] in matching.classes]
    shared = _shared_speakers(model, name, labels, ids)
    if shared and not allow_shared_speakers:
        raise TrainingError(
            f"the model was trained on {len(shared)} of the corpus's speakers ({', '.join(shared[:3])}): "
            f"its score on them says nothing about new speakers. Take another corpus, the run's own "
            f"cross-validated score, or type --allow {SHARED_SPEAKERS}"
        )
    if isinstance(model, FrozenModel) and embeddings is not None:
        given = model.probabilities_of(embeddings.select(ids))
    else:
        given = _heard(model, corpus, ids)
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
    description = f"trained on {model.training.get('corpus', 'unknown speech')}, tested on all of it"
    if shared:
        description += f", {len(shared)} speakers shared with training"
    split = Split(
        "evaluate",
        (Fold("all", (), (), tuple(ids)),),
        not shared,
        description,
        tuple(str(matching).splitlines()),
    )
    system = System.scored(model.name, role, predictions, labels)
    return Run(title or name, split, None, False, (system,))


def _heard(model: EmotionModel, corpus: Dataset, ids: Sequence[str]) -> npt.NDArray[np.float64]:
    """Let a model hear some utterances of a corpus: probabilities in the order of the ids."""
    row_of = {id_: row for row, id_ in enumerate(corpus["utterance_id"][:])}
    sources = corpus.select_columns(list(SOURCE_COLUMNS))

    def recordings() -> Iterator[Recording]:
        for id_ in ids:
            source = sources[row_of[id_]]
            yield Recording(id_, *(source[name] for name in SOURCE_COLUMNS))

    found = {}
    for answer in model.answers(recordings()):
        if answer.error is not None:
            raise answer.error
        found[answer.key] = answer.probabilities
    return np.array([found[id_] for id_ in ids])


def _shared_speakers(model: EmotionModel, corpus: str, labels: Labels, ids: Sequence[str]) -> list[str]:
    """Name the speakers that are on both sides; names mean the same person within one corpus only."""
    if model.training.get("corpus_name") != corpus:
        return []
    return heard_among(model.training, (labels.speakers[id_] for id_ in ids))


def _run(settings: EvaluateSettings) -> int:
    if settings.model is None:
        raise SettingsError(
            "no model: give --model, the folder of a run of ser_transfer.train or finetune, or one of "
            f"{', '.join(SHIPPED_MODELS)}"
        )
    corpus = settings.load_corpus()
    with mirrored(settings.out or f"outputs/evaluate-{settings.corpus}-{_slug(settings.model)}") as out:
        runs = []
        roles: list[tuple[str | None, Role]] = [
            (settings.model, "encoder"),
            (settings.baseline_model, "baseline"),
        ]
        for folder, role in roles:
            if folder is None:
                continue
            weights = settings.weights if role == "encoder" else None
            model = load_model(folder, weights=weights)
            embeddings = None
            if isinstance(model, FrozenModel):
                embeddings = computed_embeddings(
                    settings.store, corpus, model.encoder, pooling=model.pooling, title=settings.title
                )
            runs.append(
                evaluate(
                    model,
                    corpus,
                    embeddings,
                    label_map=settings.label_map,
                    title=settings.title,
                    role=role,
                    allow_shared_speakers=settings.allow == SHARED_SPEAKERS,
                )
            )
        run = replace(runs[0], systems=tuple(system for each in runs for system in each.systems))
        save_run(run, out.folder, asdict(settings), plots=settings.plots)
    print(f"{run}\n\nwritten to {out}")
    return 0


def _slug(model: str) -> str:
    """Name a model in the name of a folder: its run, or its Hub id."""
    if is_url(model):
        above, _, last = model.rstrip("/").rpartition("/")
        return above.rpartition("/")[2] if last == "model" else last
    folder = Path(model)
    if folder.is_file():
        return folder.name
    if not folder.is_dir():
        return model.replace("/", "-")
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "model" else resolved.name


main = command(EvaluateSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
