import json

import numpy as np
import pytest

from ser_transfer import embed, load_encoder, train
from ser_transfer.heads import HEADS, make_head
from ser_transfer.model import EmotionModel, ModelError
from ser_transfer.model.frozen import TRUSTED
from ser_transfer.train import model_of


@pytest.fixture
def model(corpus, tmp_path):
    encoder = load_encoder("mfcc")
    embeddings = embed(corpus, encoder, store=tmp_path / "store", n_workers=1)
    run = train(corpus, embeddings, split="loso")
    return model_of(run, corpus, embeddings, encoder)


def test_a_model_read_back_gives_the_same_probabilities_bit_for_bit(model, corpus, tmp_path):
    model.save(tmp_path / "model")
    sources = corpus["audio"][::5]
    again = EmotionModel.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(sources), model.predict_proba(sources))
    assert again.training == model.training
    assert again.training["speakers"] == ["p1", "p2", "p3", "p4"]


def test_a_model_knows_the_emotions_it_was_trained_on(model, corpus):
    rows = [0, 9, 20]
    names = corpus.features["emotion"].names
    found = model.predict([corpus[row]["audio"] for row in rows])
    assert [each.emotion for each in found] == [names[corpus[row]["emotion"]] for row in rows]
    assert set(model.classes) == set(names)


def test_nothing_pickled_is_written(model, tmp_path):
    model.save(tmp_path / "model")
    for path in (tmp_path / "model").rglob("*"):
        assert path.read_bytes()[:1] != b"\x80", f"{path} begins as a pickle does"
        assert path.suffix in (".json", ".skops")


def test_another_encoder_than_the_trained_one_is_refused(model, tmp_path):
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["encoder"]["definition"] = "f" * 64
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="mfcc is not the encoder"):
        EmotionModel.from_pretrained(tmp_path / "model")


def test_a_planted_type_is_refused_and_never_built(model, tmp_path):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    model.save(tmp_path / "model")
    canary = tmp_path / "canary"
    skops.io.dump(FunctionTransformer(canary.touch), tmp_path / "model" / "head.skops")
    with pytest.raises(ModelError, match="not trusted"):
        EmotionModel.from_pretrained(tmp_path / "model")
    assert not canary.exists()


def test_a_newer_format_and_an_empty_folder_are_refused(model, tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        EmotionModel.from_pretrained(tmp_path)
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text()) | {"format": 99}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="newer ser_transfer"):
        EmotionModel.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("name", HEADS)
def test_every_head_is_built_of_trusted_types_only(name, tmp_path):
    import skops.io

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 6)).astype(np.float32), np.array(["anger", "fear", "calm"] * 10)
    head = make_head(name, block_sizes=[3, 3]).fit(X, y)
    skops.io.dump(head, tmp_path / "head.skops")
    assert set(skops.io.get_untrusted_types(file=tmp_path / "head.skops")) <= TRUSTED
    again = skops.io.load(tmp_path / "head.skops", trusted=sorted(TRUSTED))
    np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
