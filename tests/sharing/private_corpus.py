"""A small corpus of people who never agreed to be named, and embeddings of it."""

import numpy as np

from ser_transfer.corpora import Utterance, corpus_dataset
from ser_transfer.encoders import Encoder
from ser_transfer.sharing.embeddings import Embedded
from ser_transfer.store import Embeddings

PEOPLE = ("annaliese-vontobel", "bertrand-quimby", "zdenka-haberfeld")
EMOTIONS = ("neutral", "anger", "fear")
SECRET = "/home/someone/secret"
ROWS = tuple((person, emotion, take) for person in PEOPLE for emotion in EMOTIONS for take in range(4))


class Unheard(Encoder):
    """An encoder that is only ever described."""

    name = "zero_crossings"
    fingerprint = "0" * 64
    sampling_rate = 16_000
    frame_rate = 100.0
    layer_names = ("energy", "crossings")
    dims = (1, 3)
    default_pooling = "mean"
    min_seconds = 0.01

    def encode(self, waveforms):
        raise AssertionError("nothing is heard here")


def private_corpus(name="folder", people=PEOPLE, order=None):
    """Rows whose every text is a secret, in any order; `people` are who they are called."""
    called = dict(zip(PEOPLE, people, strict=True))
    rows = [
        Utterance(
            utterance_id=f"ward-seven/{called[person]}-{emotion}-{take}",
            audio=f"{SECRET}/{called[person]}/{take}.wav",
            emotion=emotion,
            speaker=called[person],
            sentence="my-diagnosis-is",
            intensity="sobbing",
            gender="female" if person != PEOPLE[1] else "they said so",
            language="de",
            session=f"therapy-of-{called[person]}",
            start_seconds=1.0 * take,
            end_seconds=1.0 * take + 1,
            arousal=0.5,
        )
        for person, emotion, take in (ROWS[row] for row in (order or range(len(ROWS))))
    ]
    corpus = corpus_dataset(rows)
    corpus.info.dataset_name = name
    return corpus


def embedded(corpus, people=PEOPLE, dim=3, **named) -> Embedded:
    """What an encoder could say: numbers that differ for every recording, whoever it is called after."""
    encoder = Unheard()
    for attribute, value in named.items():
        setattr(encoder, attribute, value)
    called = dict(zip(PEOPLE, people, strict=True))
    ids = {f"ward-seven/{called[p]}-{e}-{t}": row for row, (p, e, t) in enumerate(ROWS)}
    rows = [ids[id_] for id_ in corpus["utterance_id"]]
    rng = np.random.default_rng(0)
    layers = {
        name: rng.normal(size=(len(ROWS), size)).astype(np.float32)[rows]
        for name, size in (("energy", 1), ("crossings", dim))
    }
    given = Embeddings(
        tuple(corpus["utterance_id"][:]), layers, encoder.name, encoder.fingerprint, "mean", "float32"
    )
    return Embedded(encoder, given)


def keys(corpus):
    """Audio keys, of which two are equal: one recording under two ids."""
    ids = list(corpus["utterance_id"])
    found = {id_: f"key of {id_}" for id_ in ids}
    first, second = sorted(ids)[:2]
    return found | {second: found[first]}
