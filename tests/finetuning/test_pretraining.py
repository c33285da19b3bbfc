"""Task-adaptive pretraining: masks, targets, losses, and what a fold hears and leaves behind."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from accelerate import Accelerator
from encoders.tiny_checkpoints import save_checkpoint
from safetensors.torch import load_file
from torch.nn import functional
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.frame_grid import FrameGrid
from ser_transfer.fill import keys_by_id
from ser_transfer.finetuning import recordings
from ser_transfer.finetuning.batches import Draw
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.loop import InterruptedTraining
from ser_transfer.finetuning.pretraining import (
    MaskedBatchSettings,
    ObjectiveSettings,
    Pretraining,
    load_objective_network,
    pretrain_folds,
    pretrain_on_all,
)
from ser_transfer.finetuning.pretraining.clips import (
    MaskedClips,
    MaskedCollate,
    MaskedExample,
    Masking,
    Negatives,
    Units,
    ValidationClips,
)
from ser_transfer.finetuning.pretraining.folds import make_optimizer, masked_objective
from ser_transfer.finetuning.pretraining.masks import draw_mask, draw_negatives
from ser_transfer.finetuning.pretraining.units import hidden_units
from ser_transfer.finetuning.pretraining.validation import predict_masked
from ser_transfer.finetuning.recordings import Clips
from ser_transfer.finetuning.settings import Optimisation
from ser_transfer.splits import make_split

HOP, FIELD = 320, 400
NAMES = ("wav2vec2-pretraining", "hubert-base")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Give the folder of a tiny checkpoint by name, written at its first use."""
    folders = {}

    def folder(name):
        if name not in folders:
            folders[name] = save_checkpoint(name, tmp_path_factory.mktemp(name))
        return str(folders[name])

    return folder


