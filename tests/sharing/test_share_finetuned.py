"""Fine-tuned networks on the Hub: plain repositories of transformers and of peft."""

import json
import shutil

import numpy as np
import pytest
from encoders.tiny_checkpoints import save_checkpoint
from safetensors import safe_open

import ser_transfer.finetune
import ser_transfer.share
from ser_transfer.audio import read_audio
from ser_transfer.model import EmotionModel

PIPELINE = """
import json, sys
import numpy as np
from transformers import pipeline
classifier = pipeline("audio-classification", model="ada/net")
rows = [classifier(waveform, top_k=None) for waveform in np.load(WAVEFORMS)]
assert not any(name.startswith("ser_transfer") for name in sys.modules)
print(json.dumps(rows))
"""

TRAIN = """
import json
from ser_transfer import EmotionModel, load_corpus
corpus = load_corpus("folder", {root!r}, speaker_pattern="(?P<speaker>p[0-9])_")
model = EmotionModel.fit(corpus, "ada/encoder", "lda", split="loso")
model.save({out!r})
print(json.dumps(model.predict_proba(corpus["audio"][:3]).tolist()))
"""
ASK = """
import json
from ser_transfer import EmotionModel, SerTransferError, load_corpus
corpus = load_corpus("folder", {root!r}, speaker_pattern="(?P<speaker>p[0-9])_")
try:
    model = EmotionModel.from_pretrained({model!r})
    print(json.dumps(model.predict_proba(corpus["audio"][:3]).tolist()))
except SerTransferError as error:
    print(error)
"""


@pytest.fixture(scope="session")
def tuned(tones_once, tmp_path_factory):
    """A run whose network has an adapter, which was kept alone, too."""
    folder = tmp_path_factory.mktemp("tuned")
    checkpoint = save_checkpoint("wav2vec2-base", folder / "checkpoint")
    told = [
        *("--corpus", "folder", "--root", str(tones_once), "--speaker-pattern", "(?P<speaker>p[0-9])_"),
        *("--encoder", str(checkpoint), "--split", "loso", "--allow", "near-identical-audio"),
        *("--adapter", "lora", "--keep-adapter", "--baseline", "none", "--tracker", "none", "--no-plots"),
        *("--batch-seconds", "3", "--max-epochs", "2", "--learning-rate", "1e-2", "--device", "cpu"),
        *("--out", str(folder / "run")),
    ]
    assert ser_transfer.finetune.main(told) == 0
    return folder / "run"


def test_plain_transformers_answers_from_the_hub_what_we_do(hub_server, tuned, tones_once, tmp_path):
    staged = tmp_path / "staged"
    assert ser_transfer.share.main([str(tuned), "ada/net", "--dry-run", "--out", str(staged)]) == 0
    files = {path.name: path.read_bytes() for path in staged.iterdir()}
    assert not any(str(tuned.parent).encode() in content for content in files.values()), (
        "a path of this machine"
    )
    hub_server.plant("ada/net", files)
    clips = sorted(map(str, tones_once.rglob("*.wav")))[::7]
    waveforms = np.stack([read_audio(clip, 16_000)[:2900] for clip in clips])
    np.save(tmp_path / "waveforms.npy", waveforms)
    script = PIPELINE.replace("WAVEFORMS", repr(str(tmp_path / "waveforms.npy")))
    rows = json.loads(hub_server.python(script, tmp_path / "home").splitlines()[-1])
    model = EmotionModel.from_pretrained(tuned, device="cpu")
    ours = model.predict_proba(list(waveforms))
    for row, answers in zip(rows, ours, strict=True):
        told = {each["label"]: each["score"] for each in row}
        np.testing.assert_allclose([told[emotion] for emotion in model.classes], answers, atol=1e-5)
    assert np.ptp(ours, axis=1).min() > 0.01


def test_an_adapter_is_a_plain_repository_of_peft(tuned, tmp_path, capsys):
    from peft import PeftConfig

    told = ["--part", "adapter", "--dry-run", "--out", str(tmp_path / "staged")]
    assert ser_transfer.share.main([str(tuned), "ada/adapter", *told]) == 1
    assert "a folder of this machine" in capsys.readouterr().err
    run = shutil.copytree(tuned, tmp_path / "run")
    path = run / "adapter" / "adapter_config.json"
    on_hub = {"base_model_name_or_path": "facebook/wav2vec2-base", "revision": "0b5b8e8"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **on_hub}))
    shutil.rmtree(tmp_path / "staged", ignore_errors=True)
    assert ser_transfer.share.main([str(run), "ada/adapter", *told]) == 0
    config = PeftConfig.from_pretrained(str(tmp_path / "staged"))
    assert config.peft_type == "LORA"
    with safe_open(tmp_path / "staged" / "adapter_model.safetensors", "pt") as tensors:
        assert any("lora_A" in name for name in tensors.keys())  # noqa: SIM118 -- no mapping
    assert "library_name: peft" in (tmp_path / "staged" / "README.md").read_text()


def test_a_frozen_model_finds_its_encoder_at_the_revision_of_its_training(hub_server, tones_once, tmp_path):
    """What its encoder becomes later on the Hub does not reach it; a copy that is another one is refused."""
    encoder, other = (save_checkpoint(name, tmp_path / name) for name in ("wav2vec2-base", "hubert-base"))
    hub_server.plant("ada/encoder", {path.name: path.read_bytes() for path in encoder.iterdir()})
    train = TRAIN.format(root=str(tones_once), out=str(tmp_path / "model"))
    trained = json.loads(hub_server.python(train, tmp_path / "a").splitlines()[-1])
    hub_server.plant("ada/encoder", {path.name: path.read_bytes() for path in other.iterdir()})
    ask = ASK.format(root=str(tones_once), model=str(tmp_path / "model"))
    assert json.loads(hub_server.python(ask, tmp_path / "b").splitlines()[-1]) == trained
    config = tmp_path / "model" / "config.json"
    described = json.loads(config.read_text())
    config.write_text(json.dumps({**described, "encoder": {**described["encoder"], "revision": None}}))
    refused = hub_server.python(ask, tmp_path / "c").splitlines()[-1]
    assert "ada/encoder is not the encoder that" in refused
