"""Every network: the stock class's numbers, whatever the batch, and a folder that gives them again."""

import json
import pickle
import shutil
from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import pytest
import torch
from encoders.tiny_checkpoints import LISTED, save_checkpoint
from safetensors.torch import load_file, save_file
from tiny_networks import CLASSES, checkpoint, logits, network, recordings, state_of, take_steps
from torch.utils.checkpoint import CheckpointError
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from ser_transfer.encoders import EncoderError, load_encoder
from ser_transfer.encoders.checkpoints import find_checkpoint
from ser_transfer.encoders.padding import MaskedGroupNorm, PaddingGuard
from ser_transfer.encoders.transformers_model import load_model
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks import load_network, load_saved_network
from ser_transfer.finetuning.networks.heads import mean_and_std
from ser_transfer.finetuning.networks.patch_inputs import mask_at_random
from ser_transfer.pooling import POOLINGS

FAMILIES = ("wav2vec2-base", "wav2vec2-large", "hubert-base", "wavlm-base", "whisper", "ast")
PATCHES = ("yamnet", "vggish")
SAVED_OTHERWISE = (
    *("wav2vec2-ctc", "wav2vec2-pretraining", "wav2vec2-classifier", "wav2vec2-adapter"),
    *("whisper-asr", "whisper-classifier", "ast-classifier"),
)


def deviation_from_alone(net, waveforms) -> float:
    together = logits(net, waveforms)
    return max(
        float((logits(net, [waveform])[0] - of_batch).abs().max())
        for waveform, of_batch in zip(waveforms, together, strict=True)
    )


@pytest.mark.parametrize("name", [*LISTED, *PATCHES])
def test_a_clip_has_the_same_logits_alone_and_beside_any_neighbours(name):
    net = network(name)
    assert deviation_from_alone(net, recordings()) < 1e-5
    assert logits(net, recordings()).std(dim=0).max() > 1e-6  # the clips do differ


@pytest.mark.parametrize(
    ("name", "layer", "pooling"),
    [
        *(("wavlm-base", layer, "mean_std") for layer in ("last", "mix")),
        *(("sew", layer, "attentive") for layer in ("last", "mix")),
        ("wav2vec2-conformer-rel", "mix", "attentive"),
        ("whisper", "last", "mean"),
        ("whisper", "mix", "attentive"),
        ("ast", "mix", "mean"),
        ("yamnet", "layer_04,layer_06", "mean_std"),
        ("yamnet", "layer_04", "attentive"),
    ],
)
def test_our_poolings_keep_the_batch_out_too(name, layer, pooling):
    assert deviation_from_alone(network(name, pooling=pooling, layer=layer), recordings()) < 1e-5


@pytest.mark.parametrize("name", ["wav2vec2-base", "sew", "wav2vec2-bert"])
def test_the_batch_stays_out_in_training_mode_too(name):
    net = network(name, spec_augment=False, dropout=0.0)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    config = net.body.config
    for key in ("attention_dropout", "activation_dropout"):
        setattr(config, key, 0.0)
    for module in net.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 0.0
    net.train()
    if name == "wav2vec2-bert":
        net.keep_frozen([m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d)])
    waveforms = recordings()
    with torch.no_grad():
        together = net(net.front_end.prepare(waveforms, training=True)).logits
        for waveform, of_batch in zip(waveforms, together, strict=True):
            alone = net(net.front_end.prepare([waveform], training=True)).logits[0]
            torch.testing.assert_close(alone, of_batch, atol=1e-5, rtol=0)


def test_the_stock_group_norm_would_let_a_clips_neighbours_in(monkeypatch):
    net = network("wav2vec2-base")
    assert deviation_from_alone(net, recordings()) < 1e-5
    monkeypatch.setattr(MaskedGroupNorm, "forward", MaskedGroupNorm.norm)
    assert deviation_from_alone(net, recordings()) > 1e-5


