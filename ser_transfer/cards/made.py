"""With what a model was made, and what that took."""

from __future__ import annotations

from collections.abc import Iterator

from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import duration, escaped, plain, table

# Settings of a recipe that say how a model was trained, and name no place on a machine.
SETTINGS = (
    *("head", "head_settings", "tune", "balanced", "trained", "adapter", "adapter_settings"),
    *("augment", "spec_augment", "mixup", "loss", "label_smoothing"),
    *("learning_rate", "head_learning_rate", "layer_decay", "weight_decay", "schedule", "max_epochs"),
    *("batch_seconds", "crop_seconds", "average", "seed"),
)


def made(run: CardRun) -> Iterator[str]:
    """Say with what it was made, so that it can be made again."""
    model, recipe = run.model, run.recipe
    rows = [("encoder", model.encoder)]
    rows += [("revision of the encoder", model.revision)] if model.revision else []
    rows += list(model.reads.items())
    rows += [
        (name.replace("_", " "), _words(recipe[name])) for name in SETTINGS if _is_told(recipe.get(name))
    ]
    chosen = [dict(choice.settings) for choice in run.system.predictions.choices.values()]
    usual = max(chosen, key=chosen.count, default={})
    if run.is_finetuned:
        rows.append(("best epoch of each fold", ", ".join(str(each.get("best_epoch")) for each in chosen)))
    elif usual:
        rows.append((f"chosen in {chosen.count(usual)} of {len(chosen)} folds", _words(usual)))
    yield table(("setting", "value"), [(escaped(name), escaped(value)) for name, value in rows])
    yield from _spent(run)
    versions = run.described.get("versions")
    if isinstance(versions, dict):
        told = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in versions.items())
        finished = run.described.get("finished")
        yield f"Made with {told}." + (f" Finished {escaped(str(finished)[:10])}." if finished else "")


def _spent(run: CardRun) -> Iterator[str]:
    """Say what time the run took, as far as it measured it."""
    seconds, n_folds = run.system.predictions.seconds, len(run.described["split"]["folds"])
    n_parameters = run.system.predictions.n_parameters
    what, rest = "Choosing, fitting and testing the head", "computing the embeddings is not counted"
    if run.is_finetuned:
        what, rest = "Training and testing", "the training of the kept model on everyone is not counted"
    if seconds:
        yield f"{what} in all {n_folds} folds took {duration(seconds)}; {rest}."
    if n_parameters:
        yield f"Per fold, {n_parameters:,} numbers were learned (the mean)."


def _is_told(value: object) -> bool:
    return value is not None and value is not False and value != {} and (value != 0 or isinstance(value, int))


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{plain(key)} {_words(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return "yes" if value is True else plain(value)
