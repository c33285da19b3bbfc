"""What learns, what does not move by a bit, and at which rate each part moves."""

import pytest
import torch
from tiny_networks import network, recordings, state_of, take_steps

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.trainable import count_parameters, freeze, parameter_groups

NAMES = (
    *("wav2vec2-base", "wav2vec2-large", "hubert-batchnorm", "wavlm-base", "data2vec-audio", "sew", "sew-d"),
    *("wav2vec2-conformer-rel", "wav2vec2-bert", "whisper", "ast", "yamnet", "vggish"),
)


def moved_blocks(net, trained: str) -> set[str]:
    """Freeze, train, and name the blocks in which any weight or statistic moved."""
    freeze(net, trained)
    before = state_of(net)
    take_steps(net)
    assert all(value.isfinite().all() for value in net.state_dict().values())
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    found = set()
    for block in net.blocks():
        own = {id(tensor) for module in block.modules for tensor in (*module.parameters(), *module.buffers())}
        own |= {id(parameter) for parameter in block.parameters}
        named = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        if any(id(named[name]) in own for name in moved if name in named):
            found.add(block.name)
    return found


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-batchnorm", "wav2vec2-conformer-rel", "whisper"])
def test_only_what_is_trained_moves_statistics_of_batch_norms_included(name):
    has_positions = {"positions"} if name == "whisper" else set()
    every = {block.name for block in network(name).blocks()} - has_positions
    assert moved_blocks(network(name), "head") == {"head"}
    assert moved_blocks(network(name), "top:2") == {"layer_02", "layer_03", "head"}
    assert moved_blocks(network(name), "layers") == every - {"front_end"}
    assert moved_blocks(network(name), "all") == every


def test_in_yamnet_too_only_what_is_trained_moves():
    layers = [f"layer_{i:02d}" for i in range(1, 15)]
    assert moved_blocks(network("yamnet"), "head") == {"head"}
    assert moved_blocks(network("yamnet"), "top:3") == {*layers[-3:], "head"}
    assert moved_blocks(network("yamnet"), "layers") == {*layers[1:], "head"}
    assert moved_blocks(network("yamnet"), "top:14") == {*layers, "head"}
    assert moved_blocks(network("yamnet", layer="layer_10"), "top:2") == {"layer_09", "layer_10", "head"}


def test_where_there_is_no_front_end_the_lowest_part_stays():
    assert "layer_00" not in moved_blocks(network("wav2vec2-bert"), "layers")


@pytest.mark.parametrize(
    ("name", "path", "follows"),
    [
        ("wav2vec2-base", "encoder.layer_norm", False),
        ("wav2vec2-large", "encoder.layer_norm", True),
        ("wav2vec2-conformer-rel", "encoder.layer_norm", True),
        ("whisper", "layer_norm", True),
        ("ast", "layernorm", True),
        ("sew", "encoder.upsample", True),
    ],
)
def test_a_norm_that_follows_the_last_layer_learns_with_it(name, path, follows):
    net = network(name)
    freeze(net, "top:1")
    assert all(p.requires_grad is follows for p in net.body.get_submodule(path).parameters())


def test_what_is_frozen_runs_without_dropout_and_masks():
    net = network("wav2vec2-base", dropout=0.0)
    freeze(net, "head")
    net.train()
    inputs = net.front_end.prepare(recordings(), training=True)
    assert torch.equal(net(inputs).logits, net(inputs).logits)
    assert not net.body.training
    freeze(net, "all")
    assert net.body.training


def test_frozen_layers_are_spared_the_backward_pass():
    for name, options in (("wav2vec2-base", {}), ("yamnet", {"layer": "layer_06"})):
        net = network(name, **options)
        freeze(net, "top:1")
        net.train()
        seen = []
        block = next(
            block for block in net.blocks() if block.name == ("layer_02" if name[0] == "w" else "layer_05")
        )
        hooked = list(block.modules[0].modules())[-1]  # a ModuleDict is never called itself
        hooked.register_forward_hook(
            lambda module, args, output, seen=seen: seen.append(output.requires_grad)
        )
        net(net.front_end.prepare(recordings(), training=True))
        assert seen == [False]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"pooling": "attentive"}], ids=["stock", "attentive"])
def test_every_parameter_is_in_one_block(name, options):
    net = network(name, **options)
    ids = [id(parameter) for block in net.blocks() for parameter in block.all_parameters()]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in net.parameters()}
    assert net.blocks()[-1].kind == "head"


@pytest.mark.parametrize("trained", ["head", "top:1", "layers", "all"])
@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_groups_hold_each_parameter_that_learns_once(name, trained):
    net = network(name, layer="mix") if name.startswith("wav2vec2") else network(name)
    freeze(net, trained)
    groups = parameter_groups(
        net, learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5, weight_decay=0.1
    )
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}
    assert len({group["name"] for group in groups}) == len(groups)


def test_rates_fall_from_layer_to_layer_and_norms_are_not_decayed():
    net = network("wav2vec2-base", layer="mix")
    groups = parameter_groups(
        net, learning_rate=1.0, head_learning_rate=7.0, layer_decay=0.5, weight_decay=0.1
    )
    rates = {group["name"].split()[0]: group["lr"] for group in groups}
    assert rates == {
        **{"head": 7.0, "layer_03": 1.0, "layer_02": 0.5, "layer_01": 0.25},
        **{"layer_00": 0.125, "front_end": 0.0625},
    }
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    undecayed = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert {name for name in names.values() if name.endswith(".bias")} <= undecayed
    assert {name for name in names.values() if "layer_norm" in name} <= undecayed
    assert {"model.layer_weights", "model.wav2vec2.masked_spec_embed"} <= undecayed
    assert "model.wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0" in undecayed
    decayed = set(names.values()) - undecayed
    assert "model.wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1" in decayed
    assert "model.classifier.weight" in decayed
    assert all("norm" not in name for name in decayed)


def test_trained_parameters_are_counted():
    net = network("wav2vec2-base")
    n_all = sum(parameter.numel() for parameter in net.parameters())
    assert count_parameters(net) == (n_all, n_all)
    freeze(net, "head")
    assert count_parameters(net) == (256 * 32 + 256 + 4 * 256 + 4, n_all)
    freeze(net, "all")
    assert count_parameters(net) == (n_all, n_all)


def test_whispers_sines_never_learn():
    net = network("whisper")
    freeze(net, "all")
    assert not net.body.embed_positions.weight.requires_grad
    assert count_parameters(net)[0] == count_parameters(net)[1] - net.body.embed_positions.weight.numel()


@pytest.mark.parametrize("trained", ["top:99", "top:0", "top:-1", "top", "tail", ""])
def test_more_layers_than_there_are_and_other_words_are_refused_in_one_line(trained):
    match = "has 3 layers: give top:3 or less" if trained == "top:99" else "give head, top:K"
    with pytest.raises(FinetuneError, match=match) as caught:
        freeze(network("wavlm-base"), trained)
    assert "\n" not in str(caught.value)