@pytest.mark.parametrize("name", [*FAMILIES, *("data2vec-audio", "wav2vec2-bert", "wav2vec2-conformer-rel")])
def test_one_clip_gets_what_the_stock_class_says_of_it(name, tmp_path):
    net = network(name)
    net.save(tmp_path, {})
    stock = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    waveform = recordings()[0]
    with torch.no_grad():
        plain = stock(**extractor(waveform, sampling_rate=16_000, return_tensors="pt")).logits
        output = net(net.front_end.prepare([waveform]))
    torch.testing.assert_close(output.logits, plain, atol=1e-6, rtol=1e-5)
    last = stock.classifier.dense if name.startswith("ast") else stock.classifier
    torch.testing.assert_close(last(output.embedding), plain, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [*FAMILIES, *SAVED_OTHERWISE])
def test_the_weights_are_those_of_the_frozen_encoder(name):
    frozen = load_model(find_checkpoint(checkpoint(name))).state_dict()
    for pooling in ("stock", "attentive"):
        body = load_network(checkpoint(name), CLASSES, pooling=pooling).body.state_dict()
        for key, value in frozen.items():
            if "pos_conv_embed" in key and key not in body:  # multiplied out there, a weight norm here
                assert any(own.startswith(key.rpartition(".")[0]) for own in body)
            elif "masked_spec_embed" not in key:
                assert torch.equal(body[key], value), key


def test_a_weight_norm_stays_one_and_gives_the_frozen_encoders_weight():
    body = network("wav2vec2-base").body
    frozen = load_model(find_checkpoint(checkpoint("wav2vec2-base")))
    own = body.encoder.pos_conv_embed.conv
    assert set(dict(own.named_parameters())) >= {
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    }
    torch.testing.assert_close(own.weight, frozen.encoder.pos_conv_embed.conv.weight)


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-base", "wav2vec2-bert", "whisper", "ast"])
@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
def test_our_pooling_is_the_frozen_encoders_over_the_clips_own_frames(name, pooling):
    net = network(name, pooling=pooling)
    states = load_encoder(checkpoint(name)).encode(recordings())
    pooled = POOLINGS[pooling](states.layers[-1], states.frame_masks[-1])
    seen = []
    if hasattr(net, "pooling"):
        net.pooling.register_forward_hook(lambda module, args, output: seen.append(output))
        logits(net, recordings())
        found = seen[0]
    else:  # the stock class projects, then averages: the same, since both are linear
        with torch.no_grad():
            found = net(net.front_end.prepare(recordings())).embedding
            pooled = net.model.projector(pooled)
    torch.testing.assert_close(found, pooled, atol=2e-3 if pooling == "mean_std" else 1e-5, rtol=1e-4)


def test_a_mean_over_own_frames_is_stock_where_the_stock_class_takes_it():
    for name, is_stock in (
        ("hubert-base", True),
        ("wav2vec2-bert", True),
        ("whisper", False),
        ("sew", False),
    ):
        assert (network(name, pooling="mean").design.pooling == "stock") is is_stock


@pytest.mark.parametrize("name", ["wav2vec2-base", "wav2vec2-large", "wavlm-base", "whisper", "sew-d"])
def test_a_layer_by_name_is_the_frozen_encoders_layer(name):
    net, waveforms = network(name, layer="layer_02"), recordings((16_000,))
    assert [block.name for block in net.blocks()][-2:] == ["layer_02", "head"]
    with torch.no_grad():
        frozen = load_encoder(checkpoint(name)).encode(waveforms).layers[2].clone()
        own = net.body(**_model_inputs(net, waveforms), output_hidden_states=True).hidden_states[2]
        if name == "whisper":  # the norm of the whole depth follows the layer that is read
            frozen = net.body.layer_norm(frozen)
    torch.testing.assert_close(own[:, : frozen.shape[1]], frozen, atol=1e-5, rtol=1e-4)


def test_a_mix_starts_as_the_plain_average_of_all_layers_and_follows_the_softmax_of_its_weights():
    net, seen = network("whisper", layer="mix", pooling="mean"), []
    net.pooling.register_forward_hook(lambda module, args, output: seen.append(output))
    logits(net, recordings())
    learnt = torch.tensor([2.0, 0.0, -1.0, 0.5])
    net.layer_weights.data.copy_(learnt)
    logits(net, recordings())
    states = load_encoder(checkpoint("whisper")).encode(recordings())
    layers = torch.stack([POOLINGS["mean"](layer, states.frame_masks[0]) for layer in states.layers])
    torch.testing.assert_close(seen[0], layers.mean(dim=0), atol=1e-5, rtol=1e-4)
    shares = learnt.exp() / learnt.exp().sum()
    torch.testing.assert_close(seen[1], torch.einsum("l,lbd->bd", shares, layers), atol=1e-5, rtol=1e-4)


