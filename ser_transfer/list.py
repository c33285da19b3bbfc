"""List the models that lie here, with their scores.

python -m ser_transfer.list outputs/
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ser_transfer._command import SettingsError, command
from ser_transfer._setting import setting
from ser_transfer.cards import list_text, runs_in

RUNS = "outputs"


@dataclass(frozen=True, kw_only=True)
class ListSettings:
    """List the models that lie here, with their scores."""

    folder: tuple[str, ...] = setting((RUNS,), help="folder of runs; the same as giving it first")


def _run(settings: ListSettings) -> int:
    found = [run for folder in settings.folder for run in runs_in(folder)]
    if not found:
        raise SettingsError(
            f"no run of one model below {', '.join(settings.folder)}: train one, python -m "
            "ser_transfer.train --help, or name another folder"
        )
    print(list_text(found))
    return 0


main = command(ListSettings, _run, words="folder")

if __name__ == "__main__":
    sys.exit(main())
