"""What is true of every model that names emotions: what it cannot know, and where it may not be used."""

from __future__ import annotations

from collections.abc import Iterator

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.writing import escaped

# Regulation (EU) 2024/1689 of 13 June 2024, whose words these paragraphs keep. Dates of application are left
# out: a card outlives them.
EUROPEAN_LAW = """\
In the European Union, Regulation (EU) 2024/1689, the \
[Artificial Intelligence Act](https://eur-lex.europa.eu/eli/reg/2024/1689/oj), \
says of AI systems that infer emotions of people from their biometric data, such as their voices:

- **Article 5(1)(f), prohibited:** to place on the market, to put into service for this specific purpose, or \
to use AI systems to infer emotions of a natural person in the areas of workplace and education \
institutions, except where the use is intended to be put in place or into the market for medical or safety \
reasons.
- **Article 6(2) and Annex III, point 1(c), high-risk:** AI systems intended to be used for emotion \
recognition, in so far as their use is permitted under relevant Union or national law, unless Article 6(3) \
excepts them.
- **Article 50(3), duty to inform:** deployers of an emotion recognition system inform the natural persons \
exposed to it of its operation, and process their personal data in accordance with Regulations (EU) 2016/679 \
and (EU) 2018/1725 and Directive (EU) 2016/680, as applicable. Systems permitted by law to detect, prevent \
or investigate criminal offences are excepted, subject to safeguards.

This points to the law and is no legal advice. Other places have laws of their own."""

NOT_FOR = (
    "Deciding anything about a person, or being part of such a decision.",
    "Telling lies from truth. It is not a lie detector: nothing in its training has to do with lying.",
    "Diagnosing anyone. It is not a medical device.",
    "Listening to people who do not know of it and have not agreed.",
)


def purpose(corpus: TrainingCorpus) -> Iterator[str]:
    """Say what the model is for, and what no such model is for."""
    yield (
        "It is for research and teaching on emotion in speech: as a baseline whose testing is told, to "
        "compare encoders, and for a first labelling of recordings like those of "
        f"{escaped(corpus.title)} that someone checks. It is **not** for:"
    )
    yield "\n".join(f"- {use}" for use in NOT_FOR)


def limits(corpus: TrainingCorpus) -> Iterator[str]:
    """Say what the model cannot know, and what the law says of using it."""
    source = "what the makers of its corpus wrote beside a recording"
    yield (
        "**An answer is a label, not a state of mind.** In its training data the label is "
        f"{corpus.label_source or source}. What anyone felt was not measured, and the model does not hear it."
    )
    if corpus.is_synthetic:
        yield (
            "**It was trained on synthetic speech.** No person speaks in it; what it scores there says "
            "nothing of its answers to people."
        )
    elif corpus.is_acted:
        yield (
            "**It was trained on acted speech.** On spontaneous speech it was not tested; lower scores are "
            "to be expected there."
        )
    spoken = f", in {escaped(corpus.spoken)}" if corpus.spoken else ""
    yield (
        f"**It knows the voices, sentences, microphones and rooms of one corpus{spoken}.** Other languages, "
        "accents, ages, telephones and noise were not tested. It answers with one of its emotions whatever "
        "it hears, silence and music too."
    )
    yield EUROPEAN_LAW
