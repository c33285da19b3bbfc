"""What is written of a model to be pushed: its own files, a card, and nobody's name."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from encoders.tiny_checkpoints import save_checkpoint
from safetensors import safe_open

from ser_transfer import embed, load_encoder, train
from ser_transfer.encoders.heard import heard_among
from ser_transfer.heads import HEADS
from ser_transfer.hub import HubError
from ser_transfer.model import EmotionModel, ModelError
from ser_transfer.runs import save_run
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.models import model_repository
from ser_transfer.train import model_of


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_repository_holds_the_files_of_the_model_a_card_and_nothing_else(run, tmp_path):
    model_repository(run, tmp_path / "staged", repo_id="ada/tone", name_speakers=True)
    staged, kept = files(tmp_path / "staged"), files(run / "model")
    card = staged.pop("README.md").decode()
    figures = {name for name in staged if name.endswith(".png")}
    assert {name: content for name, content in staged.items() if name not in figures} == kept
    assert all(name in card for name in figures)
    assert 'from_pretrained("ada/tone")' in card


def test_speakers_of_an_unpublished_corpus_go_unnamed_and_are_still_known_when_met_again(run, tmp_path):
    [note] = model_repository(run, tmp_path / "staged")
    assert "4 training speakers" in note
    for name, content in files(tmp_path / "staged").items():
        if not name.endswith((".png", ".skops")):
            assert not any(f'"p{number}"'.encode() in content for number in (1, 2, 3, 4)), name
    assert not re.search(r"\bp[1-4]\b", (tmp_path / "staged" / "README.md").read_text())
    model = EmotionModel.from_pretrained(tmp_path / "staged")
    assert model.training["speakers"] == []
    assert heard_among(model.training, ["p5", "p3", None, "p1", "p33"]) == ["p1", "p3"]
    model.save(tmp_path / "again")
    assert heard_among(EmotionModel.from_pretrained(tmp_path / "again").training, ["p3"]) == ["p3"]


def test_the_same_name_has_another_digest_in_every_model(run, tmp_path):
    for name in ("first", "second"):
        model_repository(run, tmp_path / name)
    first, second = (
        json.loads((tmp_path / name / "config.json").read_text())["training"]["speaker_digests"]["digests"]
        for name in ("first", "second")
    )
    assert len(first) == len(set(first) | set(second)) / 2 == 4


@pytest.mark.parametrize("head", sorted(HEADS))
def test_nothing_pickled_is_in_any_head(head, trained_once, tmp_path):
    model_repository(trained_once(head), tmp_path / "staged")
    for name, content in files(tmp_path / "staged").items():
        if name.endswith(".json"):
            json.loads(content)
        elif name.endswith(".safetensors"):
            with safe_open(tmp_path / "staged" / name, "np") as tensors:
                assert tensors.keys()
        elif name.endswith(".skops"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for inside in archive.namelist():
                    refuse_pickle(inside, archive.read(inside))
        else:
            assert name.endswith((".png", ".md"))


def refuse_pickle(name, content):
    if name.endswith(".npy"):
        np.load(io.BytesIO(content), allow_pickle=False)
    else:
        assert name == "schema.json"
        json.loads(content)


def test_a_model_with_its_encoder_answers_bit_for_bit_where_the_encoder_is_gone(corpus, tmp_path):
    checkpoint = save_checkpoint("wav2vec2-base", tmp_path / "checkpoint")
    encoder = load_encoder(str(checkpoint), device="cpu")
    embeddings = embed(corpus, encoder, store=tmp_path / "store", n_workers=1)
    run = train(corpus, embeddings, split="loso")
    save_run(
        run, tmp_path / "run", {"corpus": "folder", "encoder": str(checkpoint), "head": "lda"}, plots=False
    )
    model = model_of(run, corpus, embeddings, encoder)
    model.save(tmp_path / "run" / "model")
    expected = model.predict_proba(corpus["audio"][:5])
    with pytest.raises(ModelError, match=r"of this machine, .*: add --include-encoder"):
        model_repository(tmp_path / "run", tmp_path / "refused")
    model_repository(tmp_path / "run", tmp_path / "staged", include_encoder=True)
    texts = [
        content for name, content in files(tmp_path / "staged").items() if name.endswith((".json", ".md"))
    ]
    assert not any(str(tmp_path).encode() in content for content in texts), "a path of this machine"
    assert "lie in this repository" in (tmp_path / "staged" / "README.md").read_text()
    checkpoint.rename(tmp_path / "elsewhere")
    again = EmotionModel.from_pretrained(tmp_path / "staged", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(corpus["audio"][:5]), expected)
    config = next((tmp_path / "staged" / "encoder").glob("config.json"))
    config.write_text(config.read_text().replace('"num_hidden_layers": 3', '"num_hidden_layers": 2'))
    with pytest.raises(ModelError, match="is not the encoder that"):
        EmotionModel.from_pretrained(tmp_path / "staged", device="cpu")


@pytest.mark.parametrize(
    ("name", "error"), [("head.pkl", HubError), ("modeling.py", HubError), ("notes.txt", SharingError)]
)
def test_what_no_model_of_ours_holds_is_not_shared(name, error, run, tmp_path):
    import shutil

    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "model" / name).write_bytes(b"print('run')")
    with pytest.raises(error, match=name):
        model_repository(copy, tmp_path / "staged")
    assert not Path(tmp_path / "staged").exists()


def test_a_folder_that_holds_files_is_never_written_over(run, tmp_path):
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "mine.txt").write_text("mine")
    with pytest.raises(SharingError, match="holds files: remove it"):
        model_repository(run, tmp_path / "staged")
    assert files(tmp_path / "staged") == {"mine.txt": b"mine"}