def test_the_stock_class_mixes_its_layers_itself():
    net = network("wav2vec2-base", layer="mix")
    assert net.model.config.use_weighted_layer_sum
    assert net.model.layer_weights.requires_grad
    assert not network("wav2vec2-base").model.config.use_weighted_layer_sum


@pytest.mark.parametrize("name", PATCHES)
def test_an_untrained_body_and_a_mean_give_the_frozen_embedding(name):
    waveforms = recordings((400, 16_000, 58_725))
    states = load_encoder(name, untrained=True).encode(waveforms)
    for layer, indices in (("last", [-1]), (",".join(PATCH_LAYERS[name]), [2, 4])):
        with torch.no_grad():
            net = network(name, layer=layer)
            embedding = net(net.front_end.prepare(waveforms)).embedding
        pooled = [POOLINGS["mean"](states.layers[i], states.frame_masks[i]) for i in indices]
        torch.testing.assert_close(embedding, torch.cat(pooled, dim=1), atol=1e-5, rtol=1e-5)


PATCH_LAYERS = {"yamnet": ("layer_03", "layer_05"), "vggish": ("conv3", "fc1")}


def test_layers_above_the_one_that_is_read_never_run_and_never_learn():
    net = network("yamnet", layer="layer_05")
    net.encoder.layer6["depthwise_conv"].register_forward_hook(lambda *args: pytest.fail("it ran"))
    logits(net, recordings())
    learning = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert not any(f"layer{i}." in name for name in learning for i in range(6, 15))


def test_training_patches_do_not_overlap_and_are_masked_with_the_clips_mean():
    net = network("yamnet")
    (waveform,) = recordings((48_000,))
    inputs = {mode: net.front_end.prepare([waveform], training=mode) for mode in (False, True)}
    assert inputs[False]["n_patches"].tolist() == [6]
    assert inputs[True]["n_patches"].tolist() == [3]
    plain = network("yamnet", spec_augment=False).front_end.prepare([waveform], training=True)
    masked, unmasked = inputs[True]["patches"], plain["patches"]
    changed = masked != unmasked
    assert changed.any()
    assert torch.allclose(masked[changed], unmasked.mean(), atol=1e-5)


def test_masks_are_as_many_and_as_wide_as_said_and_follow_torchs_generator():
    found = []
    for seed in (1, 1, 2, 3):
        torch.manual_seed(seed)
        spectrogram = np.random.default_rng(0).normal(3.0, 1.0, (288, 64)).astype(np.float32)
        before = spectrogram.copy()
        mask_at_random(spectrogram)
        changed = spectrogram != before
        bands, frames = changed.all(axis=0), changed.all(axis=1)
        assert np.array_equal(changed, bands[np.newaxis] | frames[:, np.newaxis])
        assert bands.sum() <= 24
        assert frames.sum() <= 60
        found.append(changed)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-batchnorm", "wav2vec2-conformer-rel", "whisper"])
