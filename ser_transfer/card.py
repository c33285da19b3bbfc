"""Print the model card of a run, as the Hub would show it.

python -m ser_transfer.card outputs/RUN
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._setting import setting
from ser_transfer.cards import ModelCard, card_of_run


@dataclass(frozen=True, kw_only=True)
class CardSettings:
    """Print the model card of a run, as the Hub would show it."""

    run: tuple[str, ...] = setting(
        (), help="folder of a run of train or finetune; the same as giving it first"
    )
    repo_id: str | None = setting(None, help="where the model will be, owner/name, for the lines of its use")
    title: str | None = setting(None, help="of the model; default: its encoder, head and corpus")
    part: str = setting("model", help="model, or adapter for the adapter alone, where the run kept it")
    out: str | None = setting(None, help="folder to write README.md and its figures to; default: print it")


def card(run: str, *, repo_id: str | None = None, title: str | None = None, part: str = "model") -> ModelCard:
    """Make the card of the model that a run kept; see `ser_transfer.cards.card_of_run`."""
    return card_of_run(run, repo_id=repo_id, title=title, part=part)


def _run(settings: CardSettings) -> int:
    if len(settings.run) != 1:
        raise SettingsError("give one run: python -m ser_transfer.card outputs/RUN")
    made = card(settings.run[0], repo_id=settings.repo_id, title=settings.title, part=settings.part)
    if settings.out is None:
        print(made, end="")
    else:
        made.write(settings.out)
        print(f"written to {settings.out}")
    return 0


main = command(CardSettings, _run, words="run")
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
