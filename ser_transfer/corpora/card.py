"""What a model card needs to say of the corpus that a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CorpusCard:
    """The facts of one published corpus.

    Attributes:
        name: Its name in `load_corpus`.
        title: Its name in the literature.
        n_speakers: Speakers in the published corpus.
        languages: ISO 639-1 codes.
        licence: SPDX identifier, or the terms in words.
        citation: Authors, year, title, where it appeared.
        url: The authors' page, from which the corpus is to be had.
        example_file: A file as the corpus names it, for messages.
    """

    name: str
    title: str
    n_speakers: int
    languages: tuple[str, ...]
    licence: str
    citation: str
    url: str
    example_file: str