def test_checkpointed_activations_give_the_same_gradients(name):
    gradients = []
    for checkpointed in (False, True):
        net = network(name, gradient_checkpointing=checkpointed, spec_augment=False)
        torch.manual_seed(0)
        net.train()
        net(net.front_end.prepare(recordings())).logits.square().sum().backward()
        gradients.append({k: p.grad for k, p in net.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-6, rtol=1e-4)


def test_recomputation_without_the_batch_in_flight_would_go_wrong(monkeypatch):
    monkeypatch.setattr(PaddingGuard, "recomputation", lambda self: (nullcontext(), nullcontext()))
    with pytest.raises(CheckpointError):
        test_checkpointed_activations_give_the_same_gradients("wav2vec2-conformer-rel")


def test_clips_shorter_than_one_mask_can_be_trained_on():
    net = network("wav2vec2-base")
    net.body.config.mask_time_prob = 0.5
    net.train()
    assert net(net.front_end.prepare(recordings((1_600, 800)))).logits.isfinite().all()
    assert net.body.config.apply_spec_augment is True


def test_features_that_are_all_alike_can_be_trained_through():
    frames = torch.ones(1, 3, 4, requires_grad=True)
    mean_and_std(frames, torch.full((1, 3, 1), 1 / 3)).sum().backward()
    assert frames.grad.isfinite().all()


def test_the_seed_alone_decides_the_head_and_torchs_generator_is_left_alone():
    for name, options in (("wav2vec2-base", {}), ("whisper", {"pooling": "attentive"}), ("yamnet", {})):
        torch.manual_seed(11)
        before = torch.get_rng_state()
        first = state_of(network(name, seed=1, **options))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(12)
        again, other = state_of(network(name, seed=1, **options)), state_of(network(name, seed=2, **options))
        assert all(torch.equal(first[key], again[key]) for key in first)
        drawn = [key for key in first if key.split(".")[-2] in ("classifier", "1", "2", "dense")]
        assert any(not torch.equal(first[key], other[key]) for key in drawn)


def test_a_head_that_fits_is_drawn_anew_all_the_same():
    two = ("anger", "joy")  # as many labels as the checkpoint was saved with
    folder = checkpoint("wav2vec2-classifier")
    net = load_network(folder, two, seed=3)
    assert not torch.equal(
        net.model.classifier.weight, load_file(f"{folder}/model.safetensors")["classifier.weight"]
    )
    assert net.model.config.id2label == {0: "anger", 1: "joy"}


@pytest.mark.parametrize("name", [*FAMILIES, "wav2vec2-ctc", "whisper-asr", "sew", "yamnet"])
@pytest.mark.parametrize(
    "options", [{}, {"pooling": "attentive", "projection_size": 7}], ids=["stock", "own"]
)
def test_a_saved_network_is_read_back_bit_for_bit(name, options, tmp_path):
    net = network(name, **options)
    take_steps(net, 1)
    net.save(tmp_path, {"speakers": ["p1"]})
    read = load_saved_network(tmp_path)
    assert read.classes == CLASSES
    assert read.name == net.name
    assert read.design == net.design
    state = read.state_dict()
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    torch.testing.assert_close(logits(read, recordings()), logits(net, recordings()), atol=1e-7, rtol=1e-6)
    assert json.loads((tmp_path / "training.json").read_text()) == {"speakers": ["p1"]}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".pth")]


def test_a_plain_folder_for_audio_classification_is_read_too(tmp_path):
    save_checkpoint("ast-classifier", tmp_path)
    stock = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    net = load_saved_network(tmp_path)
    assert net.classes == ("LABEL_0", "LABEL_1")
    inputs = net.front_end.prepare(recordings((16_000,)))
    with torch.no_grad():
        torch.testing.assert_close(net(inputs).logits, stock(inputs["input_values"]).logits)


def test_a_fine_tuned_encoder_is_read_by_the_frozen_ones_reader(tmp_path):
    waveforms = recordings((16_000, 30_000))
    net = network("yamnet", layer="layer_05")
    take_steps(net, 1)
    net.save(tmp_path / "yamnet", {})
    frozen = load_encoder("yamnet", weights=tmp_path / "yamnet" / "model.safetensors").encode(waveforms)
    with torch.no_grad():
        embedding = net.eval()(net.front_end.prepare(waveforms)).embedding
    torch.testing.assert_close(POOLINGS["mean"](frozen.layers[4], frozen.frame_masks[4]), embedding)
    for pooling in ("stock", "attentive"):
        net = network("wav2vec2-base", pooling=pooling)
        take_steps(net, 1)
        net.save(tmp_path / pooling, {})
        layers = load_encoder(str(tmp_path / pooling)).encode(waveforms[:1]).layers
        with torch.no_grad():
            own = net.eval().body(**_model_inputs(net, waveforms[:1])).last_hidden_state
        torch.testing.assert_close(layers[-1], own)


def _model_inputs(net, waveforms):
    return {k: v for k, v in net.front_end.prepare(waveforms).items() if k != "n_samples"}


