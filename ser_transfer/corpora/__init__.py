"""Corpora: a folder, a table or a dataset becomes rows, one per utterance.

Each published corpus has a file of its own; anything else comes as `folder`, `table` or `dataset`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ser_transfer.corpora._rows import CorpusError, CorpusWarning, Utterance, corpus_dataset
from ser_transfer.corpora.card import CorpusCard
from ser_transfer.corpora.crema_d import CREMA_D, load_crema_d
from ser_transfer.corpora.dataset import load_hub_dataset
from ser_transfer.corpora.emodb import EMODB, load_emodb
from ser_transfer.corpora.folder import load_folder
from ser_transfer.corpora.iemocap import IEMOCAP, load_iemocap
from ser_transfer.corpora.mapping import apply_label_map
from ser_transfer.corpora.ravdess import RAVDESS, load_ravdess
from ser_transfer.corpora.savee import SAVEE, load_savee
from ser_transfer.corpora.streamed import StreamedDataset
from ser_transfer.corpora.synthetic import load_synthetic
from ser_transfer.corpora.table import load_table
from ser_transfer.corpora.tess import TESS, load_tess

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "CORPORA",
    "CORPUS_CARDS",
    "CorpusCard",
    "CorpusError",
    "CorpusWarning",
    "StreamedDataset",
    "Utterance",
    "apply_label_map",
    "corpus_dataset",
    "load_corpus",
]

CORPUS_CARDS: dict[str, CorpusCard] = {
    card.name: card for card in (RAVDESS, CREMA_D, TESS, EMODB, SAVEE, IEMOCAP)
}

# Each takes the root and, by keyword, the settings that fit it.
CORPORA: dict[str, Callable[..., Dataset]] = {
    "ravdess": load_ravdess,
    "crema_d": load_crema_d,
    "tess": load_tess,
    "emodb": load_emodb,
    "savee": load_savee,
    "iemocap": load_iemocap,
    "folder": load_folder,
    "table": load_table,
    "dataset": load_hub_dataset,
    "synthetic": load_synthetic,
}


def load_corpus(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    label_map: str | Mapping[str, str | None] | None = None,
    part: str | None = None,
    speaker_pattern: str | None = None,
    emotion_codes: Mapping[str, str | None] | None = None,
    language: str | None = None,
    audio_column: str | None = None,
    emotion_column: str | None = None,
    speaker_column: str | None = None,
    id_column: str | None = None,
    start_column: str | None = None,
    end_column: str | None = None,
    dataset_config: str | None = None,
    dataset_split: str | None = None,
    dataset_revision: str | None = None,
    streaming: bool = False,
) -> Dataset:
    """Load a corpus: one row per utterance, the same columns whatever it was.

    Columns: ``utterance_id`` (unique, stable under moving the folder), ``audio`` (undecoded: ``bytes`` and
    ``path``), ``emotion`` (a ClassLabel over the corpus's emotions, in vocabulary order), and, None where
    the corpus does not tell, those described at `Utterance`. ``info.dataset_name`` is `name`. What is odd,
    missing or left out is said in a `CorpusWarning`.

    Args:
        name: A name in `CORPORA`.
        root: The corpus's folder; for ``table`` its file; for ``dataset`` a Hub id or a folder.
        label_map: A name in `LABEL_MAPS`, or emotions to emotions, None for "left out".
        part: Part of a corpus that has parts. ravdess: ``speech``, ``song``, ``all``; iemocap: ``all``,
            ``improvised``, ``scripted``.
        speaker_pattern: For ``folder``: a regular expression with a group named ``speaker``.
        emotion_codes: For ``folder``, ``table``, ``dataset``: their words or codes to emotions, None for
            "left out".
        language: For the same: ISO 639-1 code.
        audio_column: For ``table`` and ``dataset``, as all columns below: paths, or audio.
        emotion_column: Emotions.
        speaker_column: Speakers; without it they are unknown.
        id_column: Unique ids of the rows.
        start_column: Start of the segment, in seconds.
        end_column: End of the segment, in seconds.
        dataset_config: For ``dataset``: its configuration.
        dataset_split: For ``dataset``: its split, or several, ``train+test``.
        dataset_revision: For ``dataset``: the commit of its Hub repository.
        streaming: For ``dataset``: labels and store keys, as ``embed --streaming`` has kept them, without any
            audio.

    Raises:
        CorpusError: If the corpus cannot be read, its name is unknown, or a setting does not fit it.
        LabelError: If a code or name stands for no emotion, or the label map does not fit.
    """
    settings = {
        "part": part,
        "speaker_pattern": speaker_pattern,
        "emotion_codes": emotion_codes,
        "language": language,
        "audio_column": audio_column,
        "emotion_column": emotion_column,
        "speaker_column": speaker_column,
        "id_column": id_column,
        "start_column": start_column,
        "end_column": end_column,
        "dataset_config": dataset_config,
        "dataset_split": dataset_split,
        "dataset_revision": dataset_revision,
        "streaming": streaming or None,
    }
    if name not in CORPORA:
        raise CorpusError(f"no corpus is called {name!r}; known are {', '.join(CORPORA)}")
    given = {setting: value for setting, value in settings.items() if value is not None}
    _check_settings(name, given)
    corpus = CORPORA[name](root, **given)
    if label_map is not None:
        corpus = apply_label_map(corpus, label_map)
    corpus.info.dataset_name = name
    return corpus


def _check_settings(name: str, given: Mapping[str, Any]) -> None:
    """Refuse settings that the corpus's loader does not take, naming those it takes."""
    takes = [setting for setting in inspect.signature(CORPORA[name]).parameters if setting != "root"]
    unfit = [setting for setting in given if setting not in takes]
    if unfit:
        raise CorpusError(
            f"corpus {name} has no setting {', '.join(unfit)}; besides root and label_map it takes "
            f"{', '.join(takes) or 'none'}"
        )
