"""Folds that others have published, as lists of speakers.

`published.json` holds facts only, with their sources. Folds that share a speaker between their sides,
as EmoBox's of EmoDB, CREMA-D and TESS do, are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ser_transfer.splits.folds import SplitError


@dataclass(frozen=True)
class Protocol:
    """One corpus's published folds.

    Attributes:
        name: Such as ``emobox``.
        source: Who published it, and where.
        column: What the lists name: ``speaker`` or ``session``.
        folds: By name of the fold: lists under ``test``, and perhaps ``train`` and ``validation``.
    """

    name: str
    source: str
    column: str
    folds: Mapping[str, Mapping[str, list[str]]]

    @property
    def groups(self) -> set[str]:
        """Every speaker, or session, that the folds name."""
        return {name for fold in self.folds.values() for side in fold.values() for name in side}


def find_protocol(name: str, corpus_name: str | None) -> Protocol:
    """Look up a corpus's published folds.

    Args:
        name: A protocol, or ``published`` for the first one that has the corpus.
        corpus_name: Such as ``ravdess``.

    Raises:
        SplitError: If the protocol does not have the corpus.
    """
    protocols = _protocols()
    for candidate in protocols if name == "published" else [name]:
        found = protocols[candidate]["corpora"].get(corpus_name)
        if found is not None:
            return Protocol(candidate, protocols[candidate]["source"], found["column"], found["folds"])
    known = "; ".join(f"{key}: {', '.join(value['corpora'])}" for key, value in protocols.items())
    raise SplitError(
        f"there are no speaker-disjoint published folds of {corpus_name!r} under {name!r}; "
        f"there are {known}. "
        f"If this is one of them under another name, say so, as in --split {name}:ravdess; "
        "otherwise use --split speaker-folds"
    )


@cache
def _protocols() -> dict[str, Any]:
    text = files("ser_transfer.splits").joinpath("published.json").read_text(encoding="utf-8")
    protocols: dict[str, Any] = json.loads(text)
    return protocols
