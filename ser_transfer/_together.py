"""One pass over a corpus by several processes: shared out, on one bar, in one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ser_transfer._ranks import Ranks
from ser_transfer.audio import AudioError
from ser_transfer.fill import FillReport


class Together:
    """What `ser_transfer.fill.fill_store` asks of the other processes.

    Args:
        ranks: The processes.
        advance: Of the bar, which the first of them shows for all: called with the number of recordings in
            all and one's seconds.
    """

    _n_passes = 0

    def __init__(self, ranks: Ranks, advance: Callable[[int, float], None]) -> None:
        self.ranks, self._advance = ranks, advance
        Together._n_passes += 1
        self._name = str(Together._n_passes)
        self._n_missing = self._n_shown = self._ms_shown = 0

    def share(self, seconds: Sequence[float]) -> list[int]:
        """Take this process's part of what is missing, once all know what that is.

        Raises:
            RankError: If one is dead.
        """
        self._n_missing = len(seconds)
        self.ranks.all_told(len(seconds))  # before anyone writes: all are to see the same
        return self.ranks.share(seconds)

    def on_recording(self, n_missing: int, seconds: float) -> None:
        """Count a recording of this process."""
        self.ranks.count(f"{self._name}/milliseconds", round(1000 * seconds))
        self.ranks.count(f"{self._name}/recordings", 1)
        self._look()

    def report(self, own: FillReport) -> FillReport:
        """Wait for all, and bring their reports together.

        Raises:
            RankError: If one is dead.
        """
        told = {
            "n_encoded": own.n_encoded,
            "audio_seconds": own.audio_seconds,
            "wall_seconds": own.wall_seconds,
            "bad": {id_: error.args for id_, error in own.bad.items()},
        }
        all_told = self.ranks.all_told(told, on_look=self._look)
        bad = {id_: AudioError(*args) for each in all_told for id_, args in each["bad"].items()}
        return replace(
            own,
            keys={id_: key for id_, key in own.keys.items() if id_ not in bad},
            originals={id_: name for id_, name in own.originals.items() if id_ not in bad},
            bad=bad,
            n_encoded=sum(each["n_encoded"] for each in all_told),
            audio_seconds=sum(each["audio_seconds"] for each in all_told),
            wall_seconds=max(each["wall_seconds"] for each in all_told),
        )

    def _look(self) -> None:
        """Show on the first process's bar what all of them did since the last look."""
        if not self.ranks.is_first:
            return
        n = self.ranks.count(f"{self._name}/recordings", 0)
        ms = self.ranks.count(f"{self._name}/milliseconds", 0)
        if n > self._n_shown:
            each = (ms - self._ms_shown) / 1000 / (n - self._n_shown)
            for _ in range(n - self._n_shown):
                self._advance(self._n_missing, each)
            self._n_shown, self._ms_shown = n, ms
