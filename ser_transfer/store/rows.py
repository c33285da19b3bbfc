"""What embeddings and frames share: rows found by utterance id, and tables laid beneath one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ser_transfer.store.errors import StoreError


def row_of_id(utterance_ids: Sequence[str]) -> dict[str, int]:
    """Map every id to its row.

    Raises:
        StoreError: If an id is there twice.
    """
    rows = {id_: row for row, id_ in enumerate(utterance_ids)}
    if len(rows) != len(utterance_ids):
        twice = next(id_ for row, id_ in enumerate(utterance_ids) if rows[id_] != row)
        raise StoreError(f"utterance {twice!r} is there twice: ids must be unique to join by")
    return rows


def rows_of(utterance_ids: Iterable[str], rows: Mapping[str, int], what: str) -> list[int]:
    """Find the rows of some ids, in the order given.

    Args:
        utterance_ids: The ids wanted.
        rows: From `row_of_id`.
        what: Names the rows in the message, such as ``embedding by yamnet``.

    Raises:
        StoreError: If an id has no row.
    """
    ids = list(utterance_ids)
    unknown = [id_ for id_ in ids if id_ not in rows]
    if unknown:
        raise StoreError(
            f"no {what} of utterance {unknown[0]!r}"
            + (f" and {len(unknown) - 1} others" if len(unknown) > 1 else "")
            + f"; there are {len(rows)}, such as {tuple(rows)[:1]}"
        )
    return [rows[id_] for id_ in ids]


def kept_originals(originals: Mapping[str, str], utterance_ids: Iterable[str]) -> dict[str, str]:
    """Keep what is known of the copies among some ids."""
    return {id_: originals[id_] for id_ in utterance_ids if id_ in originals}


def check_alike(sources: Sequence[Mapping[str, object]]) -> None:
    """Refuse to join numbers that were not made alike.

    Args:
        sources: For each table what made it, as names and values.

    Raises:
        StoreError: If there is none, or two differ.
    """
    if not sources:
        raise StoreError("there is nothing to join; give one table or more")
    for source in sources[1:]:
        differing = [name for name, value in source.items() if value != sources[0][name]]
        if differing:
            name = differing[0]
            raise StoreError(
                f"tables of {name} {sources[0][name]!r} and {source[name]!r} cannot be joined: their numbers "
                "mean different things. Join what one encoder made with the same settings"
            )
