"""A `datasets` repository of embeddings: what encoders say of a corpus, without its audio.

    README.md                                    the card
    embeddings.json                              which encoders, which corpus, and the hash of every file
    <encoder>/train-00000-of-00001.parquet       a configuration per encoder: labels, one column per layer

Whoever reads it trains heads without the recordings, and without the machine that the encoder needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer import __version__
from ser_transfer.cards.corpus import LANGUAGE, UNTITLED, TrainingCorpus
from ser_transfer.cards.embeddings_card import embeddings_card
from ser_transfer.cards.kept import is_known_on_hub, shown_encoder
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.encoders import Encoder
from ser_transfer.encoders.heard import heard_speakers
from ser_transfer.fill import keys_by_id
from ser_transfer.runs import slug
from ser_transfer.sharing.corpus_rows import RECORDING, CorpusRows, mapped_in_words, published_rows
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.parquet import MAX_BYTES, vectors, write_rows
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from datasets import Dataset, Features

FORMAT = 1  # of embeddings.json and the files beside it; a reader refuses what is newer
DESCRIPTION = "embeddings.json"
SPLIT = "train"  # what datasets calls the only split there is
UNTRAINED = " (untrained)"  # at the end of the name of an encoder with random weights


@dataclass(frozen=True, eq=False)
class Embedded:
    """An encoder, and what it says of the corpus.

    Attributes:
        encoder: Its weights are not needed.
        embeddings: By it; augmented copies among them are not shared.
        weights: The file of its weights, where that was given apart.
    """

    encoder: Encoder
    embeddings: Embeddings
    weights: str | Path | None = None


def embeddings_repository(
    corpus: Dataset,
    embedded: Sequence[Embedded],
    folder: str | Path,
    *,
    repo_id: str | None = None,
    title: str | None = None,
    part: str | None = None,
    label_map: str | Mapping[str, str | None] | None = None,
    dataset_id: str | None = None,
    keys: Mapping[str, str] | None = None,
    with_text: bool = False,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the repository of some encoders' embeddings of a corpus.

    There is no audio in it, and no path of this machine. People in recordings of someone's own are numbered;
    see `ser_transfer.sharing.corpus_rows`.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        embedded: The encoder first that heads are to be trained on; then others, the baseline above all.
        folder: Empty, or made.
        repo_id: Where it will be, for the card; None leaves a placeholder.
        title: The corpus's name on the card; None for its usual one.
        part: Of a corpus that has parts, as `load_corpus` was asked for it.
        label_map: As `load_corpus` was given it, for the card.
        dataset_id: The corpus's id on the Hub, where it came from there.
        keys: Content of the audio by utterance id, from `ser_transfer.fill.keys_by_id`; None to read it.
        with_text: Share the sentences and intensities of recordings of someone's own, too.
        max_bytes: Per file.

    Raises:
        SharingError: If the folder holds anything or cannot be written, or an encoder was not trained.
        StoreError: If an utterance of the corpus has no embedding.
        AudioError: If a recording cannot be read for its key.
    """
    folder = Path(folder)
    _refuse(corpus, embedded, folder)
    ids = list(corpus["utterance_id"][:])
    tables = [each.embeddings.select(ids) for each in embedded]
    rows = published_rows(corpus, keys or keys_by_id(corpus), _content(tables[0]), with_text=with_text)
    configs = _config_names([each.encoder for each in embedded])
    described = [
        {
            "config": config,
            **_encoder(each, corpus, rows),
            "files": write_rows(
                {**rows.columns, **_layers(table, rows)},
                _features(corpus, rows, table),
                folder / config,
                SPLIT,
                max_bytes,
            ),
        }
        for config, each, table in zip(configs, embedded, tables, strict=True)
    ]
    told = _corpus(corpus, rows, title=title, part=part, label_map=label_map, dataset_id=dataset_id)
    facts = {
        "format": FORMAT,
        "ser_transfer": __version__,
        "corpus": {
            "name": told.name,
            "title": told.title,
            "part": told.part,
            "label_map": told.label_map,
            "language": told.languages[0] if told.published is None and len(told.languages) == 1 else None,
            "pseudonyms": rows.pseudonyms is not None,
            "classes": list(corpus.features["emotion"].names),
            "n_utterances": len(rows.utterance_ids),
            "n_speakers": len(told.speakers),
        },
        "encoders": described,
    }
    try:
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SharingError(f"cannot write to {folder}: {error.strerror}") from error
    embeddings_card(facts, told, list(rows.columns), repo_id).write(folder)


