"""Look after the embedding store: verify every byte, merge small shards, remove what nobody uses, tell sizes.

python -m ser_transfer.tidy --verify --compact --store cache/embeddings
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from ser_transfer._bars import steps_bar
from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer._settings import StoreSettings
from ser_transfer.store import Compacted, EmbeddingStore, StoredPart, Verified
from ser_transfer.store import compact as compact_part
from ser_transfer.store import verify as verify_part
from ser_transfer.store.compaction import GRACE_HOURS
from ser_transfer.store.errors import explaining
from ser_transfer.store.sizes import part_size, sizes_table

MEGABYTE = 1e6
MAX_NAMED = 10  # damaged files named per part


@dataclass(frozen=True, kw_only=True)
class TidySettings(StoreSettings):
    """Look after the embedding store: verify every byte, merge small shards, remove what nobody uses."""

    verify: bool = setting(
        False,
        help="read every shard and compare its checksum: what is damaged is named and set aside, the next "
        "embed computes it again, and the exit code is 1",
    )
    compact: bool = setting(
        False, help="merge small shards into large ones; others may read and write meanwhile"
    )
    grace_hours: float = setting(
        GRACE_HOURS, help="how long --compact leaves the files it has merged, for those that are reading them"
    )
    collect: float | None = setting(
        None, help="remove each part of the store that was not read or added to for so many days"
    )
    sizes: bool = setting(
        False, help="tell what each part takes on the disk; so do all runs that are told nothing else"
    )


@dataclass
class Tidied:
    """What was done.

    Attributes:
        collected: Parts that were removed.
        verified: What verifying found, per part.
        compacted: What merging did, per part.
    """

    collected: list[StoredPart] = field(default_factory=list)
    verified: list[tuple[StoredPart, Verified]] = field(default_factory=list)
    compacted: list[tuple[StoredPart, Compacted]] = field(default_factory=list)


def tidy(
    store: str | Path | EmbeddingStore = StoreSettings.store,
    *,
    verify: bool = False,
    compact: bool = False,
    grace_hours: float = GRACE_HOURS,
    collect: float | None = None,
) -> Tidied:
    """Look after a store: remove what nobody uses, then verify, then merge.

    Args:
        store: The store, or its folder.
        verify: Whether to read every shard and compare its checksum; see `ser_transfer.store.verify`.
        compact: Whether to merge small shards; see `ser_transfer.store.compact`.
        grace_hours: How long merged files stay.
        collect: Days after which a part that was not used is removed; None for never.

    Raises:
        StoreError: If the disk is full, say, or the store may not be written.
    """
    opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore(store)
    done = Tidied()
    if collect is not None:
        done.collected = opened.collect(collect)
    with explaining(opened.root):
        for stored in opened.parts():
            name = stored.part.describe()
            if verify:
                with steps_bar(f"verify {name}") as advance:
                    found = verify_part(stored.folder, on_shard=lambda n, size: advance(n, _told(size)))
                done.verified.append((stored, found))
            if compact:
                with steps_bar(f"compact {name}") as advance:
                    merged = compact_part(
                        stored.folder,
                        stored.part,
                        grace_hours=grace_hours,
                        on_shard=lambda n, size: advance(n, _told(size)),
                    )
                done.compacted.append((stored, merged))
    return done


def _run(settings: TidySettings) -> int:
    if settings.grace_hours < 0 or (settings.collect is not None and settings.collect < 0):
        raise SettingsError("--grace-hours and --collect want a number of 0 or more")
    store = EmbeddingStore(settings.store)
    done = tidy(
        store,
        verify=settings.verify,
        compact=settings.compact,
        grace_hours=settings.grace_hours,
        collect=settings.collect,
    )
    if settings.collect is not None:
        for stored in done.collected:
            print(
                f"removed {stored.part.describe()}: {stored.n_rows} embeddings, {_told(stored.n_bytes)}, "
                f"last used {stored.used:%Y-%m-%d}"
            )
        if not done.collected:
            print(f"every part of {store.root} was used within {settings.collect:g} days")
    for stored, found in done.verified:
        print("\n".join(_found_lines(stored, found)))
    for stored, merged in done.compacted:
        print(
            f"{stored.part.describe()}: {merged.n_before} shards became {merged.n_after}; "
            f"{merged.n_removed} files merged before were removed ({_told(merged.n_bytes_removed)})"
        )
    if settings.sizes or not (settings.verify or settings.compact or settings.collect is not None):
        parts = store.parts()
        print(
            sizes_table(store.root, [part_size(stored) for stored in parts])
            if parts
            else f"{store.root} is empty"
        )
    return 0 if all(found.is_sound for _, found in done.verified) else 1


def _found_lines(stored: StoredPart, found: Verified) -> list[str]:
    """Say what verifying found in a part."""
    name = stored.part.describe()
    lines = [f"{name}: {found.n_sound} shards are sound ({_told(found.n_bytes)})"]
    if found.taken_up:
        lines.append(f"  {len(found.taken_up)} more lay there uncounted, and count now")
    for what, paths in (("damaged, and set aside", found.damaged), ("gone", found.gone)):
        lines += [f"  {what}: {path}" for path in paths[:MAX_NAMED]]
        if len(paths) > MAX_NAMED:
            lines.append(f"  {what}: {len(paths) - MAX_NAMED} more")
    if not found.is_sound:
        lines.append(
            f"  {found.n_rows_lost} embeddings are to be computed again: run `ser-transfer embed` with this "
            "corpus and encoder"
        )
    return lines


def _told(n_bytes: int) -> str:
    return f"{n_bytes / MEGABYTE:.1f} MB"


main = command(TidySettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
