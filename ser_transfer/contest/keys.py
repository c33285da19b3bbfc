"""The name under which a fold's result is kept: the hash of all that it follows from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

from ser_transfer.cross_validation import Labels, Search
from ser_transfer.splits import Fold

# Raise it when the same inputs would be searched or scored otherwise than before.
SEARCH_VERSION = 1


def result_key(digests: Sequence[str], fold: Fold, labels: Labels, search: Search) -> str:
    """Name the result of one system on one fold: 64 hex digits."""
    sides = (fold.train_ids, fold.validation_ids, fold.test_ids)
    content = {
        "version": [SEARCH_VERSION, version("scikit-learn"), version("scipy"), version("numpy")],
        "members": list(digests),
        "sides": [[[id_, labels.emotions[id_]] for id_ in side] for side in sides],
        "classes": list(labels.classes),
        "search": asdict(search),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
