"""Small trees with the layouts that corpora really have on disk; no file holds sound, none is opened."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path) -> Callable[..., Path]:
    """Write files below a folder, each holding its own name unless told otherwise."""

    def write(names: Iterable[str], content: bytes | None = None, root: str = "corpus") -> Path:
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(path.stem.encode() if content is None else content)
        return tmp_path / root

    return write


@pytest.fixture
def emotions() -> Callable[..., list[str]]:
    """The emotions of a corpus, row by row, in words."""
    return lambda corpus: [corpus.features["emotion"].int2str(code) for code in corpus["emotion"][:]]


@pytest.fixture
def counts(emotions) -> Callable[..., Counter]:
    """How many utterances of each emotion a corpus has."""
    return lambda corpus: Counter(emotions(corpus))
