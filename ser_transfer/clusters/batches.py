"""Recordings in batches for actors: large ones first, so that shards are few, and small ones last."""

from __future__ import annotations

from collections.abc import Sequence

MAX_ROWS = 256  # of a batch, and so of the shards that a cluster writes
MAX_SECONDS = 900.0  # of audio in a batch: what a machine that dies can lose is one or two of them
MIN_ROWS = 8  # below this the shard's own cost shows
SHARE = 3  # a batch is so much less than what each actor would get if all that is left were dealt out


def batches_of(seconds: Sequence[float], n_actors: int) -> list[range]:
    """Cut a list into batches, in its order.

    Each batch takes a third of an actor's fair share of the audio that is left ("guided self-scheduling",
    Polychronopoulos and Kuck, 1987): actors that take the next one whenever they are done end at about the
    same time, and most rows still lie in large batches.

    Args:
        seconds: Of each item.
        n_actors: Who will take them.

    Returns:
        Neighbouring items, each once.
    """
    found = []
    left, start = sum(seconds), 0
    while start < len(seconds):
        most = min(MAX_SECONDS, left / (SHARE * n_actors))
        end, taken = start, 0.0
        while end < len(seconds) and end - start < MAX_ROWS:
            more = taken + seconds[end]
            if end > start and more > (most if end - start >= MIN_ROWS else MAX_SECONDS):
                break
            taken = more
            end += 1
        found.append(range(start, end))
        left, start = left - taken, end
    return found
