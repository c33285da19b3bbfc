"""Adapters: they and the head learn, nothing else moves, and merged they change no logit."""

import json

import peft
import pytest
import torch
from tiny_networks import CLASSES, checkpoint, logits, network, recordings, state_of, take_steps
from transformers import AutoModelForAudioClassification

from ser_transfer.finetuning.adapters import add_adapter, merge_adapter, merged, save_adapter
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks import load_saved_network
from ser_transfer.finetuning.trainable import count_parameters, freeze, parameter_groups

NAMES = (
    *("wav2vec2-base", "hubert-batchnorm", "wavlm-base", "sew-d", "wav2vec2-conformer-rel"),
    *("wav2vec2-bert", "whisper", "ast", "yamnet"),
)


def adapted(name: str, kind: str = "lora", settings=None, n_steps: int = 3, **options):
    """Add an adapter to a network and train it; give the network, and its state before."""
    net = network(name, **options)
    before = state_of(net)
    add_adapter(net, kind, settings)
    take_steps(net, n_steps)
    return net, before


def of_head(net) -> set[str]:
    head = {id(parameter) for parameter in net.blocks()[-1].all_parameters()}
    return {name for name, parameter in net.named_parameters() if id(parameter) in head}


@pytest.mark.parametrize("name", NAMES)
def test_lora_trains_adapters_and_head_and_nothing_else(name):
    net, before = adapted(name)
    state = {key.replace(".base_layer", ""): value for key, value in net.state_dict().items()}
    moved = {key for key, value in before.items() if not torch.equal(value, state[key])}
    assert moved
    assert moved <= of_head(net)
    new = {key: value for key, value in state.items() if key not in before}
    assert new
    assert all("lora_" in key for key in new)
    # lora_B starts at 0: whatever is not 0 now has learnt. Every adapter runs, so every one has.
    assert all(value.abs().sum() > 0 for key, value in new.items() if "lora_B" in key)


@pytest.mark.parametrize("name", NAMES)
def test_merged_and_unmerged_give_the_same_logits(name):
    net, before = adapted(name)
    found = logits(net, recordings())
    copied = merged(net)
    torch.testing.assert_close(logits(copied, recordings()), found, atol=1e-5, rtol=1e-5)
    assert copied.state_dict().keys() == before.keys()
    assert net.adapter is not None
    merge_adapter(net)
    assert net.adapter is None
    torch.testing.assert_close(logits(net, recordings()), found, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ia3", "loha", "lokr", "oft", "hra", "delora"])
def test_other_kinds_of_peft_train_and_merge(kind):
    net, _ = adapted("wav2vec2-base", kind)
    torch.testing.assert_close(
        logits(merged(net), recordings()), logits(net, recordings()), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("whisper", {}), ("wavlm-base", {"pooling": "attentive"}), ("yamnet", {"layer": "layer_10"})],
)
def test_blocks_and_groups_hold_each_parameter_once_with_an_adapter_too(name, options):
    net = network(name, **options)
    n_before = count_parameters(net)[1]
    add_adapter(net, "lora", {"r": 2})
    n_trained, n_all = count_parameters(net)
    assert n_before < n_all
    ids = [id(parameter) for block in net.blocks() for parameter in block.all_parameters()]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in net.parameters()}
    groups = parameter_groups(
        net, learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5, weight_decay=0.1
    )
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters() if p.requires_grad}
    assert sum(parameter.numel() for parameter in grouped) == n_trained


def test_the_adapter_follows_the_seed_and_leaves_torchs_generator_alone():
    states = []
    for seed in (1, 1, 2):
        net = network("wav2vec2-base")
        before = torch.get_rng_state()
        add_adapter(net, "lora", seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        states.append(torch.cat([v.flatten() for k, v in net.state_dict().items() if "lora_A" in k]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_saving_merges_a_copy(tmp_path):
    net, _ = adapted("wav2vec2-base")
    net.save(tmp_path, {})
    assert net.adapter is not None
    found = load_saved_network(tmp_path)
    torch.testing.assert_close(logits(found, recordings()), logits(net, recordings()), atol=1e-5, rtol=1e-5)
    stock = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert not any("lora" in name for name in stock.state_dict())


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-base", "whisper", "ast"])
def test_plain_peft_loads_a_saved_adapter_with_its_head(name, tmp_path):
    net, _ = adapted(name)
    save_adapter(net, tmp_path, {"speakers": ["p1"]})
    stock = AutoModelForAudioClassification.from_pretrained(checkpoint(name), num_labels=len(CLASSES))
    loaded = peft.PeftModel.from_pretrained(stock, str(tmp_path)).eval()
    (waveform,) = recordings((16_000,))
    inputs = {k: v for k, v in net.front_end.prepare([waveform]).items() if k != "n_samples"}
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, logits(net, [waveform]), atol=1e-6, rtol=1e-5)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == checkpoint(name)
    assert json.loads((tmp_path / "training.json").read_text()) == {
        "speakers": ["p1"],
        "classes": list(CLASSES),
        "layer": "last",
    }
    n_bytes = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert n_bytes < 5 * sum(p.numel() for p in net.parameters() if p.requires_grad) + 20_000


def refused(match: str, name: str, kind: str, settings=None, **options) -> None:
    net = network(name, **options)
    with pytest.raises(FinetuneError, match=match) as caught:
        add_adapter(net, kind, settings)
    assert "\n" not in str(caught.value)
    assert net.adapter is None


def test_what_peft_refuses_is_refused_in_one_line():
    refused("no adapter of kind 'lorra' for networks here: .*lora", "whisper", "lorra")
    refused("no adapter of kind 'prefix_tuning'", "whisper", "prefix_tuning")
    refused("peft refuses lora with {'rank': 3} on .*'rank'", "whisper", "lora", {"rank": 3})
    refused("peft refuses lora with {'r': 0}", "whisper", "lora", {"r": 0})
    refused("peft refuses adalora", "whisper", "adalora")
    refused("peft refuses lora", "whisper", "lora", {"target_modules": ["nowhere"]})
    refused("of the head, which learns as it is", "whisper", "lora", {"target_modules": ["projector"]})


def test_layers_that_are_never_called_are_refused():
    refused("would never run", "wavlm-base", "lora", {"target_modules": ["q_proj"]})
    net, _ = adapted("wavlm-base", "lora", {"target_modules": "all-linear"}, n_steps=2)
    assert not any("q_proj.lora" in name for name in net.state_dict())


def test_an_adapter_says_what_learns_and_there_is_one():
    net, _ = adapted("yamnet", n_steps=1)
    with pytest.raises(FinetuneError, match="has an adapter"):
        freeze(net, "head")
    with pytest.raises(FinetuneError, match="has an adapter of kind lora"):
        add_adapter(net, "lora")


def test_an_adapter_is_saved_alone_only_where_plain_peft_can_load_it(tmp_path):
    for name, options in (("yamnet", {}), ("whisper", {"pooling": "mean"}), ("whisper", {"layer": "mix"})):
        net = network(name, **options)
        with pytest.raises(FinetuneError, match="no adapter to save"):
            save_adapter(net, tmp_path, {})
        add_adapter(net)
        with pytest.raises(FinetuneError, match="plain peft cannot load the head"):
            save_adapter(net, tmp_path, {})
