"""A network on a fold: what it hears, what it keeps, and that it goes on where it was stopped."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_networks import checkpoint
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from ser_transfer.cross_validation import Labels
from ser_transfer.fill import keys_by_id
from ser_transfer.finetuning import (
    BatchSettings,
    FinetuneError,
    Finetuning,
    InterruptedTraining,
    LossSettings,
    NetworkSettings,
    Optimisation,
    cross_validate_network,
    finetune_on_all,
    load_saved_network,
    make_accelerator,
)
from ser_transfer.finetuning.folds import finetune_fold
from ser_transfer.splits import Fold, Split, make_split

QUICK = {"batch_seconds": 3.0, "eval_batch": 4}


def settings(encoder="wav2vec2-base", *, network=None, batches=None, loss=None, **optimisation):
    name = encoder if encoder == "yamnet" else checkpoint(encoder)
    return Finetuning(
        network=NetworkSettings(encoder=name, **(network or {})),
        batches=BatchSettings(**{**QUICK, **(batches or {})}),
        loss=LossSettings(**(loss or {})),
        optimisation=Optimisation(**{"max_epochs": 2, "learning_rate": 1e-3, "seed": 3, **optimisation}),
    )


def train(corpus, fold, given, folder, **options):
    accelerator = make_accelerator(given.optimisation, folder, device="cpu")
    try:
        return finetune_fold(accelerator, corpus, Labels.of(corpus), fold, given, folder, **options)
    finally:
        accelerator.free_memory()


@pytest.fixture
def fold(corpus) -> Fold:
    return make_split(corpus, "leave-one-speaker-out").folds[0]


def test_a_small_wav2vec2_fits_16_clips(corpus, tmp_path):
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "small")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "small")
    ids = tuple(corpus["utterance_id"][::3][:8]) + tuple(corpus["utterance_id"][1::3][:8])
    truth = [Labels.of(corpus).emotions[id_] for id_ in ids]
    assert len(set(truth)) == 3
    given = Finetuning(
        network=NetworkSettings(encoder=str(tmp_path / "small"), spec_augment=False, dropout=0.0),
        batches=BatchSettings(**QUICK),
        optimisation=Optimisation(max_epochs=40, learning_rate=3e-3, head_learning_rate=3e-3),
    )
    result = train(corpus, Fold("1", ids, (), ids), given, tmp_path / "fold")
    classes = Labels.of(corpus).classes
    assert [classes[column] for column in result.test.argmax(axis=1)] == truth


@pytest.mark.parametrize("encoder", ["wav2vec2-base", "hubert-large", "whisper"])
def test_no_score_depends_on_the_batch(corpus, fold, tmp_path, encoder):
    """wav2vec2-base is the one whose group norm hears the padding of a batch."""
    results = []
    for n in (1, 8):
        batches = {"eval_batch": n, "batch_seconds": 120.0 if encoder == "whisper" else 3.0}
        given = settings(encoder, network={"spec_augment": False}, batches=batches, max_epochs=1)
        results.append(train(corpus, fold, given, tmp_path / str(n)))
    np.testing.assert_allclose(results[0].test, results[1].test, atol=1e-5)
    np.testing.assert_allclose(results[0].validation, results[1].validation, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "network", "batches"),
    [
        ("wav2vec2-base", {"layer": "mix", "pooling": "attentive"}, {"mixup": 0.5, "crop_seconds": 0.2}),
        ("wav2vec2-base", {"adapter": "lora"}, {"augment": "gain:-6..6", "n_workers": 2}),
        ("yamnet", {"untrained": True}, {"augment": "speed:0.9..1.1"}),
        ("yamnet", {"untrained": True, "layer": "layer_12,layer_14"}, {"n_workers": 1}),
    ],
)
def test_a_stopped_and_resumed_fold_is_the_uninterrupted_one(
    corpus, fold, tmp_path, encoder, network, batches
):
    given = settings(encoder, network=network, batches=batches, accumulation=2, average=0.5, max_epochs=3)
    straight = train(corpus, fold, given, tmp_path / "straight")

    def stop(step):
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedTraining):
        train(corpus, fold, given, tmp_path / "stopped", on_step=stop)
    resumed = train(corpus, fold, given, tmp_path / "stopped", resume=True)
    assert np.array_equal(resumed.test, straight.test)
    assert np.array_equal(resumed.validation, straight.validation)
    files = [tmp_path / run / "model" / "model.safetensors" for run in ("straight", "stopped")]
    weights = [load_file(path) for path in files]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_kept_network_gives_the_scored_answers(corpus, fold, tmp_path):
    result = train(corpus, fold, settings(), tmp_path)
    network = load_saved_network(tmp_path / "model")
    [row] = [row for row in corpus if row["utterance_id"] == fold.test_ids[0]]
    from ser_transfer.audio import read_audio

    waveform = read_audio(row["audio"], network.sampling_rate)
    with torch.no_grad():
        alone = network(network.front_end.prepare([waveform])).logits.double().softmax(dim=1)
    np.testing.assert_allclose(alone[0].numpy(), result.test[0], atol=1e-5)


def test_a_fold_that_is_refit_hears_the_validation_speakers_too(corpus, fold, tmp_path):
    plain = train(corpus, fold, settings(), tmp_path / "plain")
    refit = train(corpus, fold, settings(refit=True), tmp_path / "refit")
    assert np.array_equal(plain.validation, refit.validation), "answers of a network that has not heard them"
    assert not np.array_equal(plain.test, refit.test)
    assert refit.choice.validation_uar == plain.choice.validation_uar


def test_the_speakers_a_network_has_heard_are_written_beside_it(corpus, fold, tmp_path):
    train(corpus, fold, settings(), tmp_path, training={"corpus": "tones"})
    facts = json.loads((tmp_path / "model" / "training.json").read_text())
    labels = Labels.of(corpus)
    tested = {labels.speakers[id_] for id_ in fold.test_ids}
    assert set(facts["speakers"]) == set(labels.speakers.values()) - tested
    assert facts["corpus"] == "tones"


def test_without_validation_speakers_the_last_epoch_stands_and_nothing_is_calibrated(corpus, tmp_path):
    fold = make_split(corpus, "leave-one-speaker-out").folds[0]
    alone = Fold("1", (*fold.train_ids, *fold.validation_ids), (), fold.test_ids)
    split = Split("hand-made", (alone,), True, "by hand", ())
    accelerator = make_accelerator(Optimisation(), tmp_path, device="cpu")
    labels = Labels.of(corpus)
    with pytest.warns(UserWarning, match="last epoch stands"):
        found = cross_validate_network(accelerator, corpus, labels, split, settings(), tmp_path / "run")
    assert found.temperatures == {"1": None}
    assert found.choices["1"].settings["best_epoch"] == 2
    with pytest.raises(FinetuneError, match="no validation speakers to stop early on: leave --patience out"):
        cross_validate_network(accelerator, corpus, labels, split, settings(patience=3), tmp_path / "other")


def test_a_finished_fold_is_not_trained_again_and_one_of_other_settings_is(corpus, fold, tmp_path):
    split = Split("hand-made", (fold,), True, "by hand", ())
    labels, steps = Labels.of(corpus), []
    for given, trains in ((settings(), True), (settings(), False), (settings(learning_rate=2e-3), True)):
        accelerator = make_accelerator(given.optimisation, tmp_path, device="cpu")
        steps.clear()
        cross_validate_network(
            accelerator, corpus, labels, split, given, tmp_path, on_step=lambda name, step: steps.append(name)
        )
        assert bool(steps) == trains


def test_a_finished_fold_is_trained_again_when_a_recording_is_another(corpus, fold, tmp_path):
    split, labels, given = Split("hand-made", (fold,), True, "by hand", ()), Labels.of(corpus), settings()
    accelerator = make_accelerator(given.optimisation, tmp_path, device="cpu")
    keys, steps = keys_by_id(corpus), []

    def folds_trained(keys):
        steps.clear()
        cross_validate_network(
            accelerator,
            corpus,
            labels,
            split,
            given,
            tmp_path,
            keys=keys,
            on_step=lambda name, step: steps.append(name),
        )
        return set(steps)

    assert folds_trained(None) == {fold.name}
    assert folds_trained(keys) == set()
    assert folds_trained({**keys, fold.test_ids[0]: "0" * 32}) == {fold.name}


def test_the_network_of_all_utterances_trains_as_long_as_the_folds_did(corpus, fold, tmp_path):
    split, labels, given = Split("hand-made", (fold,), True, "by hand", ()), Labels.of(corpus), settings()
    accelerator = make_accelerator(given.optimisation, tmp_path, device="cpu")
    found = cross_validate_network(accelerator, corpus, labels, split, given, tmp_path)
    steps = []
    finetune_on_all(
        accelerator, corpus, labels, found, given, tmp_path, on_step=lambda name, step: steps.append(step)
    )
    assert steps[-1].epoch == found.choices[fold.name].settings["best_epoch"]
    assert load_saved_network(tmp_path / "model").classes == labels.classes
    steps.clear()
    finetune_on_all(
        accelerator, corpus, labels, found, given, tmp_path, on_step=lambda name, step: steps.append(step)
    )
    assert not steps, "it is there already"
    facts = json.loads((tmp_path / "model" / "training.json").read_text())
    assert set(facts["speakers"]) == set(labels.speakers.values())


def test_the_fold_stands_in_the_name_of_an_encoder_of_its_own(corpus, fold, tmp_path):
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / fold.name).symlink_to(checkpoint("wav2vec2-base"))
    given = settings()
    moved = Finetuning(
        network=NetworkSettings(encoder=str(tmp_path / "encoders" / "{fold}")),
        batches=given.batches,
        optimisation=given.optimisation,
    )
    assert np.array_equal(
        train(corpus, fold, moved, tmp_path / "a").test, train(corpus, fold, given, tmp_path / "b").test
    )


def test_an_encoder_that_has_heard_test_speakers_is_refused(corpus, fold, tmp_path):
    facts = {"corpus_name": corpus.info.dataset_name}
    train(corpus, fold, settings(max_epochs=1), tmp_path / "first", training=facts)
    given = settings(max_epochs=1)
    heard = Finetuning(
        network=NetworkSettings(encoder=str(tmp_path / "first" / "model")),
        batches=given.batches,
        optimisation=given.optimisation,
    )
    train(corpus, fold, heard, tmp_path / "same fold")
    [other, *_] = [each for each in make_split(corpus, "leave-one-speaker-out").folds if each != fold]
    with pytest.raises(FinetuneError, match=r"trained on 1 of the speakers .*folds/\{fold\}/model"):
        train(corpus, other, heard, tmp_path / "other fold")


def test_every_loss_and_sampling_trains(corpus, fold, tmp_path):
    for number, loss in enumerate(
        (
            {"loss": "focal", "label_smoothing": 0.1},
            {"balanced_sampling": True, "contrastive": 0.5},
            {"balanced": False},
        )
    ):
        result = train(corpus, fold, settings(loss=loss, max_epochs=1), tmp_path / str(number))
        assert np.isfinite(result.history[0]["train_loss"])


def test_torchs_generators_are_given_back_as_they_were(corpus, fold, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(corpus, fold, settings(max_epochs=1), tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