def waveform(n_frames, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(FIELD + (n_frames - 1) * HOP + 7 * seed) / 16_000
    buzz = np.tanh(5 * np.sin(2 * np.pi * (120 + 40 * seed) * time * (1 + time)))
    return (0.2 * buzz + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def network_of(checkpoint, name, **options):
    torch.manual_seed(0)
    network, _ = load_objective_network(ObjectiveSettings(encoder=checkpoint(name), **options))
    return network.eval()


def example(network, n_frames, seed=0):
    """A clip with its mask, and negatives or units."""
    rng = np.random.default_rng(seed)
    mask = draw_mask(n_frames, 0.5, 5, rng)
    n_masked = int(mask.sum())
    if network.objective == "wav2vec2":
        targets = draw_negatives(n_masked, network.n_negatives, rng)
    else:
        targets = rng.integers(0, 9, n_masked)
    return MaskedExample(waveform(n_frames, seed), mask, targets, {"n_in_step": 1})


def inputs_of(network, *examples):
    return MaskedCollate(network.front_end)(examples)["inputs"]


def without_noise(monkeypatch):
    """The Gumbel softmax without its noise, which is drawn for every frame of a batch in turn."""

    def straight_through(logits, tau, hard):
        soft = (logits / tau).softmax(-1)
        return functional.one_hot(soft.argmax(-1), soft.shape[-1]) - soft.detach() + soft

    monkeypatch.setattr(functional, "gumbel_softmax", straight_through)


# Masks


@pytest.mark.parametrize("n_frames", [40, 150, 700])
def test_as_many_frames_are_masked_as_by_transformers(n_frames):
    rng = np.random.default_rng(0)
    mine = np.mean([draw_mask(n_frames, 0.65, 10, rng).mean() for _ in range(400)])
    state = np.random.get_state()
    np.random.seed(0)
    # Clip by clip: it rounds the number of spans once for a whole batch.
    theirs = np.mean([_compute_mask_indices((1, n_frames), 0.65, 10, min_masks=2).mean() for _ in range(400)])
    np.random.set_state(state)
    assert mine == pytest.approx(theirs, abs=0.02)


def test_a_short_clip_is_never_hidden_whole_and_never_has_one_masked_frame():
    rng = np.random.default_rng(0)
    for n_frames in range(3, 40):
        for share in (0.01, 0.65, 1.0):
            counts = {int(draw_mask(n_frames, share, 10, rng).sum()) for _ in range(60)}
            assert min(counts) >= 2
            assert max(counts) < n_frames


def test_negatives_are_any_masked_frames_but_the_frame_itself():
    drawn = draw_negatives(7, 400, np.random.default_rng(0))
    for own, row in enumerate(drawn):
        counts = np.bincount(row, minlength=7)
        assert counts[own] == 0
        assert (np.delete(counts, own) > 30).all()


# Losses


def test_wav2vec2_has_the_loss_of_transformers_own_class(checkpoint, monkeypatch):
    without_noise(monkeypatch)
    network = network_of(checkpoint, "wav2vec2-pretraining")
    network.model.quantizer.train()  # the penalty of transformers is another in evaluation
    stock = transformers.Wav2Vec2ForPreTraining.from_pretrained(checkpoint("wav2vec2-pretraining")).eval()
    stock.quantizer.train()
    examples = [
        replace(example(network, 49, seed), waveform=waveform(49, seed)[:15_760]) for seed in range(3)
    ]
    inputs = inputs_of(network, *examples)
    placed = np.zeros((3, 49, network.n_negatives), int)
    for row, each in enumerate(examples):
        placed[row, each.mask] = np.flatnonzero(each.mask)[each.targets] + row * 49
    theirs = stock(
        inputs["input_values"],
        mask_time_indices=inputs["mask"],
        sampled_negative_indices=torch.from_numpy(placed),
    )

    network.training = True  # of the network alone: its dropouts stay off
    mine = network(inputs)
    n_masked = mine.n_masked.float()
    torch.testing.assert_close((mine.losses * n_masked).sum(), theirs.contrastive_loss)
    torch.testing.assert_close(0.1 * theirs.diversity_loss, mine.penalty * n_masked.sum())
    theirs.loss.backward()
    ((mine.losses + mine.penalty) * n_masked).sum().backward()
    for (name, of_stock), (_, of_mine) in zip(
        stock.named_parameters(), network.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(of_mine.grad, of_stock.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_wav2vec2_names_the_truth_as_often_as_the_logits_of_transformers_do(checkpoint):
    network = network_of(checkpoint, "wav2vec2-pretraining")
    each = replace(example(network, 49), waveform=waveform(49)[:15_760])
    inputs = inputs_of(network, each)
    found = transformers.Wav2Vec2ForPreTraining.from_pretrained(checkpoint("wav2vec2-pretraining")).eval()(
        inputs["input_values"], mask_time_indices=inputs["mask"]
    )
    said, truth = (x[0, each.mask] for x in (found.projected_states, found.projected_quantized_states))
    near = torch.cosine_similarity(said[:, None], truth[None], dim=-1)
    right = 0
    for row, negatives in enumerate(each.targets):
        others = [near[row, other] for other in negatives if not torch.equal(truth[other], truth[row])]
        right += all(near[row, row] >= other for other in others)
    assert int(network(inputs).n_right) == right
    assert int(network(inputs).n_masked) == each.mask.sum()


def test_hubert_has_the_cross_entropy_of_cosines_over_a_tenth(checkpoint):
    network = network_of(checkpoint, "hubert-base", n_units=9)
    each = replace(example(network, 49), waveform=waveform(49)[:15_760])
    inputs = inputs_of(network, each)
    stock = transformers.HubertModel.from_pretrained(checkpoint("hubert-base")).eval()
    states = stock(inputs["input_values"], mask_time_indices=inputs["mask"]).last_hidden_state[0, each.mask]
    said = network.projection(states)
    logits = torch.cosine_similarity(said[:, None], network.units.weight[None], dim=-1) / 0.1
    truth = torch.from_numpy(each.targets)
    found = network(inputs)
    torch.testing.assert_close(found.losses[0], functional.cross_entropy(logits, truth), rtol=1e-4, atol=1e-5)
    assert int(found.n_right) == int((logits.argmax(1) == truth).sum())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [*NAMES, "hubert-batchnorm", "hubert-large"])
def test_the_loss_of_a_clip_does_not_hang_on_its_neighbours(checkpoint, monkeypatch, name, training):
    without_noise(monkeypatch)
    network = network_of(checkpoint, name)
    if training:
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        for layer in network.core.encoder.layers:
            layer.attention.dropout = 0.0
        network.train()
    examples = [example(network, n_frames, seed) for seed, n_frames in enumerate((12, 60, 31))]
    together = network(inputs_of(network, *examples))
    for row, each in enumerate(examples):
        alone = network(inputs_of(network, each))
        torch.testing.assert_close(alone.losses[0], together.losses[row], rtol=1e-4, atol=1e-5)
        assert int(alone.n_right) == int(together.n_right[row])
        assert int(together.n_masked[row]) == each.mask.sum()


@pytest.mark.parametrize("name", NAMES)
def test_activations_that_are_computed_again_give_the_same_gradients(checkpoint, monkeypatch, name):
    without_noise(monkeypatch)
    gradients = []
    for again in (False, True):
        network = network_of(checkpoint, name, gradient_checkpointing=again).train()
        examples = [example(network, n_frames, seed) for seed, n_frames in enumerate((12, 40))]
        torch.manual_seed(3)
        network(inputs_of(network, *examples)).losses.sum().backward()
        gradients.append({key: each.grad for key, each in network.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        if gradient is not None:
            torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-3, atol=1e-4)


def test_the_gumbel_temperature_falls_as_published(checkpoint):
    network = network_of(checkpoint, "wav2vec2-pretraining")
    assert network.temperature == 2.0
    network.n_steps.fill_(100_000)
    assert network.temperature == pytest.approx(2.0 * np.exp(-0.5), rel=1e-4)  # 0.999995 ** 100 000
    network.n_steps.fill_(400_000)
    assert network.temperature == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_that_learns_is_in_one_group_of_the_optimiser(checkpoint, name):
    network = network_of(checkpoint, name)
    optimizer = make_optimizer(network, Optimisation(learning_rate=1e-3, layer_decay=0.5))
    members = [id(weights) for group in optimizer.param_groups for weights in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(weights) for weights in network.parameters()}
    of_head = optimizer.param_groups[-1]["lr"]
    assert of_head == pytest.approx(1e-3 if name == "wav2vec2-pretraining" else 1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_on_a_few_clips(checkpoint, name):
    network = network_of(checkpoint, name).train()
    examples = [example(network, 30, seed) for seed in range(4)]
    batch = {"inputs": inputs_of(network, *examples), "n_in_step": 4}
    optimizer = make_optimizer(network, Optimisation(learning_rate=3e-3))
    losses = []
    for _ in range(40):
        loss = masked_objective(network, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


# Clips


class SomeClips(Clips):
    """Waveforms that count their own samples."""

    sampling_rate, min_samples = 16_000, FIELD + 2 * HOP

    def __init__(self, *n_samples):
        self.n_samples = n_samples
        self.ids = [f"u{number}" for number in range(len(n_samples))]
        self.seconds = np.array(n_samples) / 16_000

    def __len__(self):
        return len(self.n_samples)

    def waveform(self, row):
        return np.arange(self.n_samples[row], dtype=np.float32)


class Numbers:
    """A target that is the number of the frame in the whole clip."""

    def __call__(self, id_, first_frame, mask, rng):
        return first_frame + np.flatnonzero(mask)


def masking(targets_of, max_frames=1500, seed=0):
    return Masking(FrameGrid(HOP, FIELD, max_frames), 0.5, 5, targets_of, seed)


def test_the_targets_of_a_stretch_are_those_of_the_same_samples_of_the_whole_clip():
    clips = MaskedClips(SomeClips(50_123), masking(Numbers()), crop_seconds=1.0)
    firsts = set()
    for epoch in range(20):
        found = clips[Draw(0, epoch, 1)]
        assert len(found.waveform) == 16_000
        assert found.waveform[0] % HOP == 0
        first = int(found.waveform[0]) // HOP
        firsts.add(first)
        np.testing.assert_array_equal(found.targets, first + np.flatnonzero(found.mask))
        assert len(found.mask) == (16_000 - FIELD) // HOP + 1
    assert len(firsts) > 10


def test_a_draw_gives_the_same_stretch_mask_and_negatives_whenever_it_is_asked_for():
    clips = SomeClips(30_000, 40_000)
    found = [
        MaskedClips(clips, masking(Negatives(5), seed=seed), crop_seconds=1.0)[draw]
        for seed, draw in (
            (0, Draw(1, 3, 2)),
            (0, Draw(1, 3, 9)),
            (0, Draw(1, 4, 2)),
            (0, Draw(1, 3, 2, repeat=1)),
            (1, Draw(1, 3, 2)),
        )
    ]
    for name in ("waveform", "mask", "targets"):
        assert np.array_equal(getattr(found[0], name), getattr(found[1], name))
    for other in found[2:]:
        assert not np.array_equal(found[0].mask, other.mask)


def test_long_clips_are_validated_in_windows_that_keep_every_frame_once():
    clips = ValidationClips(SomeClips(70_000, 5_000), masking(Numbers(), max_frames=100))
    windows = [clips[i] for i in range(len(clips))]
    of_long = sorted((each for each in windows if each.about["row"] == 0), key=lambda each: each.waveform[0])
    assert sum(len(each.mask) for each in of_long) == (70_000 - FIELD) // HOP + 1
    assert len(of_long) == 3
    for each in of_long:
        first = int(each.waveform[0]) // HOP
        np.testing.assert_array_equal(each.targets, first + np.flatnonzero(each.mask))
    assert np.array_equal(clips[0].mask, clips[0].mask)


# Units


def clips_of(corpus, ids):
    return Clips(corpus, ids, dict.fromkeys(ids, 0), 16_000, FIELD + 2 * HOP)


def test_units_are_one_per_frame_alike_each_time_and_found_among_training_frames_alone(checkpoint, corpus):
    encoder = load_encoder(checkpoint("hubert-base"), device="cpu")
    ids = sorted(corpus["utterance_id"][:])
    training, more = clips_of(corpus, ids[:9]), clips_of(corpus, ids[9:12])
    options = {"layer": None, "n_units": 6, "seed": 0}
    units = hidden_units(encoder, training, more, **options).by_id
    alone = hidden_units(encoder, training, None, **options).by_id
    batched = hidden_units(encoder, training, None, batch=4, **options).by_id
    assert set(units) == set(ids[:12])
    for row, id_ in enumerate(ids[:9]):
        n_samples = len(training.waveform(row))
        assert len(units[id_]) == (n_samples - FIELD) // HOP + 1
        assert np.array_equal(alone[id_], units[id_])
        assert np.array_equal(batched[id_], units[id_])
    assert len(np.unique(np.concatenate(list(units.values())))) == 6


def test_units_are_nearest_centres_of_frames_of_the_layer_asked_for(checkpoint, corpus):
    """Two frames of one unit are alike in that layer: the clusters explain most of its variance."""
    encoder = load_encoder(checkpoint("hubert-base"), device="cpu")
    ids = sorted(corpus["utterance_id"][:])[:8]
    clips = clips_of(corpus, ids)
    units = hidden_units(encoder, clips, None, layer="layer_02", n_units=12, seed=0).by_id
    shares = []
    for layer in range(4):
        frames = [encoder.encode([clips.waveform(row)]).layers[layer][0].numpy() for row in range(8)]
        X, y = np.concatenate(frames), np.concatenate([units[id_] for id_ in ids])
        within = sum(((X[y == unit] - X[y == unit].mean(0)) ** 2).sum() for unit in np.unique(y))
        shares.append(within / ((X - X.mean(0)) ** 2).sum())
    assert int(np.argmin(shares)) == 2


def test_units_that_do_not_fit_a_recording_are_refused():
    with pytest.raises(FinetuneError, match="'u0' has 3 hidden units and more frames"):
        Units({"u0": np.zeros(3, int)})("u0", 0, np.ones(5, bool), np.random.default_rng(0))


# Folds


def settings_of(folder, **optimisation):
    return Pretraining(
        objective=ObjectiveSettings(
            encoder=folder, n_units=None if "wav2vec2" in folder else 7, mask_frames=4
        ),
        batches=MaskedBatchSettings(batch_seconds=2.0),
        optimisation=Optimisation(**{"max_epochs": 2, "learning_rate": 2e-3, **optimisation}),
    )


def run(checkpoint, corpus, folder, name, *, fold="1", **options):
    split = make_split(corpus, "speaker-folds", n_folds=4).only([fold])
    settings = settings_of(checkpoint(name), **options.pop("optimisation", {}))
    (result,) = pretrain_folds(Accelerator(cpu=True), corpus, split, settings, folder, **options)
    return result, split.folds[0]


def weights_in(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_pretraining_is_the_uninterrupted_one_to_the_bit(checkpoint, corpus, tmp_path, name):
    straight, _ = run(checkpoint, corpus, tmp_path / "straight", name)

    def stop(fold, step):
        if step.step == straight.n_steps // 2 + 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedTraining, match="--resume"):
        run(checkpoint, corpus, tmp_path / "stopped", name, on_step=stop)
    resumed, _ = run(checkpoint, corpus, tmp_path / "stopped", name, resume=True)
    models = [weights_in(tmp_path / way / "folds/1/model") for way in ("straight", "stopped")]
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    assert replace(resumed, history=()) == replace(straight, history=())
    for one, other in zip(straight.history, resumed.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("name", NAMES)
def test_a_pretraining_draws_from_its_own_seed_and_leaves_the_callers_generators_alone(
    checkpoint, corpus, tmp_path, name
):
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        run(checkpoint, corpus, tmp_path / str(seed), name, optimisation={"max_steps": 2})
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])
        found.append(weights_in(tmp_path / str(seed) / "folds/1/model"))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.parametrize("name", NAMES)
def test_no_recording_of_a_test_speaker_is_read(checkpoint, corpus, tmp_path, monkeypatch, name):
    read = set()
    for function in ("read_audio", "duration_seconds"):
        plain = getattr(recordings, function)

        def noting(source, *args, plain=plain, **options):
            read.add(str(source))
            return plain(source, *args, **options)

        monkeypatch.setattr(recordings, function, noting)
    _, fold = run(checkpoint, corpus, tmp_path, name)
    path_of = dict(zip(corpus["utterance_id"][:], map(str, corpus["audio"][:]), strict=True))
    heard = {path_of[id_] for id_ in (*fold.train_ids, *fold.validation_ids)}
    assert len(path_of) == 24
    assert fold.test_ids
    assert read == heard
    told = json.loads((tmp_path / "folds/1/model/training.json").read_text())
    speaker_of = dict(zip(corpus["utterance_id"][:], corpus["speaker"][:], strict=True))
    assert set(told["speakers"]) == {speaker_of[id_] for id_ in (*fold.train_ids, *fold.validation_ids)}
    assert not set(told["speakers"]) & {speaker_of[id_] for id_ in fold.test_ids}
    assert told["hears_test_speakers"] is False


@pytest.mark.parametrize("name", NAMES)
def test_the_saved_folder_is_a_plain_model_of_exactly_the_trained_encoder(
    checkpoint, corpus, tmp_path, monkeypatch, name
):
    networks = []
    load = load_objective_network

    def keeping(*args):
        networks.append(load(*args))
        return networks[-1]

    monkeypatch.setattr("ser_transfer.finetuning.pretraining.folds.load_objective_network", keeping)
    run(checkpoint, corpus, tmp_path, name)
    trained = networks[0][0].core
    folder = tmp_path / "folds/1/model"
    plain, report = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    before = transformers.AutoModel.from_pretrained(checkpoint(name)).state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key])
    moved = [key for key, value in plain.state_dict().items() if not torch.equal(value, before[key])]
    assert len(moved) > len(before) - 3
    clip = waveform(30)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    states = load_encoder(str(folder), device="cpu").encode([clip])
    with torch.no_grad():
        wanted = plain.eval()(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(states.layers[-1], wanted, rtol=1e-4, atol=1e-5)
    # Only the weights changed: whoever fine-tunes it finds the checkpoint's own masks and dropouts.
    configs = [json.loads((Path(place) / "config.json").read_text()) for place in (folder, checkpoint(name))]
    assert configs[0] == configs[1]


def test_a_fold_that_was_finished_is_not_trained_again(checkpoint, corpus, tmp_path):
    steps = []
    first, _ = run(
        checkpoint, corpus, tmp_path, NAMES[0], on_step=lambda fold, step: steps.append((fold, step.step))
    )
    assert steps == [("1", number) for number in range(1, first.n_steps + 1)]
    again, _ = run(checkpoint, corpus, tmp_path, NAMES[0], on_step=lambda fold, step: steps.append(step))
    assert again == first
    assert len(steps) == first.n_steps
    split = make_split(corpus, "speaker-folds", n_folds=4).only(["1"])
    keys = keys_by_id(corpus)
    for id_, is_heard in ((split.folds[0].test_ids[0], False), (split.folds[0].train_ids[0], True)):
        before = len(steps)
        changed = {**keys, id_: "0" * 32}
        options = {"keys": changed, "on_step": lambda fold, step: steps.append(step)}
        run(checkpoint, corpus, tmp_path, NAMES[0], **options)
        assert (len(steps) > before) == is_heard, "a recording was replaced"
    assert not list((tmp_path / "folds/1").glob("state-*"))
    run(
        checkpoint,
        corpus,
        tmp_path,
        NAMES[0],
        optimisation={"seed": 1},
        on_step=lambda fold, step: steps.append(step),
    )
    assert len(steps) > first.n_steps


@pytest.mark.parametrize("name", NAMES)
def test_the_best_epoch_is_the_one_of_the_lowest_validation_loss(checkpoint, corpus, tmp_path, name):
    result, _ = run(checkpoint, corpus, tmp_path, name, optimisation={"max_epochs": 4, "learning_rate": 2e-2})
    losses = [line["validation_loss"] for line in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert result.after.loss == pytest.approx(min(losses), rel=1e-6)
    assert result.before.loss != result.after.loss
    assert (result.after.perplexity is None) == (name == "hubert-base")
    assert 0 <= result.after.accuracy <= 1


@pytest.mark.parametrize("name", NAMES)
def test_no_figure_of_validation_depends_on_the_batch(checkpoint, corpus, name):
    network = network_of(checkpoint, name)
    accelerator = Accelerator(cpu=True)
    clips = clips_of(corpus, sorted(corpus["utterance_id"][:])[:7])
    units = {id_: np.arange(100) % 5 for id_ in clips.ids}
    targets_of = Negatives(network.n_negatives) if name == NAMES[0] else _Cut(units)
    examples = ValidationClips(clips, masking(targets_of))
    collate = MaskedCollate(network.front_end)
    found = []
    for batch_size in (1, 3, 7):
        loader = torch.utils.data.DataLoader(examples, batch_size=batch_size, collate_fn=collate)
        found.append(predict_masked(accelerator, network, loader, 7))
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-5)
    assert found[2].loss == pytest.approx(found[0].loss, rel=1e-5)
    assert found[0].accuracy == found[1].accuracy == found[2].accuracy
    assert found[0].n_frames == found[1].n_frames == found[2].n_frames
    of_one_batch = network(collate([examples[row] for row in range(7)])["inputs"])
    wanted = (of_one_batch.losses.mean() + of_one_batch.penalty).item()
    assert found[0].loss == pytest.approx(wanted, rel=1e-5)


class _Cut:
    def __init__(self, units):
        self.units = units

    def __call__(self, id_, first_frame, mask, rng):
        return self.units[id_][: len(mask)][mask]


def test_a_pretraining_on_every_speaker_says_so_in_its_folder_and_its_model(checkpoint, corpus, tmp_path):
    settings = settings_of(checkpoint(NAMES[0]), max_steps=1)
    result = pretrain_on_all(Accelerator(cpu=True), corpus, settings, tmp_path)
    told = json.loads((tmp_path / "transductive/model/training.json").read_text())
    assert told["hears_test_speakers"] is True
    assert told["speakers"] == ["p1", "p2", "p3", "p4"]
    assert told["n_recordings"] == 24
    assert result.before is None
    assert result.after is None
    assert result.n_steps == 1


def test_labels_are_not_read(checkpoint, corpus, tmp_path):
    settings = settings_of(checkpoint(NAMES[0]), max_steps=1)
    pretrain_on_all(Accelerator(cpu=True), corpus.remove_columns("emotion"), settings, tmp_path)
    assert (tmp_path / "transductive/model/config.json").is_file()


def test_a_frozen_front_end_does_not_move(checkpoint, corpus, tmp_path):
    settings = settings_of(checkpoint(NAMES[0]), max_steps=3)
    settings = replace(settings, objective=replace(settings.objective, freeze_front_end=True))
    pretrain_on_all(Accelerator(cpu=True), corpus, settings, tmp_path)
    before, after = (
        transformers.AutoModel.from_pretrained(folder).state_dict()
        for folder in (checkpoint(NAMES[0]), tmp_path / "transductive/model")
    )
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert {key for key in before if key.startswith("feature_extractor.")} == same


TWO_PROCESSES = """
import sys
from pathlib import Path

from ser_transfer import load_corpus
from ser_transfer.finetuning import Optimisation, end_training, make_accelerator
from ser_transfer.finetuning.pretraining import MaskedBatchSettings, ObjectiveSettings, Pretraining
from ser_transfer.finetuning.pretraining import pretrain_folds
from ser_transfer.splits import make_split

root, folder, *encoders = sys.argv[1:]
accelerator = make_accelerator(Optimisation(), Path(folder), device="cpu")
assert accelerator.num_processes == 2
corpus = load_corpus("folder", root, speaker_pattern="(?P<speaker>p[0-9])_")
split = make_split(corpus, "speaker-folds", n_folds=4).only(["1"])
for number, encoder in enumerate(encoders):
    settings = Pretraining(
        objective=ObjectiveSettings(encoder=encoder, n_units=7 if number else None, mask_frames=4),
        batches=MaskedBatchSettings(batch_seconds=2.0),
        optimisation=Optimisation(max_epochs=2, learning_rate=2e-3),
    )
    pretrain_folds(accelerator, corpus, split, settings, Path(folder, str(number)))
end_training(accelerator)
"""


def test_two_processes_validate_as_one_does_and_leave_one_model(checkpoint, corpus, tones, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    encoders = [checkpoint(name) for name in NAMES]
    answer = subprocess.run(
        [sys.executable, *launch, str(script), str(tones), str(tmp_path / "two"), *encoders],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    for number, name in enumerate(NAMES):
        folder = tmp_path / "two" / str(number) / "folds/1"
        found = json.loads((folder / "pretrained.json").read_text())["result"]
        one, _ = run(checkpoint, corpus, tmp_path / name, name, optimisation={"max_steps": 1})
        assert found["before"]["loss"] == pytest.approx(one.before.loss, rel=1e-5)
        assert found["before"]["accuracy"] == one.before.accuracy
        assert load_encoder(str(folder / "model")).fingerprint != load_encoder(encoders[number]).fingerprint


# What is refused


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("wav2vec2-ctc", {}, r"lacks the quantiser .* \(it is a Wav2Vec2ForCTC\).*facebook/wav2vec2-base"),
        ("wavlm-base", {}, r"type 'wavlm'.*wav2vec2 and HuBERT only"),
        ("whisper", {}, r"type 'whisper'.*wav2vec2 and HuBERT only"),
        ("yamnet", {}, r"yamnet was not pretrained so.*wav2vec2 and HuBERT only"),
        (None, {}, r"no encoder: give"),
        ("wav2vec2-pretraining", {"n_units": 50}, r"no hidden units: leave --n-units out"),
        ("wav2vec2-pretraining", {"unit_layer": "layer_01"}, r"leave --unit-layer out"),
        ("hubert-base", {"n_units": 1}, r"n_units is 1: give"),
        ("hubert-base", {"mask_share": 1.5}, r"mask_share is 1.5: give"),
        ("hubert-base", {"mask_frames": 0}, r"mask_frames is 0: give"),
    ],
)
def test_what_has_no_such_objective_is_refused_in_a_line(checkpoint, encoder, options, message):
    name = encoder if encoder in ("yamnet", None) else checkpoint(encoder)
    with pytest.raises(FinetuneError, match=message) as error:
        load_objective_network(ObjectiveSettings(encoder=name, **options))
    assert "\n" not in str(error.value)


def test_units_that_cannot_be_found_are_refused(checkpoint, corpus, tmp_path):
    settings = settings_of(checkpoint("hubert-base"))
    for options, message in (
        ({"n_units": 5000}, r"5000 hidden units cannot be found among \d+ frames: lower --n-units"),
        ({"unit_layer": "layer_09"}, r"no layer 'layer_09': --unit-layer is one of layer_00, .*layer_03"),
    ):
        changed = replace(settings, objective=replace(settings.objective, **options))
        with pytest.raises(FinetuneError, match=message):
            pretrain_on_all(Accelerator(cpu=True), corpus, changed, tmp_path)


def test_a_stretch_too_short_to_mask_is_refused():
    with pytest.raises(FinetuneError, match=r"crop_seconds is 0.05, and masking needs 0.065 s or more"):
        MaskedClips(SomeClips(20_000), masking(Numbers()), crop_seconds=0.05)
