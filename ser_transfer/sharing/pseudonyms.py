"""Numbers in place of names, for recordings of people who never agreed to be named.

The numbers follow from what is published beside them and from nothing else: not from the names, whose order
would give them away to anyone with a list of participants. The same rows get the same numbers every time, and
the list of who is who is written nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Pseudonyms:
    """What stands in place of the names of one corpus.

    Attributes:
        utterances: By utterance id, in the order of the new names, in which rows are to be written.
        speakers: By speaker.
    """

    utterances: Mapping[str, str]
    speakers: Mapping[str, str]

    @classmethod
    def of(cls, content: Mapping[str, bytes], speakers: Mapping[str, str | None]) -> Pseudonyms:
        """Number utterances by a hash of what is published of each, and speakers as they come up in them.

        Args:
            content: By utterance id, what is published of it.
            speakers: By utterance id; None where nobody knows.
        """
        ids = sorted(content, key=lambda id_: sha256(content[id_]).digest())
        return cls(numbered("utterance", ids), numbered("speaker", (speakers[id_] for id_ in ids)))

    def speaker(self, name: str | None) -> str | None:
        """Give what stands for a speaker; None for one whom nobody knows."""
        return None if name is None else self.speakers[name]


def numbered(word: str, names: Iterable[str | None]) -> dict[str, str]:
    """Number names in the order in which they first come: ``speaker_01``, ``speaker_02`` and so on.

    Args:
        word: Before the number; empty for the number alone.
        names: They may repeat. None is passed over.
    """
    known = list(dict.fromkeys(name for name in names if name is not None))
    width = len(str(len(known)))
    before = f"{word}_" if word else ""
    return {name: f"{before}{number:0{width}d}" for number, name in enumerate(known, 1)}
