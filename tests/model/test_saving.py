"""A disk that is full while a model is saved: one line, and the model that lay there is whole."""

import subprocess
import sys

import pytest
from finetuning.tiny_networks import network

from ser_transfer import embed, load_encoder, train
from ser_transfer.cross_validation import HeadChoice
from ser_transfer.embed import embed_frames
from ser_transfer.model import EmotionModel, NetworkModel
from ser_transfer.train import model_of

# No file may grow beyond so many bytes: writing fails in the middle, as on a full disk.
SAVE = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from ser_transfer import SerTransferError
from ser_transfer.model import EmotionModel
given, folder, most = sys.argv[1:]
model = EmotionModel.from_pretrained(given, device="cpu")
model.temperature = 3.0
resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
try:
    model.save(folder)
except SerTransferError as error:
    print(error)
"""


@pytest.fixture(params=["frozen", "sequence", "network"])
def model(request, corpus, tmp_path):
    if request.param == "network":
        return NetworkModel(network("wav2vec2-base", pooling="stock"), "tiny", {})
    encoder = load_encoder("mfcc")
    if request.param == "frozen":
        embeddings = embed(corpus, encoder, store=tmp_path / "store", n_workers=1)
        return model_of(train(corpus, embeddings, split="loso"), corpus, embeddings, encoder)
    head = HeadChoice(
        "attentive", {"max_epochs": 2, "hidden_units": (8,), "attention_units": 4}, random_state=0
    )
    frames = embed_frames(corpus, encoder, encoder.layer_names[0], store=tmp_path / "store", n_workers=1)
    return model_of(train(corpus, frames, split="loso", head=head), corpus, frames, encoder, head)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_is_one_line_and_leaves_the_old_model_whole(model, corpus, tmp_path):
    folder = tmp_path / "model"
    model.save(folder)
    before = contents(folder)
    for most in (max(map(len, before.values())) // 2, 100):
        told = [sys.executable, "-c", SAVE, str(folder), str(folder), str(most)]
        done = subprocess.run(told, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert str(folder) in done.stdout
        assert len(done.stdout.strip().splitlines()) == 1, done.stdout
        assert contents(folder) == before, "the old model is no longer whole, or something was left beside it"
    EmotionModel.from_pretrained(folder, device="cpu").predict_proba(corpus["audio"][:1])
