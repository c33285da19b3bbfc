"""The whole way from recordings to an honest score, on synthetic speech and without any download.

python -m ser_transfer.quickstart
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ser_transfer._bars import progress_bar
from ser_transfer._command import CallableModule, command
from ser_transfer._setting import setting
from ser_transfer._settings import CACHE, StoreSettings
from ser_transfer.corpora.synthetic import load_synthetic, synthesise_corpus
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.encoders.local import encoders_at_hand
from ser_transfer.fill import fill_store, part_of
from ser_transfer.places import mirrored
from ser_transfer.runs import Run, save_run
from ser_transfer.store import EmbeddingStore
from ser_transfer.train import train

CORPUS = "synthetic speech (nobody spoke it)"

# wav2vec2-base with a third of its layers and a third of its width: a network of random weights
# needs no more to show the floor, and the quickstart has a minute.
SMALL_WAV2VEC2 = {
    "model_type": "wav2vec2",
    "feat_extract_norm": "group",
    "conv_dim": [256] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
}

NEXT = """\
These voices are synthetic: the scores show that everything works, and say nothing about real speech.
Next, with a real corpus. RAVDESS is free (https://doi.org/10.5281/zenodo.1188976); with it in data/ravdess:

  python -m ser_transfer.embed --corpus ravdess --root data/ravdess --encoder facebook/wav2vec2-base
  python -m ser_transfer.train --corpus ravdess --root data/ravdess --encoder facebook/wav2vec2-base \\
      --split emobox

or with your own recordings, one folder per emotion (--encoder handcrafted needs no download):

  python -m ser_transfer.embed --corpus folder --root DIR --speaker-pattern '(?P<speaker>spk[0-9]+)' \\
      --encoder handcrafted
"""


@dataclass(frozen=True, kw_only=True)
class QuickstartSettings(StoreSettings):
    """The whole way from recordings to an honest score, on synthetic speech and without any download."""

    n_speakers: int = setting(8, help="synthetic voices; each says 5 sentences in 6 emotions")
    seed: int = setting(0, help="of the voices, the random weights and the heads")
    out: str = setting("outputs/quickstart", help="run folder")


def quickstart(settings: QuickstartSettings) -> Run:
    """Synthesise a corpus, embed it with every encoder at hand, train, and write the run folder.

    Returns:
        One run with all encoders, the MFCC baseline and the majority-class floor.
    """
    root = CACHE / "synthetic" / f"{settings.n_speakers}-voices-seed-{settings.seed}"
    n_clips = synthesise_corpus(root, n_speakers=settings.n_speakers, seed=settings.seed)
    print(f"synthesised {n_clips} clips of {settings.n_speakers} voices in {root}")
    corpus = load_synthetic(root)
    store = EmbeddingStore(settings.store)
    baseline = None
    runs = []
    for encoder in (load_encoder("mfcc"), *_encoders(settings.seed)):
        part = part_of(encoder)
        with progress_bar(encoder.name) as advance:
            report = fill_store(corpus, encoder, store, part, on_recording=advance)
        embeddings = store.embeddings(part, list(report.keys), list(report.keys.values()))
        print(f"embedded with {encoder.name}: {report.n_encoded} new in {report.wall_seconds:.1f} s")
        if baseline is None:
            baseline = embeddings
            continue
        runs.append(
            train(
                corpus,
                embeddings,
                baseline=None if runs else baseline,
                split="leave-one-speaker-out",
                seed=settings.seed,
                title=CORPUS,
            )
        )
    run = Run.joined(runs)
    with mirrored(settings.out) as out:
        save_run(run, out.folder, asdict(settings))
    return run


def _encoders(seed: int) -> Iterator[Encoder]:
    """The handcrafted set, a network that never learned anything, and what was pretrained and lies here."""
    yield load_encoder("handcrafted")
    folder = CACHE / "wav2vec2-small"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SMALL_WAV2VEC2, indent=2), encoding="utf-8")
    untrained = load_encoder(str(folder), untrained=True, seed=seed)
    untrained.name = "wav2vec2 (small, untrained)"
    yield untrained
    yield from encoders_at_hand()


def _run(settings: QuickstartSettings) -> int:
    begun = time.perf_counter()
    run = quickstart(settings)
    print(f"\n{run}\n\n{time.perf_counter() - begun:.0f} s; plots and scores are in {settings.out}\n\n{NEXT}")
    return 0


main = command(QuickstartSettings, _run)
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
