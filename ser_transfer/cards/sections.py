"""The text of a card, section by section; a section that has nothing to say is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ser_transfer.cards import data, limits, made, protocol, scores
from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.kept import KeptModel
from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import escaped, interval, listed, number

SOURCE = "https://github.com/ser-transfer/ser_transfer"
PLACEHOLDER = "user/name"  # until it has an id
NEED_WEIGHTS = ("yamnet", "vggish")  # encoders whose weights can come as a file


def body(
    run: CardRun, corpus: TrainingCorpus, title: str, repo_id: str | None, *, has_encoder: bool = False
) -> str:
    """Write all of a card below its header.

    Args:
        run: As it was read.
        corpus: That the model was trained on.
        title: The model's.
        repo_id: Where it will be; None where that is open.
        has_encoder: Whether the files of its frozen encoder go with it.
    """
    sections = (
        ("", _opening(run, corpus)),
        ("How to use it", use(run.model, repo_id or PLACEHOLDER, has_encoder=has_encoder)),
        ("What it is for, and what not", limits.purpose(corpus)),
        ("Training data", data.training_data(run.model, corpus)),
        ("How it was tested", protocol.protocol(run, corpus)),
        ("Scores by emotion", scores.by_emotion(run)),
        ("How far to trust the probabilities", scores.calibration(run)),
        ("Whom and what it understands least", scores.groups(run, corpus)),
        ("Not speaker-independent: what a leak would add", scores.leak(run)),
        ("Limits, ethics and law", limits.limits(corpus)),
        ("How it was made", made.made(run)),
    )
    written = [f"# {escaped(title)}"]
    for heading, paragraphs in sections:
        found = list(paragraphs)
        if found:
            written += [*([f"## {heading}"] if heading else []), *found]
    return "\n\n".join(written) + "\n"


def _opening(run: CardRun, corpus: TrainingCorpus) -> Iterator[str]:
    """Say first what a visitor has to know: what it does, and how well on voices that it has not heard."""
    if not run.saved.speaker_independent:
        yield (
            "> **NOT SPEAKER-INDEPENDENT.** Every score in this card was measured on voices that the model "
            f"may have been trained on ({escaped(run.saved.description)}). None of them says how well it "
            "recognises new speakers, so none is given to the Hub as a result."
        )
    if run.saved.speaker_normalised:
        yield (
            "> **SPEAKER-NORMALISED.** The scores use unlabelled statistics of the test speakers, which a "
            "new recording does not bring, so none is given to the Hub as a result."
        )
    emotions, stands_on = run.system.scores.classes, escaped(run.model.stands_on)
    if run.is_finetuned:
        what = f"{stands_on}, fine-tuned"
    else:
        head = escaped(str(run.recipe.get("head", "head")).replace("_", " "))
        what = f"{head} on {'' if run.model.is_untrained else 'the frozen encoder '}{stands_on}"
    spoken = f" ({escaped(corpus.spoken)})" if corpus.spoken else ""
    yield (
        f"It hears a recording of speech and tells how probable each of {len(emotions)} emotions is: "
        f"{listed(emotions)}. It is {what}, trained on {escaped(corpus.title)}{spoken}."
    )
    whose = "speakers who were not heard in training"
    if not run.is_speaker_independent:
        whose = "**voices that may have been heard in training**"
    within = "" if run.system.interval is None else f" (95 % interval {interval(run.system.interval)})"
    guess = (
        "." if run.floor is None else f"; always answering one emotion gives {number(run.floor.scores.uar)}."
    )
    yield (
        f"On {whose}, it reaches an unweighted average recall (UAR) of **{number(run.system.scores.uar)}**"
        f"{within}{guess}"
    )
    yield from scores.summary(run)


def use(model: KeptModel, repo_id: str, *, has_encoder: bool = False) -> Iterator[str]:
    """Show lines that run."""
    kind, encoder = model.kind, model.encoder
    yield f"With [ser_transfer]({SOURCE}), from a file of any format and length:"
    yield (
        "```python\n"
        "from ser_transfer import EmotionModel\n\n"
        f"model = EmotionModel.from_pretrained({json.dumps(repo_id)})\n"
        'print(model.predict("recording.wav"))\n'
        "```"
    )
    if kind == "frozen" and has_encoder:
        yield f"The files of its encoder, {escaped(encoder)}, lie in this repository, unchanged."
    elif kind == "frozen" and not model.is_untrained:
        weights = ', as a file too: `from_pretrained(..., weights="FILE")`' if encoder in NEED_WEIGHTS else ""
        yield (
            f"Its encoder, {escaped(encoder)}, is looked for by its name{weights}. One that is not the "
            "encoder of its training is refused."
        )
    if kind == "transformers":
        yield "With plain transformers:"
        yield (
            "```python\n"
            "from transformers import pipeline\n\n"
            f'classifier = pipeline("audio-classification", model={json.dumps(repo_id)})\n'
            'print(classifier("recording.wav", top_k=None))\n'
            "```"
        )
    if kind == "adapter":
        yield "It is an adapter, which plain `peft` loads onto its encoder as well."