def _refuse(corpus: Dataset, embedded: Sequence[Embedded], folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise SharingError(f"{folder} is not empty, and all in it would be shared: name another folder")
    if not embedded:
        raise SharingError("there are no embeddings to share: give those of one encoder or more")
    names = [shown_encoder(each.encoder.name) for each in embedded]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise SharingError(f"two encoders are called {twice[0]}, and are not to be told apart: share one")
    for each in embedded:
        if each.encoder.name.endswith(UNTRAINED):
            raise SharingError(f"{each.encoder.name} has random weights, which help nobody: leave it out")
        if each.encoder.fingerprint != each.embeddings.fingerprint:
            raise SharingError(
                f"the embeddings by {each.embeddings.encoder} were made by another encoder than "
                f"{each.encoder.name}: embed the corpus again"
            )
        clash = set(each.embeddings.layers) & {*corpus.column_names, RECORDING}
        if clash:
            raise SharingError(
                f"{each.encoder.name} calls a layer {min(clash)}, as the labels have a column: rename it"
            )


def _content(table: Embeddings) -> dict[str, bytes]:
    """Hash the embedding of each utterance."""
    found = {}
    for row, id_ in enumerate(table.utterance_ids):
        digest = sha256()
        for layer in table.layers.values():
            digest.update(layer[row].tobytes())
        found[id_] = digest.digest()
    return found


def _config_names(encoders: Sequence[Encoder]) -> list[str]:
    """Name the configurations after the encoders; of two that would be called alike, one gets a number."""
    names: list[str] = []
    for encoder in encoders:
        name = slug(shown_encoder(encoder.name)) or "encoder"
        n_before = sum(known == name or known.startswith(f"{name}-") for known in names)
        names.append(f"{name}-{n_before + 1}" if n_before else name)
    return names


def _encoder(each: Embedded, corpus: Dataset, rows: CorpusRows) -> dict[str, Any]:
    """Say all that a reader, and a model that is trained on the embeddings, need to know of an encoder."""
    encoder, embeddings = each.encoder, each.embeddings
    name = shown_encoder(encoder.name)
    speakers = dict(zip(corpus["utterance_id"][:], corpus["speaker"][:], strict=True))
    known = {id_: speaker for id_, speaker in speakers.items() if speaker is not None}
    heard = heard_speakers(encoder.name, each.weights, corpus.info.dataset_name, known, known)
    return {
        "name": name,
        "revision": encoder.revision,
        "on_hub": name == encoder.name and (encoder.revision is not None or is_known_on_hub(name)),
        "fingerprint": encoder.fingerprint,
        "definition": encoder.definition,
        "precision": embeddings.precision,
        "pooling": embeddings.pooling,
        "default_pooling": encoder.default_pooling,
        "sampling_rate": encoder.sampling_rate,
        "frame_rate": encoder.frame_rate,
        "min_seconds": encoder.min_seconds,
        "frame_dims": dict(zip(encoder.layer_names, encoder.dims, strict=True)),
        "layers": {layer: vectors_.shape[1] for layer, vectors_ in embeddings.layers.items()},
        "heard_speakers": sorted(rows.speaker(speaker) for speaker in heard),
    }


def _layers(table: Embeddings, rows: CorpusRows) -> dict[str, Any]:
    ordered = table if table.utterance_ids == rows.utterance_ids else table.select(rows.utterance_ids)
    return {name: vectors(layer) for name, layer in ordered.layers.items()}


def _features(corpus: Dataset, rows: CorpusRows, table: Embeddings) -> Features:
    from datasets import Features, List, Value

    told = {name: corpus.features[name] for name in rows.columns if name in corpus.features}
    told[RECORDING] = Value("int64")
    layers = {name: List(Value("float32"), length=layer.shape[1]) for name, layer in table.layers.items()}
    return Features({name: told[name] for name in rows.columns} | layers)


def _corpus(
    corpus: Dataset,
    rows: CorpusRows,
    *,
    title: str | None,
    part: str | None,
    label_map: str | Mapping[str, str | None] | None,
    dataset_id: str | None,
) -> TrainingCorpus:
    name = corpus.info.dataset_name or "dataset"
    published = CORPUS_CARDS.get(name)
    usual = published.title if published is not None else UNTITLED.get(name, name)
    found = sorted({code for code in rows.columns.get("language", ()) if code and LANGUAGE.fullmatch(code)})
    return TrainingCorpus(
        name=name,
        title=usual if title is None or title == name else title,
        published=published,
        part=part,
        label_map=mapped_in_words(label_map),
        languages=tuple(found) if published is None else published.languages,
        dataset_id=dataset_id,
        speakers=tuple(sorted({speaker for speaker in rows.columns["speaker"] if speaker is not None})),
        n_utterances=len(rows.utterance_ids),
    )
