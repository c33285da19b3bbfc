"""Networks on patches beyond the plain one: whole clips, a classifier per layer, several speeds."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_networks import logits, network, recordings
from torch import nn

from ser_transfer.augment.effects import change_speed
from ser_transfer.encoders import EncoderError
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.losses import EmotionLoss
from ser_transfer.finetuning.networks import load_saved_network
from ser_transfer.finetuning.networks.patch_inputs import STEP
from ser_transfer.finetuning.objective import EmotionObjective
from ser_transfer.finetuning.settings import LossSettings

LAYERS = "layer_04,layer_06,layer_13"
SPEEDS = (0.9, 1.0, 1.1)
KINDS = {
    "whole": {"whole": True},
    "exits": {"exits": True},
    "speeds": {"speeds": SPEEDS},
    "all": {"whole": True, "exits": True, "speeds": SPEEDS},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_batch_stays_out_and_a_saved_network_says_the_same(options, tmp_path):
    net = network("yamnet", layer=LAYERS, pooling="mean_std", **options)
    together = logits(net, recordings())
    for waveform, of_batch in zip(recordings(), together, strict=True):
        torch.testing.assert_close(logits(net, [waveform])[0], of_batch, atol=1e-5, rtol=0)
    assert together.std(dim=0).max() > 1e-6  # the clips do differ
    net.save(tmp_path, {})
    assert torch.equal(logits(load_saved_network(tmp_path), recordings()), together)


def test_a_whole_clip_of_one_patch_is_that_patch():
    (waveform,) = recordings((15_600,))  # 96 frames
    found = [
        logits(network("yamnet", pooling="mean", layer=LAYERS, whole=whole), [waveform]) for whole in (0, 1)
    ]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)


def test_a_whole_clip_is_filled_up_with_silence_to_whole_steps():
    net = network("yamnet", whole=True)
    inputs = net.front_end.prepare(recordings((16_000, 5_520, 400)))
    assert inputs["n_frames"].tolist() == [128, 64, 32]  # of 98, 33 and 1
    last = inputs["frames"][-STEP:]
    assert torch.all(last[3:] == np.log(np.float32(0.001)))
    assert not torch.any(last[0] == np.log(np.float32(0.001)))
    steps = net._of_whole_clips(inputs)
    assert [tuple(of_clip.shape) for of_clip in steps] == [(n, 1024) for n in (4, 2, 1)]


def test_each_layers_classifier_reads_that_layer_and_learns_by_its_own_loss():
    net = network("yamnet", layer=LAYERS, pooling="mean_std", exits=True, dropout=0.0)
    inputs = net.front_end.prepare(recordings())
    output = net(inputs)
    assert output.exits.shape == (3, len(recordings()), len(net.classes))
    torch.testing.assert_close(output.logits, output.exits.mean(dim=0))
    torch.testing.assert_close(output.exits.exp().sum(dim=2), torch.ones(3, len(recordings())))
    lowest = network("yamnet", layer="layer_04", pooling="mean_std", dropout=0.0)
    lowest.head.load_state_dict(net.head[0].state_dict())
    torch.testing.assert_close(logits(lowest, recordings()).log_softmax(1), output.exits[0].detach())

    truth = torch.eye(len(net.classes))[torch.arange(len(recordings())) % len(net.classes)]
    batch = {"inputs": inputs, "truth": truth, "n_in_step": len(truth)}
    total = EmotionObjective(LossSettings(balanced=False), [0], len(net.classes))(net, batch)
    loss = EmotionLoss()
    torch.testing.assert_close(total, torch.stack([loss(each, truth).mean() for each in output.exits]).mean())
    other = EmotionObjective(LossSettings(balanced=False), [0], len(net.classes))(
        lambda _: SimpleNamespace(logits=output.logits, exits=None), batch
    )
    assert abs((other - total).item()) > 1e-4  # what the average of the exits would cost is another number


def test_several_speeds_are_averaged_as_log_probabilities_and_only_in_evaluation():
    one, several = (network("yamnet", speeds=speeds) for speeds in ((1.0,), SPEEDS))
    waveforms = recordings()
    alone = [logits(one, [change_speed(wave, 16_000, speed) for wave in waveforms]) for speed in SPEEDS]
    expected = torch.stack([each.log_softmax(1) for each in alone]).mean(dim=0)
    torch.testing.assert_close(logits(several, waveforms), expected, atol=1e-4, rtol=0)
    training = several.front_end.prepare(waveforms, training=True)
    assert len(training["n_patches"]) == len(waveforms)


def test_a_network_of_the_first_format_is_read_as_it_was(tmp_path):
    net = network("yamnet")
    net.save(tmp_path, {})
    config = tmp_path / "config.json"
    settings = json.loads(config.read_text())
    for key in ("whole", "exits", "speeds"):
        del settings["ser_transfer"][key]
    settings["ser_transfer"]["format"] = 1
    config.write_text(json.dumps(settings))
    assert torch.equal(logits(load_saved_network(tmp_path), recordings()), logits(net, recordings()))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vggish", {"whole": True}, "vggish has dense layers"),
        ("wav2vec2-base", {"exits": True}, "takes no --exits: it is of yamnet and vggish"),
        ("yamnet", {"speeds": (1.0, 3.0)}, r"speeds are \[1.0, 3.0\]: give one or more from 0.5 to 2.0"),
        ("yamnet", {"speeds": ()}, "give one or more"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(name, options, message):
    with pytest.raises((FinetuneError, EncoderError), match=message) as caught:
        network(name, **options)
    assert "\n" not in str(caught.value)


def test_the_fastest_speed_sets_the_shortest_clip():
    net = network("yamnet", speeds=(1.0, 1.25))
    assert net.min_samples == 500
    assert isinstance(net.head, nn.Sequential)
    net.front_end.prepare([np.ones(net.min_samples, np.float32)])
    with pytest.raises(FinetuneError, match="leave it out"):
        net.front_end.prepare([np.ones(480, np.float32)])
