"""The card of a repository of embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ser_transfer.cards.corpus import TrainingCorpus
from ser_transfer.cards.dataset_card import (
    checked_repo_id,
    dataset_card,
    limits_and_law,
    not_for,
    whose_speech,
)
from ser_transfer.cards.kept import FEATURES
from ser_transfer.cards.model_card import ModelCard
from ser_transfer.cards.sections import PLACEHOLDER, SOURCE
from ser_transfer.cards.writing import escaped, listed, plain, table
from ser_transfer.encoders import HANDCRAFTED, NAMED_ENCODERS

MODELS = "https://huggingface.co"
COLUMNS = {
    "utterance_id": "one per row",
    "emotion": "the label",
    "speaker": "who speaks: keep speakers apart when you test",
    "recording": "equal numbers are equal bytes of audio: keep them on one side when you test",
    "sentence": "the words spoken, or the corpus's name for them",
    "intensity": "how strongly it was to be acted",
    "gender": "of the speaker",
    "language": "ISO 639 code",
    "session": "a recording session, or another group of the corpus",
    "start_seconds": "start of the segment in its file",
    "end_seconds": "end of the segment in its file",
    "votes": "how many annotators chose each emotion",
    "arousal": "mean rating, on the corpus's own scale",
    "valence": "mean rating, on the corpus's own scale",
    "dominance": "mean rating, on the corpus's own scale",
}


def embeddings_card(
    described: Mapping[str, Any], corpus: TrainingCorpus, columns: Sequence[str], repo_id: str | None
) -> ModelCard:
    """Make the card of a repository of embeddings.

    Args:
        described: Its `embeddings.json`.
        corpus: That was embedded.
        columns: Of every configuration, without its layers.
        repo_id: Where it will be; None where that is open.
    """
    encoders, about = described["encoders"], described["corpus"]
    repo_id = PLACEHOLDER if repo_id is None else checked_repo_id(repo_id)
    names = [str(each["name"]) for each in encoders]
    title = plain(f"Embeddings of {corpus.title} by {' and '.join(names)}")
    return dataset_card(
        title,
        [corpus],
        {each["config"]: ("train", f"{each['config']}/*.parquet") for each in encoders},
        about["n_utterances"],
        "embeddings",
        (
            ("", _opening(names, corpus)),
            ("How to use it", _use(repo_id, encoders)),
            ("What it is for, and what not", _purpose()),
            ("Whose speech it is", _whose(corpus, about)),
            ("The encoders", _encoders(encoders)),
            ("The columns", _columns(columns, encoders)),
            ("How to test on it", _testing(encoders, about)),
            ("Limits, ethics and law", limits_and_law([corpus])),
            ("How it was made", iter([f"Made with ser_transfer {escaped(described['ser_transfer'])}."])),
        ),
    )


def _opening(names: Sequence[str], corpus: TrainingCorpus) -> Iterator[str]:
    spoken = f" ({escaped(corpus.spoken)})" if corpus.spoken else ""
    verb = "says" if len(names) == 1 else "say"
    yield (
        f"What {listed(names)} {verb} of {corpus.n_utterances} recordings of "
        f"{escaped(corpus.title)}{spoken}, as one vector per recording and layer, with its emotion and "
        "speaker. **No audio is in it.** Heads that recognise emotions are trained on it without a GPU and "
        "without the recordings."
    )


def _use(repo_id: str, encoders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Show lines that run."""
    name = json.dumps(repo_id)
    yield f"With [ser_transfer]({SOURCE}), scored on speakers that the head has not heard:"
    yield f"```shell\npython -m ser_transfer.train --embeddings {repo_id} --head logistic_regression\n```"
    yield "With plain `datasets`:"
    first = encoders[0]
    layer = json.dumps(next(iter(first["layers"])))
    yield (
        "```python\n"
        "from datasets import load_dataset\n\n"
        f'rows = load_dataset({name}, {json.dumps(first["config"])}, split="train").with_format("numpy")\n'
        f'print(rows["speaker"][:5], rows[{layer}][:].shape)\n'
        "```"
    )


def _purpose() -> Iterator[str]:
    yield (
        "It is for research and teaching: to train and compare heads, to see which layer tells emotions "
        "apart, and to compute again what others report. It is **not** for:"
    )
    yield not_for()


