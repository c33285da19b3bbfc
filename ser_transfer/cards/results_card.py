"""The card of a repository of results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.dataset_card import (
    checked_repo_id,
    dataset_card,
    limits_and_law,
    not_for,
    whose_speech,
)
from ser_transfer.cards.model_card import ModelCard
from ser_transfer.cards.protocol import IN_WORDS, PUBLISHED
from ser_transfer.cards.sections import PLACEHOLDER, SOURCE
from ser_transfer.cards.writing import escaped, interval, number, plain, table

ELSEWHERE = "A model that was trained elsewhere was tested once, on all of it ({description})."
HEADER = ("run", "corpus", "system", "UAR", "95 % interval", "accuracy", "macro F1", "utterances")
MAX_ROWS = 60  # of one table: what a page can show


@dataclass(frozen=True, eq=False)
class ToldRun:
    """What the card tells of a run.

    Attributes:
        name: Of the run.
        corpus: That it tested on.
        split_in_words: How.
        split_description: The same in a few words, as in tables.
        classes: Its emotions.
        pseudonyms: Whether numbers stand in place of names.
        rows: Of the leaderboard.
    """

    name: str
    corpus: TrainingCorpus
    split_in_words: str
    split_description: str
    classes: Sequence[str]
    pseudonyms: bool
    rows: Sequence[Mapping[str, Any]]


def split_in_words(name: str, n_folds: int, description: str) -> str:
    """Say how a split tests, in sentences without markup.

    Args:
        name: Of the split.
        n_folds: How many folds were tested.
        description: The run's own few words.
    """
    words = next((text for start, text in IN_WORDS.items() if name.startswith(start)), PUBLISHED)
    if name == "evaluate":
        words = ELSEWHERE
    told = words.format(n=n_folds, group=name.partition(":")[2], description=description)
    return plain(told.replace("**", ""), len(told))


def results_card(
    runs: Sequence[ToldRun],
    n_answers: int,
    classes: Sequence[str],
    repo_id: str | None,
    title: str | None,
    version: str,
) -> ModelCard:
    """Make the card of a repository of results.

    Args:
        runs: What is in it.
        n_answers: Rows of `predictions`.
        classes: All emotions that a probability is given for.
        repo_id: Where it will be; None where that is open.
        title: Of the repository; None for one made of its corpora.
        version: Of this package.
    """
    repo_id = PLACEHOLDER if repo_id is None else checked_repo_id(repo_id)
    corpora = list({(run.corpus.name, run.corpus.title): run.corpus for run in runs}.values())
    titles = " and ".join(dict.fromkeys(corpus.title for corpus in corpora))
    title = plain(title or "") or plain(f"Speech emotion recognition on {titles}: scores and answers")
    rows = [row for run in runs for row in run.rows]
    return dataset_card(
        title,
        corpora,
        {
            "leaderboard": ("test", "leaderboard/*.parquet"),
            "predictions": ("test", "predictions/*.parquet"),
        },
        n_answers,
        "benchmark-results",
        (
            ("", _opening(runs, rows, n_answers)),
            ("Scores on speakers who were not heard in training", _independent(rows)),
            ("NOT SPEAKER-INDEPENDENT: scores on voices that may have been heard", _dependent(rows)),
            ("How it was tested", _protocols(runs)),
            ("How to use it", _use(repo_id)),
            ("The columns", _columns(classes)),
            ("What it is for, and what not", _purpose()),
            ("Whose speech it is", _whose(runs)),
            ("Limits, ethics and law", limits_and_law(corpora)),
            ("How it was made", iter([f"Made with ser_transfer {escaped(version)}."])),
        ),
    )


def _opening(runs: Sequence[ToldRun], rows: Sequence[Mapping[str, Any]], n_answers: int) -> Iterator[str]:
    n_runs = len({run.name for run in runs})
    yield (
        f"The scores of {len(rows)} {'systems' if len(rows) != 1 else 'system'} in {n_runs} "
        f"{'runs' if n_runs != 1 else 'run'}, and every answer that they follow from: {n_answers:,} rows "
        "with the truth, the fold and the probability of each emotion. **No audio is in it.**"
    )
    if not all(row["speaker_independent"] for row in rows):
        yield (
            "> **Some rows are NOT SPEAKER-INDEPENDENT**: their systems were tested on voices that they may "
            "have been trained on. The column `speaker_independent` says which. Do not rank them among the "
            "others."
        )


def _independent(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    found = [row for row in rows if row["speaker_independent"] and not row["speaker_normalised"]]
    if not found:
        return
    yield from _table(found)
    yield (
        "UAR, the main score, is the mean of the recalls of all emotions, however frequent each is. "
        "Intervals are over speakers. Scores of different corpora, splits or emotions are not alike."
    )


def _dependent(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    leaky = [row for row in rows if not row["speaker_independent"]]
    if leaky:
        yield (
            "> **Do not quote these numbers as recognition of new speakers.** The same voices may stand on "
            "both sides of a fold."
        )
        yield from _table(leaky)
    normalised = [row for row in rows if row["speaker_independent"] and row["speaker_normalised"]]
    if normalised:
        yield (
            "> **SPEAKER-NORMALISED.** These scores use unlabelled statistics of the test speakers, which a "
            "new recording does not bring."
        )
        yield from _table(normalised)


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    ranked = sorted(rows, key=lambda row: (row["corpus"].casefold(), row["run"], -row["uar"]))
    yield table(
        HEADER,
        [
            (
                escaped(row["run"]),
                escaped(row["corpus"]),
                escaped(row["system"]) + {"baseline": " (baseline)"}.get(row["role"], ""),
                number(row["uar"]),
                interval(None if row["uar_low"] is None else (row["uar_low"], row["uar_high"])),
                number(row["wa"]),
                number(row["macro_f1"]),
                str(row["n_utterances"]),
            )
            for row in ranked[:MAX_ROWS]
        ],
    )
    if len(ranked) > MAX_ROWS:
        yield f"And {len(ranked) - MAX_ROWS} more in the configuration `leaderboard`."


def _protocols(runs: Sequence[ToldRun]) -> Iterator[str]:
    by_words: dict[str, list[str]] = {}
    for run in runs:
        label = escaped(run.name)
        if not all(row["speaker_independent"] for row in run.rows):
            label += " (**NOT SPEAKER-INDEPENDENT**)"
        words = escaped(run.split_in_words, len(run.split_in_words))
        if run.split_description not in run.split_in_words:
            words += f" ({escaped(run.split_description)})"
        by_words.setdefault(words, []).append(label)
    yield "\n".join(f"- {', '.join(names)}: {words}" for words, names in by_words.items())
    yield "All folds of a run are scored together. The test side of a fold was scored once."


def _use(repo_id: str) -> Iterator[str]:
    """Show lines that run, and that give the main score."""
    name = json.dumps(repo_id)
    yield (
        "```python\n"
        "from datasets import load_dataset\n"
        "from sklearn.metrics import balanced_accuracy_score\n\n"
        f'scores = load_dataset({name}, "leaderboard", split="test").to_pandas()\n'
        f'answers = load_dataset({name}, "predictions", split="test").to_pandas()\n'
        'for key, rows in answers.groupby(["run", "split", "system"]):\n'
        '    print(*key, balanced_accuracy_score(rows["truth"], rows["predicted"]))  # the UAR\n'
        "```"
    )
    yield f"The runs are of [ser_transfer]({SOURCE}), whose `metrics.json` says the same numbers."


def _columns(classes: Sequence[str]) -> Iterator[str]:
    shown = [f"`p_{each}`" for each in classes]
    rows = [
        (
            "both",
            "`run`, `corpus`, `system`, `role`",
            "what was tested; a role is encoder, fusion, baseline, untrained or floor",
        ),
        (
            "both",
            "`split`, `speaker_independent`",
            "how, and whether no speaker stands on two sides of a fold",
        ),
        ("leaderboard", "`uar`, `wa`, `macro_f1`", "unweighted average recall, accuracy and macro F1"),
        ("leaderboard", "`uar_low`, `uar_high`", "95 % interval over speakers"),
        (
            "leaderboard",
            "`above_baseline`, `p_value`",
            "UAR above the baseline's, and a paired test over "
            "speakers, corrected for the number of systems (Holm)",
        ),
        ("leaderboard", "`ece_*`, `brier_*`", "calibration before and after temperature scaling"),
        ("predictions", "`utterance_id`, `speaker`, `fold`", "what was tested, and in which fold"),
        ("predictions", "`truth`, `predicted`", "the label, and the most probable emotion"),
        (
            "predictions",
            ", ".join(shown if len(shown) <= 4 else [shown[0], "…", shown[-1]]),
            "probabilities as the head gave them; empty where the run does not know the emotion",
        ),
        ("predictions", "`temperature`", "of the fold: what the probabilities are calibrated with"),
    ]
    yield table(("configuration", "columns", "what they hold"), rows)


def _purpose() -> Iterator[str]:
    yield (
        "It is for research and teaching: to compare systems on the same utterances, to compute other scores "
        "and tests from the same answers, and to see whom and what each system understands least. It is "
        "**not** for:"
    )
    yield not_for()


def _whose(runs: Sequence[ToldRun]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for run in runs:
        corpus = run.corpus
        if (corpus.name, corpus.title) in seen:
            continue
        seen.add((corpus.name, corpus.title))
        yield from whose_speech(corpus, run.classes, pseudonyms=run.pseudonyms)
    yield (
        "The answers are about recordings of people. The terms of a corpus that speak of what is made of it "
        "apply to them too."
    )