@pytest.mark.parametrize("name", ["wav2vec2-base", "whisper", "ast", "yamnet"])
def test_the_front_end_can_be_sent_to_a_worker_and_holds_no_weights(name):
    net = network(name)
    net.front_end.prepare(recordings())
    sent = pickle.dumps(net.front_end)
    assert len(sent) < 2_000_000  # feature extractors keep their mel filters
    again = pickle.loads(sent).prepare(recordings())
    assert all(torch.equal(again[key], value) for key, value in net.front_end.prepare(recordings()).items())
    assert again["n_samples"].tolist() == [len(waveform) for waveform in recordings()]
    assert again["n_samples"].dtype == torch.int64


def test_a_network_can_be_copied_and_the_copy_is_its_own():
    net = network("wav2vec2-base", gradient_checkpointing=True)
    copied = deepcopy(net)
    before = logits(net, recordings())
    assert torch.equal(logits(copied, recordings()), before)
    take_steps(copied, 1)
    assert torch.equal(logits(net, recordings()), before)


def test_a_pretraining_config_leaves_no_layer_out_and_masks_as_told():
    net = network("wav2vec2-base")
    assert net.model.config.layerdrop == 0
    assert net.model.config.apply_spec_augment is True
    assert network("wav2vec2-base", spec_augment=False).model.config.apply_spec_augment is False


def refused(match: str, name: str, **options) -> None:
    with pytest.raises((FinetuneError, EncoderError), match=match) as caught:
        network(name, **options)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_built_is_refused_in_one_line(tmp_path):
    refused("no pooling 'max' here: stock, mean", "whisper", pooling="max")
    refused(
        "no layer 'layer_04': last, mix, or a name from layer_00 to layer_03", "whisper", layer="layer_04"
    )
    refused("no layer 'layer_15'", "yamnet", layer="layer_03,layer_15")
    refused("differ in width", "vggish", layer="mix")
    refused("mixes no layers", "ast", layer="mix")
    refused("has no projection", "ast", projection_size=5)
    refused("projection_size is 0", "ast", projection_size=0)
    refused("dropout is 1", "whisper", dropout=1.0)
    refused("takes no --gradient-checkpointing", "yamnet", gradient_checkpointing=True)
    refused("takes no --weights", "whisper", weights="some.h5")
    refused("type 'speech_to_text', and fine-tuned are audio-spectrogram-transformer, ", "speech-to-text")
    for name, match in (
        ("egemaps", "nothing to train in egemaps"),
        ("wav2vec", "no encoder named 'wav2vec'"),
    ):
        with pytest.raises((FinetuneError, EncoderError), match=match):
            load_network(name, CLASSES)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(FinetuneError, match="type 'bert', and fine-tuned are"):
        load_network(str(tmp_path), CLASSES)
    with pytest.raises(FinetuneError, match="two or more"):
        load_network("yamnet", ["joy"], untrained=True)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    folder = tmp_path / "part"
    shutil.copytree(checkpoint("wav2vec2-base"), folder)
    tensors = load_file(folder / "model.safetensors")
    lacking = next(key for key in tensors if "layers.1" in key)
    save_file(
        {k: v for k, v in tensors.items() if k != lacking}, folder / "model.safetensors", {"format": "pt"}
    )
    for pooling in ("stock", "attentive"):
        with pytest.raises(EncoderError, match="lacks 1 weights"):
            load_network(str(folder), CLASSES, pooling=pooling)
    save_file(
        {**tensors, lacking: tensors[lacking][:1].clone()}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(EncoderError, match=r"lacks 1 weights|cannot be loaded"):
        load_network(str(folder), CLASSES)


def test_clips_that_cannot_run_at_once_are_refused():
    for name, n_samples in (("wav2vec2-base", 300), ("whisper", 481_000), ("ast", 170_000), ("yamnet", 300)):
        with pytest.raises(FinetuneError, match=r"cannot be run at once|leave it out"):
            network(name).front_end.prepare([np.ones(n_samples, np.float32)])


def test_a_folder_that_holds_no_network_is_refused(tmp_path):
    with pytest.raises(FinetuneError, match="holds no network"):
        load_saved_network(tmp_path)
    net = network("yamnet")
    net.save(tmp_path, {})
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["ser_transfer"]["format"] = 99
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(FinetuneError, match="format 99"):
        load_saved_network(tmp_path)