def _whose(corpus: TrainingCorpus, about: Mapping[str, Any]) -> Iterator[str]:
    """Say whose voices these are: an embedding of a voice is about as personal as the voice."""
    yield from whose_speech(corpus, about["classes"], pseudonyms=about["pseudonyms"])
    if corpus.is_synthetic:
        return
    yield (
        "**Embeddings of voices may identify speakers.** Speaker verification works on vectors like these: "
        "whoever has a recording of a person may find out which rows are that person's. To leave the audio, "
        "and even the names, away is no anonymity."
    )
    yield (
        "So use these rows as you would be allowed to use the recordings: the terms of the corpus still "
        "apply, and where they forbid passing on what was made of it, they forbid passing this on."
    )


def _encoders(encoders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    header = ("configuration", "encoder", "layers", "numbers", "pooling", "audio", "precision", "fingerprint")
    rows = []
    for each in encoders:
        dims = list(each["layers"].values())
        layers = list(each["layers"])
        rows.append(
            (
                f"`{each['config']}`",
                _linked(each),
                escaped(layers[0])
                if len(layers) == 1
                else f"{len(layers)}, {escaped(layers[0])} to {escaped(layers[-1])}",
                f"{sum(dims):,}",
                escaped(each["pooling"]),
                f"{each['sampling_rate']:,} Hz",
                escaped(each["precision"]),
                f"`{str(each['fingerprint'])[:12]}`",
            )
        )
    yield table(header, rows)
    yield (
        "The pooling makes one vector of all frames of a recording. `embeddings.json` holds fingerprints in "
        "full: a model that was trained on these rows refuses another encoder than theirs."
    )
    hidden = [each["name"] for each in encoders if not _can_be_found(each)]
    if hidden:
        yield (
            f"Nobody here knows where the weights of {listed(hidden)} are. Without them, a head that is "
            "trained on its rows can be tested on these rows, and hears no recording."
        )
    for each in encoders:
        heard = each["heard_speakers"]
        if heard:
            yield (
                f"> **{escaped(each['name'])} was trained on {len(heard)} of these speakers**, so a score on "
                "them says nothing of new ones. `embeddings.json` lists them, and ser_transfer refuses to "
                "test on them."
            )


def _linked(each: Mapping[str, Any]) -> str:
    name = str(each["name"])
    shown = escaped(FEATURES.get(name, name))
    if not each["on_hub"]:
        return shown
    at = f"/tree/{each['revision']}" if each["revision"] is not None else ""
    return f"[{shown}]({MODELS}/{name}{at})"


def _can_be_found(each: Mapping[str, Any]) -> bool:
    return bool(each["on_hub"]) or each["name"] in (*NAMED_ENCODERS, *HANDCRAFTED)


def _columns(columns: Sequence[str], encoders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [(f"`{name}`", COLUMNS[name]) for name in columns]
    for each in encoders:
        layers = [f"`{escaped(layer)}`" for layer in each["layers"]]
        few = layers if len(layers) <= 3 else [layers[0], "…", layers[-1]]
        rows.append((", ".join(few), f"of `{each['config']}`: a float32 vector per layer"))
    yield table(("column", "what it holds"), rows)
    if len(encoders) > 1:
        yield "All configurations hold the same rows in the same order."


def _testing(encoders: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    """Say how a score on these rows becomes one of new speakers, and what cannot be seen without audio."""
    if about["n_speakers"] > 1:
        yield (
            "There is one split, and `datasets` calls it train. Make folds that share no `speaker`: a random "
            "split has the same voices on both sides, and its score is not one of new speakers."
        )
    elif about["n_speakers"] == 0:
        yield "**Who speaks is not known**, so no score on these rows can be called one of new speakers."
    untrained = [FEATURES[each["name"]] for each in encoders[1:] if each["name"] in FEATURES]
    if untrained:
        are = "is" if len(untrained) == 1 else "are"
        yield f"A score wants a handcrafted one beside it: {listed(untrained)} {are} here for that."
    yield (
        "Whether two recordings are nearly the same cannot be told without the audio; nor can frames, "
        "augmented copies or another encoder's embeddings be made."
    )
