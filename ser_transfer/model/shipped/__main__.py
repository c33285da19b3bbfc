"""Make the models that ship with the package, from EmoDB, which its authors gave to everyone (CC0 1.0).

python -m ser_transfer.model.shipped --root DIR

The edition whose clips were cut to their first 2 s, in which they were made, is made of the whole one by
``--cut``: the same clips up to the rounding of a resampling.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from ser_transfer.corpora import load_corpus
from ser_transfer.model.base import EmotionModel
from ser_transfer.model.places import MFCC_MODEL, SHIPPED_MODEL, model_folder

ENCODERS = {SHIPPED_MODEL: "handcrafted", MFCC_MODEL: "mfcc"}
CUT_SECONDS = 2.0
TITLE = "EmoDB cut to 2 s"


def make(root: Path) -> None:
    """Train both models on a corpus, score them on speakers left out, and write them into the package."""
    corpus = load_corpus("emodb", root)
    for name, encoder in ENCODERS.items():
        model = EmotionModel.fit(corpus, encoder, split="leave-one-speaker-out", title=TITLE)
        folder = model_folder(name)
        model.save(folder)
        low, high = model.training["uar_interval"]
        kilobytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e3
        told = f"UAR {model.training['uar']:.3f} ({low:.3f} to {high:.3f}), {model.training['split']}"
        print(f"{name}: {told}, temperature {model.temperature:.2f}, {kilobytes:.0f} kB")


def cut(root: Path, folder: Path) -> None:
    """Copy clips cut to `CUT_SECONDS`, shorter ones filled up with silence."""
    for path in sorted(root.rglob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        wanted = round(CUT_SECONDS * rate)
        samples = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
        soundfile.write(folder / path.name, samples, rate)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m ser_transfer.model.shipped", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of EmoDB")
    parser.add_argument("--cut", action="store_true", help="cut the clips of the whole edition first")
    arguments = parser.parse_args()
    if not arguments.cut:
        make(arguments.root)
        return
    with tempfile.TemporaryDirectory(prefix="ser_transfer-") as temporary:
        cut(arguments.root, Path(temporary))
        make(Path(temporary))


if __name__ == "__main__":
    main()
