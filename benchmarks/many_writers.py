"""Several `embed` commands on one store at once: on the same corpus, and on overlapping ones.

    python benchmarks/many_writers.py --writers 8

The processes are started together. The first half embeds all tones of a small corpus, the others parts of it
that overlap. At the end every row must be there, bit for bit that of a command alone, each must count once,
every shard must be sound, and no process may have failed. Rows that several processes computed, because each
looked before the other had written, are counted: they cost time and bytes, and no answer. Exits with 1 if
any of this fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from small_commands import COMMON, TONE_HZ, rows_of, write_tones

from ser_transfer.store import EmbeddingStore, compact, verify
from ser_transfer.store.manifest import ManifestReader


def command(root: Path, store: Path) -> list[str]:
    """Give the command that embeds a corpus."""
    flags = ["--root", str(root), "--store", str(store), "--encoder", "handcrafted", "--n-workers", "1"]
    return [sys.executable, "-m", "ser_transfer.embed", *COMMON, *flags]


def part_of(root: Path, folder: Path, emotions: list[str]) -> Path:
    """Make a corpus of some emotions of another."""
    folder.mkdir()
    for emotion in emotions:
        (folder / emotion).symlink_to(root / emotion)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writers", type=int, default=8, help="commands at once")
    parser.add_argument("--takes", type=int, default=8, help="of the corpus; it has 12 tones a take")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tones(folder / "tones", settings.takes)
        emotions = list(TONE_HZ)
        pairs = [emotions[:2], emotions[1:], emotions[::2]]
        roots = [
            folder / "tones"
            if number < settings.writers // 2
            else part_of(folder / "tones", folder / f"part_{number}", pairs[number % 3])
            for number in range(settings.writers)
        ]
        subprocess.run(command(folder / "tones", folder / "alone"), check=True, stdout=subprocess.DEVNULL)
        store = folder / "store"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen(
                command(root, store), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            for root in roots
        ]
        said = [process.communicate()[1].decode() for process in running]
        failed = [text for process, text in zip(running, said, strict=True) if process.returncode != 0]
        is_equal = rows_of(store) == rows_of(folder / "alone")
        parts = EmbeddingStore(store).parts()
        n_rows = sum(stored.n_rows for stored in parts)
        n_written = n_sound = 0
        for stored in parts:
            entries = ManifestReader(stored.folder, verify=True).read().entries
            n_written += sum(entry.n_rows for entry in entries.values())
            n_sound += verify(stored.folder).is_sound
        for stored in parts:
            compact(stored.folder, stored.part, grace_hours=0)
        is_equal_after = rows_of(store) == rows_of(folder / "alone")
    print(f"{settings.writers} commands, {n_rows} rows; {n_written - n_rows} were computed more than once")
    for text in failed:
        print(text)
    is_sound = not failed and is_equal and is_equal_after and n_sound == len(parts)
    print(
        f"rows as those of one command alone: {'yes' if is_equal else 'NO'}, and after they were compacted: "
        f"{'yes' if is_equal_after else 'NO'}; shards sound: {'yes' if n_sound == len(parts) else 'NO'}"
    )
    print("sound" if is_sound else "NOT SOUND")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
