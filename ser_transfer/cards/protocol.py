"""How a model was tested, in words."""

from __future__ import annotations

from collections.abc import Iterator

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import escaped, fenced

# By the beginning of a split's name. What it says is true of every split of that name.
IN_WORDS = {
    "leave-one-speaker-out": (
        "Leave one speaker out: one fold per speaker, who was tested by a model that had heard only the "
        "others."
    ),
    "speaker-folds": (
        "The speakers were dealt into {n} folds with like shares of every emotion and gender. Each fold was "
        "tested by a model that had heard none of its speakers."
    ),
    "by-session": (
        "Leave one session out: one fold per session, whose speakers are in no other, tested by a model that "
        "had heard none of them."
    ),
    "grouped-by:": (
        "The folds share no {group}, but the **same speakers may stand on both sides** of a fold."
    ),
    "speaker-dependent": (
        "{n} folds were drawn at random, with the **same speakers on both sides** of every fold: each was "
        "tested by a model that knew its voices."
    ),
}
PUBLISHED = (
    "The folds are published ones ({description}), so that others can be compared with it. Each was tested "
    "by a model that had heard none of its speakers."
)


def protocol(run: CardRun, corpus: TrainingCorpus) -> Iterator[str]:
    """Say in paragraphs how a run tested.

    Args:
        run: As it was read.
        corpus: Of the run; folds may be called after its speakers, whom only published ones name.
    """
    told = run.described["split"]
    name, n_folds = str(told["name"]), len(told["folds"])
    words = next((text for start, text in IN_WORDS.items() if name.startswith(start)), PUBLISHED)
    scores = run.system.scores
    who = "" if scores.n_speakers is None else f" of {scores.n_speakers} speakers"
    yield (
        words.format(
            n=n_folds, group=escaped(name.partition(":")[2]), description=escaped(run.saved.description)
        )
        + f" In all, {sum(map(sum, scores.confusion))} utterances{who} were tested; scores are of all folds "
        "together."
    )
    choices = run.system.predictions.choices
    chosen = "The epoch and the temperature were" if run.is_finetuned else "Settings and the temperature were"
    if run.system.predictions.is_calibrated:
        who = "speakers" if run.saved.speaker_independent else "utterances"
        yield (
            f"{chosen} chosen on validation {who} inside each training side, as far as there was a choice; "
            f"test {who} were scored once."
        )
    elif choices:
        yield "Some fold had nobody left to choose settings on, so nothing was calibrated."
    yield (
        "The model in this repository is none of those that were tested: it was trained afterwards on all "
        "utterances, with what most folds chose. Its scores are those of the folds."
    )
    notes = [str(note) for note in told["notes"]]
    if notes and corpus.names_are_public:
        yield "\n".join(f"- {escaped(note)}" for note in notes)
    elif notes:
        yield f"The run's report says more of {len(notes)} of its folds."
    yield from _shared(run)


def _shared(run: CardRun) -> Iterator[str]:
    """Show what the run looked for before it trained, without naming anyone."""
    lines = [str(line) for line in run.described["audit"]]
    allowed = run.recipe.get("allow")
    if allowed:
        yield f"**The run was told to go on although sides of a fold may share {escaped(allowed)}.**"
    if lines.count("") < 2:
        return
    first = lines.index("") + 1
    rows = lines[first : lines.index("", first)]
    yield "What the sides of the folds share, looked for before anything was trained:"
    yield fenced([*rows, "", lines[-1]])
