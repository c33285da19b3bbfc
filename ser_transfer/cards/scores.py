"""What a model scored, beside what it is held against."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ser_transfer.cards.corpus import LANGUAGE, TrainingCorpus
from ser_transfer.cards.figures import CONFUSION, RELIABILITY
from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import escaped, interval, number, table
from ser_transfer.metrics.groups import MIN_ROWS
from ser_transfer.runs import System

# Columns whose values name nobody and repeat nothing that was said, if they are of this form.
CLOSED = {"gender": re.compile("female|male"), "language": LANGUAGE}
HEADER = ("tested", "UAR", "95 % interval", "accuracy", "macro F1")


def summary(run: CardRun) -> Iterator[str]:
    """Set the model beside the baseline and the floor."""
    rows = [_row("**this model**", run.system)]
    if run.baseline is not None:
        rows.append(_row(f"handcrafted baseline ({escaped(run.baseline.name)})", run.baseline))
    if run.floor is not None:
        rows.append(_row("always the most frequent emotion", run.floor))
    yield table(HEADER, rows)
    gap = run.above_baseline
    if gap is not None:
        within = "" if gap.interval is None else f" (95 % interval {_signed(gap.interval)})"
        p_value = "" if gap.p_value is None else f", p = {gap.p_value:.4f} in a paired test over speakers"
        yield f"Above the baseline: {gap.uar:+.3f} UAR{within}{p_value}."
    yield (
        "UAR, the main score, is the mean of the recalls of all emotions, however frequent each is. "
        "Intervals are over speakers, who are what a new recording brings."
    )


def _row(name: str, system: System) -> tuple[str, ...]:
    scores = system.scores
    return (name, *_numbers(scores.uar, system.interval, scores.wa, scores.macro_f1))


def _numbers(uar: float, ends: tuple[float, float] | None, *others: float) -> tuple[str, ...]:
    """Write a UAR, its interval and further scores as cells."""
    return (number(uar), interval(ends), *map(number, others))


def _signed(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.3f} to {ends[1]:+.3f}"


def by_emotion(run: CardRun) -> Iterator[str]:
    """Say how well each emotion is recognised, and what it is taken for."""
    scores = run.system.scores
    rows = [
        (escaped(emotion), number(recall), number(precision), number(f1), str(sum(counts)))
        for emotion, recall, precision, f1, counts in zip(
            scores.classes, scores.recall, scores.precision, scores.f1, scores.confusion, strict=True
        )
    ]
    yield table(("emotion", "recall", "precision", "F1", "utterances"), rows)
    recalls = ", ".join(f"{row[0]} {row[1]}" for row in rows)
    yield (
        "![Confusion matrix, true emotions in rows, predicted ones in columns. "
        f"Recall: {recalls}]({CONFUSION})"
    )


def calibration(run: CardRun) -> Iterator[str]:
    """Say how far the probabilities can be trusted; nothing where the run could not tell."""
    told = run.system.calibration
    if told is None:
        return
    rows = [
        (name, number(told[when]["ece"]), number(told[when]["brier"]))
        for when, name in (("before", "as the head gives them"), ("after", "temperature-scaled, as answered"))
    ]
    where = ""
    if run.model.is_calibrated_in_weights:
        where = " It lies in the weights, so that plain transformers answers with it too."
    elif run.model.kind in ("transformers", "adapter"):
        where = f" Plain {'peft' if run.model.kind == 'adapter' else 'transformers'} answers without it."
    yield (
        f"The probabilities are scaled with a temperature of {run.model.temperature:.3f}, the geometric mean "
        f"of those that the folds fitted on validation data.{where} Measured on the test sides, each with "
        "its own fold's:"
    )
    yield table(("probabilities", "expected calibration error", "Brier score"), rows)
    before, after = (number(told[when]["ece"]) for when in ("before", "after"))
    yield (
        "![Reliability diagram: share of right answers against confidence. Expected calibration error "
        f"{before} before and {after} after temperature scaling]({RELIABILITY})"
    )
    kept = told["abstention"]
    if kept["threshold"] is not None and kept["accuracy"] is not None:
        yield (
            f"Answering only with a confidence of {kept['threshold']:.3f} or more, a threshold that reached "
            f"an accuracy of {kept['wanted_accuracy']:.3f} on validation data, it answers "
            f"{kept['coverage']:.3f} of the test utterances, and {kept['accuracy']:.3f} of those answers are "
            "right."
        )


def groups(run: CardRun, corpus: TrainingCorpus) -> Iterator[str]:
    """Name whom and what the model understands least.

    What was said in recordings of someone's own is not repeated: of their groups only those are shown whose
    values are no free text.
    """

    def is_shown(column: str) -> bool:
        pattern = CLOSED.get(column)
        is_closed = pattern is not None and all(map(pattern.fullmatch, run.groups[column]))
        return corpus.names_are_public or is_closed

    by_speaker = run.system.uar_by_speaker()
    if len(by_speaker) > 1:
        yield (
            "By speaker, over the emotions that each has, the UAR runs from "
            f"{min(by_speaker.values()):.3f} to {max(by_speaker.values()):.3f}."
        )
    if run.worst_group is not None and is_shown(run.worst_group[0]):
        column, value = run.worst_group
        found = run.groups[column][value]
        within = "" if found.interval is None else f", 95 % interval {interval(found.interval)}"
        yield (
            f"**Worst group:** {escaped(column)} “{escaped(value)}”, UAR {number(found.uar)} "
            f"({found.n} utterances{within})."
        )
    rows = []
    for column, scored in run.groups.items():
        if not is_shown(column):
            continue
        large = sorted(
            (value for value in scored if scored[value].n >= MIN_ROWS), key=lambda value: scored[value].uar
        )
        if len(large) < 2:  # of a few utterances, the lowest is named by chance
            continue
        for what, value in (("lowest", large[0]), ("highest", large[-1])):
            found = scored[value]
            rows.append(
                (
                    escaped(column),
                    f"{what} of {len(large)}",
                    escaped(value),
                    number(found.uar),
                    interval(found.interval),
                    str(found.n),
                    str(len(found.classes)),
                )
            )
    if rows:
        header = ("by", "", "group", "UAR", "95 % interval", "utterances", "emotions")
        yield table(header, rows)
        if len({row[-1] for row in rows}) > 1:
            yield "UARs over unlike numbers of emotions are not alike."


def leak(run: CardRun) -> Iterator[str]:
    """Say what a split that shares speakers would have added; nothing where the run was not asked."""
    if run.leak is None or run.saved.leak is None:
        return
    theirs, ours = run.leak.scores, run.system.scores
    yield (
        "> **Do not quote these numbers as recognition of new speakers.** They are of a random split with "
        "the same voices on both sides, and stand here to show what that leak is worth."
    )
    header = ("split", "UAR", "95 % interval", "accuracy", "macro F1")
    rows = [
        ("speaker-independent", *_numbers(ours.uar, run.system.interval, ours.wa, ours.macro_f1)),
        (
            "**speaker-dependent**, the leak",
            *_numbers(theirs.uar, run.leak.interval, theirs.wa, theirs.macro_f1),
        ),
    ]
    yield table(header, rows)
    yield f"The leak adds {theirs.uar - ours.uar:+.3f} UAR."
