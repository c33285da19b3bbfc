"""A run read from its folder for its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ser_transfer.cards.checks import check
from ser_transfer.cards.errors import CardError
from ser_transfer.cards.kept import read_kept_model
from ser_transfer.cards.run import RECIPE, CardRun, is_of_one_model
from ser_transfer.cross_validation import Labels
from ser_transfer.runs import RunError, saved_run
from ser_transfer.runs.answers import PREDICTIONS, read_table
from ser_transfer.runs.files import LEAK, METRICS


def read_card_run(folder: Path, part: str = "model") -> CardRun:
    """Read a run of `train` or `finetune`, and check that what it says holds together.

    Args:
        folder: The run's.
        part: ``"model"``, or ``"adapter"`` for the adapter alone.

    Raises:
        CardError: If it is no such run or kept no model, if its scores are not those of its answers, if it
            calls itself speaker-independent and is not, or if the model is of another run.
    """
    if not (folder / METRICS).is_file():
        raise CardError(
            f"no run in {folder}: it has no {METRICS}; give the folder that train or finetune wrote"
        )
    recipe = read_recipe(folder)
    model = read_kept_model(folder / part, recipe)
    try:
        saved = saved_run(folder, labels_of_answers(folder))
        described = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        if len(saved.entrants) != 1:
            raise CardError(f"{folder} tested {len(saved.entrants)} systems, and a card is of one model")
        run = CardRun(folder, described, recipe, saved, model)
        check(run, folder / part)
    except RunError as error:
        raise CardError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise CardError(
            f"{folder / METRICS} is damaged, or of another version ({told}): run it again"
        ) from error
    return run


def read_recipe(folder: Path) -> dict[str, Any]:
    """Read the settings of a run of one model.

    Raises:
        CardError: If there are none, or they are of another command.
    """
    import yaml

    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CardError(f"{folder / RECIPE} cannot be read ({type(error).__name__}): run it again") from error
    if not isinstance(recipe, dict) or not is_of_one_model(recipe):
        names = recipe if isinstance(recipe, dict) else ()
        which = {"encoders": "compare", "model": "evaluate", "encoder": "pretrain"}
        of = next((f"of {verb}" for key, verb in which.items() if key in names), "of no one model")
        raise CardError(
            f"{folder} is a run {of}, and a card is of a model: give the folder that train or finetune wrote"
        )
    return recipe


def labels_of_answers(folder: Path) -> Labels:
    """Read who said what from a run's answers, so that they can be scored without the corpus.

    Raises:
        CardError: If they are not there, or damaged.
    """
    emotions: dict[str, str] = {}
    speakers: dict[str, str | None] = {}
    for path in (folder / PREDICTIONS, folder / LEAK / PREDICTIONS):
        if path.is_file() or path.parent == folder:
            ids, truth, owners = (_column(path, name) for name in ("utterance_id", "truth", "speaker"))
            emotions |= zip(ids, truth, strict=True)
            speakers |= zip(ids, owners, strict=True)
    return Labels(emotions, speakers, tuple(dict.fromkeys(emotions.values())))


def _column(path: Path, name: str) -> list[Any]:
    try:
        return list(read_table(path).column(name).to_pylist())
    except FileNotFoundError as error:
        raise CardError(f"{path} is not there, which belongs to the run: run it again") from error
    except (OSError, ValueError, KeyError) as error:
        raise CardError(f"{path} is damaged: run it again") from error
