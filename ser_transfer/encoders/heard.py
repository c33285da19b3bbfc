"""Whom an encoder of ours has heard before: one that was trained on a test speaker gives no honest score."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ser_transfer.places import fetched, is_url

TRAINING_FILE = "training.json"  # beside the weights of every network that we train
DIGESTS = "speaker_digests"  # among the facts of a training, in place of names
ROUNDS = 200_000  # 0.1 s a name


def heard_speakers(
    encoder: str,
    weights: str | Path | None,
    corpus: str | None,
    speakers: Mapping[str, str | None],
    test_ids: Iterable[str],
) -> list[str]:
    """Name the test speakers whom the training of an encoder heard, sorted.

    Speakers are known by their names within a corpus, so only an encoder that was trained on a corpus of the
    same name is looked at.

    Args:
        encoder: Its folder; a Hub id has nothing to look at.
        weights: The file of its weights, where they were given apart.
        corpus: Name that the corpus was loaded by.
        speakers: By utterance id.
        test_ids: Utterances that are to be tested.
    """
    folder = Path(encoder) if weights is None else Path(weights).parent
    if weights is None and is_url(encoder):
        folder = fetched(encoder, (TRAINING_FILE,))
    try:
        facts = json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(facts, dict) or facts.get("corpus_name") != corpus:
        return []
    return heard_among(facts, (speakers[id_] for id_ in test_ids))


def heard_among(facts: Mapping[str, Any], speakers: Iterable[str | None]) -> list[str]:
    """Name the speakers that a training heard, sorted, whether it tells names or only `digests` of them.

    Args:
        facts: What a model says of its training.
        speakers: Of the same corpus; None where nobody knows.
    """
    asked = {speaker for speaker in speakers if speaker is not None}
    found = asked & set(map(str, facts.get("speakers", ())))
    kept = facts.get(DIGESTS)
    if kept is not None:
        salt, known = bytes.fromhex(kept["salt"]), set(kept["digests"])
        found |= {speaker for speaker in asked if _digest(speaker, salt) in known}
    return sorted(found)


def digests(speakers: Iterable[str]) -> dict[str, Any]:
    """Make what can be published in place of names: it tells only whoever knows a name that it is there.

    Salted and slow (PBKDF2, `ROUNDS`), so that a list of likely names is not tried in passing. Someone who
    has such a list and time can still find who is on it: these are pseudonyms, not anonymity.
    """
    salt = secrets.token_bytes(16)
    return {"salt": salt.hex(), "digests": sorted(_digest(speaker, salt) for speaker in speakers)}


def _digest(speaker: str, salt: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", speaker.encode(), salt, ROUNDS).hex()
