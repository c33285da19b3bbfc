"""A temperature that lies in the weights: plain transformers, which knows of none, answers as we do."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from cards.sample_runs import CLASSES as EMOTIONS
from cards.sample_runs import FINETUNE, HONEST, run_of
from safetensors.torch import load_file
from test_networks import FAMILIES
from tiny_networks import CLASSES, checkpoint, logits, network, recordings, state_of, take_steps

from ser_transfer.cards import CardError, card_of_run
from ser_transfer.cross_validation import mean_temperature
from ser_transfer.encoders.front_ends import FRONT_ENDS
from ser_transfer.finetuning.adapters import add_adapter, save_adapter
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks import load_network, load_saved_network
from ser_transfer.metrics import with_temperature
from ser_transfer.model import EmotionModel
from ser_transfer.runs import save_run

TEMPERATURE = 1.7
PIPELINE = """
import json, sys
import numpy as np
from transformers import pipeline
answers = {}
for folder in sys.argv[2:]:
    ask = pipeline("audio-classification", model=folder)
    answers[folder] = {each["label"]: each["score"] for each in ask(np.load(sys.argv[1]), top_k=None)}
assert not any(name.startswith("ser_transfer") for name in sys.modules)
print(json.dumps(answers))
"""
# One checkpoint of each type that is fine-tuned.
OF_EVERY_TYPE = {
    "audio-spectrogram-transformer": "ast",
    "hubert": "hubert-base",
    "wav2vec2": "wav2vec2-base",
    "wav2vec2-conformer": "wav2vec2-conformer-rel",
    "wavlm": "wavlm-base",
}


def told(folder):
    return json.loads((folder / "training.json").read_text())


def confident(name, **options):
    """A network whose answers a temperature would change."""
    net = network(name, **options)
    take_steps(net, 2)
    with torch.no_grad():
        net.logits_layer.bias.copy_(torch.tensor([2.0, -1.0, 0.5, 0.0]))
    return net


def test_plain_pipelines_give_our_calibrated_probabilities_of_every_family(tmp_path):
    (waveform,) = recordings((20_000,))
    np.save(tmp_path / "clip.npy", waveform)
    cases = [(name, {}, TEMPERATURE) for name in FAMILIES]
    cases += [("wav2vec2-large", {"layer": "mix"}, TEMPERATURE), ("wav2vec2-base", {}, None)]
    expected = {}
    for name, options, temperature in cases:
        net = confident(name, **options)
        folder = tmp_path / f"{name}{len(expected)}"
        net.save(folder, {} if temperature is None else {"temperature": temperature})
        plain = logits(net, [waveform]).double().softmax(dim=1).numpy()
        own = with_temperature(plain, temperature or 1.0)[0]
        assert temperature is None or np.abs(own - plain[0]).max() > 0.05
        model = EmotionModel.from_pretrained(folder, device="cpu")
        np.testing.assert_allclose(model.predict_proba([waveform])[0], own, atol=1e-5)
        expected[str(folder)] = dict(zip(CLASSES, own, strict=True))
    command = [sys.executable, "-c", PIPELINE, str(tmp_path / "clip.npy"), *expected]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    answers = json.loads(ran.stdout.strip().splitlines()[-1])
    for folder, probabilities in expected.items():
        assert answers[folder] == pytest.approx(probabilities, abs=1e-5), folder


@pytest.mark.parametrize("model_type", FRONT_ENDS)
def test_the_last_layer_of_every_type_gives_the_logits(model_type):
    net = network(OF_EVERY_TYPE.get(model_type, model_type))
    assert net.model.config.model_type == model_type
    assert isinstance(net.logits_layer, torch.nn.Linear)
    before = logits(net, recordings())
    with torch.no_grad():
        for parameter in net.logits_layer.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(logits(net, recordings()), 2 * before, atol=1e-6, rtol=1e-5)


def test_a_network_is_the_same_after_saving_and_its_folder_is_divided_once(tmp_path):
    net = confident("wav2vec2-base")
    before = state_of(net)
    net.save(tmp_path / "first", {"speakers": ["p1"], "temperature": TEMPERATURE})
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    facts = {"speakers": ["p1"], "temperature": 1.0, "temperature_in_weights": TEMPERATURE}
    assert told(tmp_path / "first") == facts
    written = load_file(tmp_path / "first" / "model.safetensors")
    torch.testing.assert_close(written["classifier.weight"] * TEMPERATURE, before["model.classifier.weight"])
    torch.testing.assert_close(written["classifier.bias"] * TEMPERATURE, before["model.classifier.bias"])
    model = EmotionModel.from_pretrained(tmp_path / "first", device="cpu")
    model.save(tmp_path / "second")
    assert told(tmp_path / "second") == facts
    again = load_file(tmp_path / "second" / "model.safetensors")
    assert all(torch.equal(again[name], value) for name, value in written.items())


def test_temperatures_that_follow_each_other_are_told_as_one(tmp_path):
    net = confident("wav2vec2-base")
    net.save(tmp_path / "first", {"temperature": 2.0})
    again = load_saved_network(tmp_path / "first")
    again.save(tmp_path / "second", {**told(tmp_path / "first"), "temperature": 1.5})
    assert told(tmp_path / "second") == {"temperature": 1.0, "temperature_in_weights": 3.0}
    found = logits(load_saved_network(tmp_path / "second"), recordings())
    torch.testing.assert_close(found * 3.0, logits(net, recordings()), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [("wav2vec2-base", {"pooling": "attentive"}), ("yamnet", {}), ("vggish", {})],
    ids=["head of ours", "yamnet", "vggish"],
)
def test_what_only_we_can_load_keeps_its_temperature_beside_it(name, options, tmp_path):
    net = network(name, **options)
    assert net.logits_layer is None
    net.save(tmp_path, {"temperature": TEMPERATURE})
    assert told(tmp_path) == {"temperature": TEMPERATURE}
    found = logits(load_saved_network(tmp_path), recordings())
    torch.testing.assert_close(found, logits(net, recordings()), atol=1e-7, rtol=1e-6)


def test_an_adapter_alone_keeps_its_temperature_and_the_network_it_is_merged_into_does_not(tmp_path):
    net = network("wav2vec2-base")
    add_adapter(net, "lora")
    take_steps(net)
    with torch.no_grad():
        net.logits_layer.bias.copy_(torch.tensor([2.0, -1.0, 0.5, 0.0]))
    facts = {"corpus": "a corpus", "temperature": TEMPERATURE}
    net.save(tmp_path / "model", facts)
    save_adapter(net, tmp_path / "adapter", facts)
    assert told(tmp_path / "adapter")["temperature"] == TEMPERATURE
    assert told(tmp_path / "model")["temperature"] == 1.0
    merged, adapted = (
        EmotionModel.from_pretrained(tmp_path / part, device="cpu") for part in ("model", "adapter")
    )
    expected = with_temperature(
        torch.cat([logits(net, [each]) for each in recordings()]).double().softmax(dim=1).numpy(), TEMPERATURE
    )
    np.testing.assert_allclose(merged.predict_proba(recordings()), expected, atol=1e-5)
    np.testing.assert_allclose(adapted.predict_proba(recordings()), expected, atol=1e-5)


def test_a_full_disk_leaves_the_network_undivided(tmp_path, monkeypatch):
    net = confident("wav2vec2-base")
    before = state_of(net)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(net.model), "save_pretrained", full)
    with pytest.raises(FinetuneError, match="No space left on device"):
        net.save(tmp_path, {"temperature": TEMPERATURE})
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_card_tells_the_same_temperature_wherever_it_lies_and_who_answers_with_it(tmp_path):
    run = run_of(HONEST, finetuned=True)
    save_run(run, tmp_path / "run", FINETUNE, plots=False)
    temperature = mean_temperature(run.systems[0].predictions)
    facts = {
        "corpus": "ravdess",
        "corpus_name": "ravdess",
        "split": HONEST.description,
        "speaker_independent": True,
        "uar": run.systems[0].scores.uar,
        "speakers": ["01", "02"],
    }
    model = tmp_path / "run" / "model"
    net = load_network(checkpoint("wav2vec2-base"), EMOTIONS)
    net.save(model, {**facts, "temperature": temperature})
    scaled = f"scaled with a temperature of {temperature:.3f}, "
    card = card_of_run(tmp_path / "run").text
    assert scaled in card
    assert "It lies in the weights, so that plain transformers answers with it too." in card
    # As it was written before temperatures lay in weights.
    (model / "training.json").write_text(json.dumps({**facts, "temperature": temperature}))
    card = card_of_run(tmp_path / "run").text
    assert scaled in card
    assert "Plain transformers answers without it." in card
    (model / "training.json").write_text(json.dumps({**facts, "temperature_in_weights": temperature + 1}))
    with pytest.raises(CardError, match="not the model of this run: its temperature"):
        card_of_run(tmp_path / "run")
