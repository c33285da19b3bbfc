"""What the store has of a corpus, copies included; what it lacks is answered with the command to type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ser_transfer._bars import progress_bar
from ser_transfer.augment import Copies
from ser_transfer.corpora.streamed import KEY
from ser_transfer.encoders import Encoder
from ser_transfer.encoders.heard import heard_speakers
from ser_transfer.fill import fill_store, frames_part_of, part_of
from ser_transfer.splits import Audit, LeakError, Split, allowed_leaks, audit_split, refuse_leaks
from ser_transfer.store import Embeddings, EmbeddingStore, Frames, StoreError

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.sharing.shared_embeddings import SharedEmbeddings

NO_AUDIO = "near-identical audio was not looked for, since that takes the recordings"


def stored_embeddings(
    store: str,
    keys: Mapping[str, str],
    encoder: Encoder,
    *,
    pooling: str | None,
    copies: Copies | None,
    embed_flags: str,
) -> Embeddings:
    """Read an encoder's embeddings of a corpus, and of its augmented copies.

    Args:
        store: Its folder.
        keys: Audio key per utterance id.
        encoder: Whose.
        pooling: None for the encoder's own.
        copies: Which copies to add; None for none.
        embed_flags: Of the embed command that computes them.

    Raises:
        StoreError: If some are not there; it says the command.
    """
    all_keys, originals = with_copy_keys(keys, copies)
    try:
        part = part_of(encoder, pooling)
        found = EmbeddingStore(store).embeddings(part, list(all_keys), list(all_keys.values()))
    except StoreError as error:
        raise _how_to_embed(error, embed_flags) from error
    return replace(found, originals=originals)


def computed_embeddings(
    store: str,
    corpus: Dataset,
    encoder: Encoder,
    *,
    pooling: str | None = None,
    title: str | None = None,
) -> Embeddings:
    """Read an encoder's embeddings of a corpus, and compute what the store lacks.

    Args:
        store: Its folder.
        corpus: From `ser_transfer.load_corpus`.
        encoder: Whose.
        pooling: None for the encoder's own.
        title: The corpus's name on the progress bar; None for the one it was loaded by.
    """
    opened, part = EmbeddingStore(store), part_of(encoder, pooling)
    with progress_bar(f"{title or corpus.info.dataset_name}: {encoder.name}") as advance:
        report = fill_store(corpus, encoder, opened, part, on_recording=advance)
    if report.n_encoded:
        print(report.summary(encoder.name, str(opened.root)))
    return opened.embeddings(part, list(report.keys), list(report.keys.values()))


def stored_frames(
    store: str,
    keys: Mapping[str, str],
    encoder: Encoder,
    *,
    layer: str,
    copies: Copies | None,
    embed_flags: str,
) -> Frames:
    """Read the frames of one layer; see `stored_embeddings`."""
    all_keys, originals = with_copy_keys(keys, copies)
    try:
        part = frames_part_of(encoder, layer)
        found = EmbeddingStore(store).frames(part, list(all_keys), list(all_keys.values()))
    except StoreError as error:
        raise _how_to_embed(error, f"{embed_flags} --frames {layer}") from error
    return replace(found, originals=originals)


def with_copy_keys(keys: Mapping[str, str], copies: Copies | None) -> tuple[dict[str, str], dict[str, str]]:
    """Add the store keys of augmented copies.

    Returns:
        Store key per id, and per id of a copy what it is a copy of.
    """
    found, originals = dict(keys), {}
    if copies is not None:
        for id_, key in keys.items():
            for copy_id, copy in copies.of(id_, key):
                found[copy_id], originals[copy_id] = copy.key, id_
    return found, originals


def refused_if_leaky(
    corpus: Dataset,
    split: Split,
    keys: Mapping[str, str],
    baseline: Embeddings | None,
    allow: str | None,
    encoders: Mapping[str, str | None] | None = None,
    shared: SharedEmbeddings | None = None,
) -> Audit:
    """Audit a split before anything is trained on it.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        split: Of the corpus.
        keys: Audio key per utterance id.
        baseline: The `mfcc` baseline's embeddings, by which near-identical audio is found; None, or another
            encoder's, and it is not looked for.
        allow: What may be shared, as ``--allow`` says it.
        encoders: Names of the encoders, and the files of their weights where those were given apart: none of
            ours may have been trained on a speaker that a speaker-independent split tests.
        shared: Where the embeddings are shared ones: they say whom their encoders have heard. Like a corpus
            that was streamed they have no audio that near-identical recordings could be found in.

    Raises:
        LeakError: If the split shares what was not asked for, or an encoder has heard a test speaker.
    """
    if split.speaker_independent:
        _refuse_heard(corpus, split, encoders or {}, shared)
    mfcc = None
    has_audio = shared is None and KEY not in corpus.column_names
    if baseline is not None and baseline.encoder == "mfcc" and has_audio:
        (vectors,) = baseline.layers.values()
        mfcc = dict(zip(baseline.utterance_ids, vectors, strict=True))
    found = audit_split(corpus, split, keys, mfcc)
    if not has_audio:
        found = replace(found, notes=(*found.notes[:-1], NO_AUDIO))  # in place of what the mfcc takes
    refuse_leaks(found, allowed_leaks(allow))
    return found


def _refuse_heard(
    corpus: Dataset,
    split: Split,
    encoders: Mapping[str, str | None],
    shared: SharedEmbeddings | None = None,
) -> None:
    speakers = dict(zip(corpus["utterance_id"][:], corpus["speaker"][:], strict=True))
    tested = [id_ for fold in split.folds for id_ in fold.test_ids]
    for name, weights in encoders.items():
        if shared is None:
            heard = heard_speakers(name, weights, corpus.info.dataset_name, speakers, tested)
        else:
            heard = sorted({speakers[id_] for id_ in tested} & set(shared.heard_speakers[name]))
        if heard:
            raise LeakError(
                f"{name} was trained on {len(heard)} of the speakers that are to be tested "
                f"({', '.join(heard[:3])}), so its score would say nothing of new ones: take one fold with "
                "the network of that fold, --folds 1 --encoder RUN/folds/1/model, or another corpus"
            )


def _how_to_embed(error: StoreError, flags: str) -> StoreError:
    return StoreError(f"{error}\nFirst run: python -m ser_transfer.embed {flags}")
