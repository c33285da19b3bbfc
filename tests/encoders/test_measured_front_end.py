import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from properties import deviation_from_alone, largest_deviation, plain_measured_states
from tiny_checkpoints import MEASURED_PARTS, TRANSFORMER, of_whisper
from torch.nn import functional

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.transformers_family import load_transformers_encoder
from ser_transfer.encoders.transformers_model import load_model

FILLED_UP = ("qwen2-audio-encoder", "qwen2-audio", "voxtral-encoder", "audioflamingo3-encoder")
# Samples per frame, by the strides of each model: of all layers, or of the first ones and the last ones.
HOPS = {
    "qwen2-audio-encoder": (320, 640),
    "qwen2-audio": (320, 640),
    "voxtral-encoder": (320, 320),
    "audioflamingo3-encoder": (320, 640),
    "speech-to-text": (640, 640),
    "moonshine": (64 * 3 * 2, 64 * 3 * 2),
    "speecht5": (320, 320),
    "parakeet-encoder": (1280, 1280),
    "parakeet-ctc": (1280, 1280),
    "seamless-m4t": (320, 8 * 320),  # the last is that of its adapter
    "lasr-encoder": (640, 640),
    "granite-speech5-encoder": (320, 1280),
}


@pytest.fixture(scope="module")
def encoder_of(tiny_checkpoint):
    """Give the encoder of a tiny checkpoint, made once: that runs the model."""
    made = {}

    def encoder(name):
        if name not in made:
            torch.set_num_threads(1)
            made[name] = load_transformers_encoder(str(tiny_checkpoint(name)), device="cpu")
        return made[name]

    return encoder


@pytest.mark.parametrize("name", MEASURED_PARTS)
def test_a_clip_gives_the_same_frames_alone_and_in_any_batch(name, encoder_of, make_waveform):
    waveforms = [make_waveform(seconds, seed) for seed, seconds in enumerate((0.4, 1.0213, 1.0213))]
    assert deviation_from_alone(encoder_of(name), waveforms) < 1e-5


@pytest.mark.parametrize("name", MEASURED_PARTS)
def test_a_clip_alone_gives_what_plain_transformers_gives(name, encoder_of, tiny_checkpoint, make_waveform):
    waveform, encoder = make_waveform(1.0213), encoder_of(name)
    states = encoder.encode([waveform])
    plain = plain_measured_states(name, tiny_checkpoint(name), waveform)
    assert len(states.layers) == len(plain) == len(encoder.layer_names)
    for layer, expected, dim in zip(states.layers, plain, encoder.dims, strict=True):
        n_frames = layer.shape[1]
        assert layer.shape == (1, n_frames, dim)
        assert layer.dtype == torch.float32
        assert largest_deviation(layer[0], expected[:n_frames]) < 1e-5
        if name not in FILLED_UP:
            # Parakeet's extractor marks its last spectrum as padding, in which one more frame may begin.
            assert len(expected) - n_frames <= name.startswith("parakeet")


@pytest.mark.parametrize("name", MEASURED_PARTS)
def test_frames_are_measured_to_the_sample(name, encoder_of, make_waveform):
    encoder = encoder_of(name)
    hops = encoder._front_end.hops
    assert (hops[0], hops[-1]) == HOPS[name]
    assert encoder.frame_rate in {16_000 / hop for hop in HOPS[name]}
    n_samples = 16_000
    for layer, hop in zip(encoder.encode([make_waveform(1.0)]).layers, hops, strict=True):
        if name in FILLED_UP:
            assert layer.shape[1] == -(-n_samples // hop)  # those that begin on the clip
        else:
            assert layer.shape[1] == pytest.approx(n_samples / hop, abs=3)


@pytest.mark.parametrize("name", MEASURED_PARTS)
def test_a_long_clip_has_in_windows_the_frames_that_its_length_asks_for(
    name, encoder_of, make_waveform, monkeypatch
):
    encoder = encoder_of(name)
    short, long = make_waveform(2.0), make_waveform(7.123)
    whole = encoder.encode([long])
    grid, hops = encoder._front_end.grid, encoder._front_end.hops
    monkeypatch.setattr(
        encoder._front_end, "grid", type(grid)(grid.hop, grid.receptive_field, 3 * 16_000 // grid.hop)
    )
    states = encoder.encode([short, long])
    windows = encoder._front_end.grid.windows(len(long))
    assert len(windows) >= 3
    apart = [encoder.encode([long[window]]).layers for window in windows]
    for i, hop in enumerate(hops):
        layer = states.layers[i][1][states.frame_masks[i][1]]
        assert len(layer) == whole.layers[i].shape[1]
        start = 0
        for window, part in zip(windows, apart, strict=True):
            assert start == window.start // hop
            n_frames = min(part[i].shape[1], len(layer) - start, (window.stop - window.start) // hop)
            own = (
                n_frames
                if window is windows[-1]
                else n_frames - max(0, grid.receptive_field - grid.hop) // hop
            )
            torch.testing.assert_close(layer[start : start + own], part[i][0, :own], rtol=0, atol=1e-4)
            start = windows[windows.index(window) + 1].start // hop if window is not windows[-1] else start


def test_frames_of_windows_lie_where_they_would_in_the_whole_clip(encoder_of, make_waveform, monkeypatch):
    encoder, long = encoder_of("lasr-encoder"), make_waveform(7.123)
    # Its first layer is convolutions over a spectrogram that is not normalised: each frame is its own.
    whole = encoder.encode([long]).layers[0]
    grid = encoder._front_end.grid
    monkeypatch.setattr(encoder._front_end, "grid", type(grid)(grid.hop, grid.receptive_field, 50))
    torch.testing.assert_close(encoder.encode([long]).layers[0], whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["moonshine", "seamless-m4t", "qwen2-audio"])
def test_only_the_encoder_is_built_and_its_random_control_is_alike(name, tiny_checkpoint, make_waveform):
    folder = str(tiny_checkpoint(name))
    control = load_transformers_encoder(folder, untrained=True, seed=1)
    trained = load_transformers_encoder(folder)
    assert control.fingerprint != trained.fingerprint
    assert (control.layer_names, control.dims) == (trained.layer_names, trained.dims)
    waveform = make_waveform(0.5)
    assert control.encode([waveform]).layers[-1].isfinite().all()
    again = load_transformers_encoder(folder, untrained=True, seed=1).encode([waveform]).layers[-1]
    assert torch.equal(control.encode([waveform]).layers[-1], again)
    kinds = {type(module).__name__ for module in trained._model.modules()} if trained._model else set()
    assert not any("Decoder" in kind or kind.startswith("Qwen2Model") for kind in kinds)


@pytest.mark.parametrize("name", MEASURED_PARTS)
def test_a_clip_too_short_for_a_frame_is_refused_and_one_just_long_enough_is_not(name, encoder_of):
    encoder = encoder_of(name)
    n_samples = encoder._front_end.min_samples
    assert n_samples <= 16_000 * 0.15
    noise = np.random.default_rng(5).standard_normal(n_samples).astype(np.float32)
    states = encoder.encode([noise])
    assert min(layer.shape[1] for layer in states.layers) == 1
    assert all(layer.isfinite().all() for layer in states.layers)
    if n_samples > 1:
        with pytest.raises(EncoderError, match=f"waveform 0 of the batch has {n_samples - 1} samples"):
            encoder.encode([noise[1:]])


def test_weights_that_only_the_whole_model_can_rename_are_read_from_it(tmp_path, make_waveform):
    torch.manual_seed(0)
    conformer = {**TRANSFORMER, "subsampling_conv_channels": 8}
    config = transformers.CohereAsrConfig(encoder_config=conformer, **TRANSFORMER, vocab_size=40)
    model = transformers.CohereAsrForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    transformers.CohereAsrFeatureExtractor().save_pretrained(tmp_path)
    loaded = load_model(load_checkpoint(tmp_path))
    for (name, weight), (_, expected) in zip(
        loaded.named_parameters(), model.model.encoder.named_parameters(), strict=True
    ):
        assert torch.equal(weight, expected), name


def load_checkpoint(folder):
    from ser_transfer.encoders.checkpoints import find_checkpoint

    return find_checkpoint(str(folder))


REFUSED = {
    "takes no audio": ("BertModel", {**TRANSFORMER, "vocab_size": 40}, "no part of it takes a waveform"),
    "a codec": (
        "EncodecModel",
        {"num_filters": 4, "hidden_size": 16, "codebook_size": 16},
        "no hidden states per layer",
    ),
    "maps, not frames": (
        "ClapModel",
        {
            "text_config": {**TRANSFORMER, "vocab_size": 40},
            "audio_config": {
                "patch_embeds_hidden_size": 16,
                "hidden_size": 32,
                "depths": [1, 1],
                "num_attention_heads": [2, 2],
            },
        },
        "hidden state 0 has shape",
    ),
    "clips end to end": (
        "Qwen3ASREncoder",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "downsample_hidden_size": 16,
        },
        "hidden state 0 has shape",
    ),
}
EXTRACTORS = {
    "takes no audio": of_whisper,
    "a codec": transformers.EncodecFeatureExtractor(),
    "maps, not frames": transformers.ClapFeatureExtractor(truncation="rand_trunc", padding="pad"),
    "clips end to end": transformers.Qwen3ASRFeatureExtractor(),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_gives_no_frames_per_layer_is_refused_in_one_line(case, tmp_path):
    class_name, settings, reason = REFUSED[case]
    model_class = getattr(transformers, class_name)
    model_class(model_class.config_class(**settings)).save_pretrained(tmp_path)
    EXTRACTORS[case].save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=reason) as refusal:
        load_transformers_encoder(str(tmp_path))
    assert "audio-spectrogram-transformer, data2vec-audio, hubert" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "lasr_encoder"}, "no preprocessor_config.json"),
        ({"model_type": "nothing_known"}, "'nothing_known', not an audio encoder"),
    ],
)
def test_a_type_or_folder_that_tells_too_little_is_refused(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    if config["model_type"] == "nothing_known":
        of_whisper.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=message):
        load_transformers_encoder(str(tmp_path), untrained=True)


def test_a_feature_extractor_for_images_is_refused(tiny_checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((tiny_checkpoint("lasr-encoder") / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "feature_extractor_type": "Unknown"})
    )
    with pytest.raises(EncoderError, match="its feature extractor, Unknown, is not one for audio"):
        load_transformers_encoder(str(tmp_path), untrained=True)


def dithered(features):
    return features + 0.1 * torch.randn(features.shape)


def reversed_in_time(features):
    return features.flip(1)


def with_a_silent_start(features):
    return torch.cat([torch.zeros_like(features[:, :40]), features[:, 40:]], dim=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dithered, "other frames beside another clip than alone"),
        (reversed_in_time, "do not follow time"),
        (with_a_silent_start, "do not follow time"),
    ],
)
def test_frames_that_are_not_the_clips_own_in_its_order_are_refused(
    change, message, tiny_checkpoint, monkeypatch
):
    folder = str(tiny_checkpoint("lasr-encoder"))
    extract = transformers.LasrFeatureExtractor._torch_extract_fbank_features
    monkeypatch.setattr(
        transformers.LasrFeatureExtractor,
        "_torch_extract_fbank_features",
        lambda self, *args: change(extract(self, *args)),
    )
    with pytest.raises(EncoderError, match=message):
        load_transformers_encoder(folder)


def test_an_extractor_that_cuts_long_clips_off_is_found_out(tiny_checkpoint, make_waveform, monkeypatch):
    extract = transformers.LasrFeatureExtractor._torch_extract_fbank_features
    monkeypatch.setattr(
        transformers.LasrFeatureExtractor,
        "_torch_extract_fbank_features",
        lambda self, *args: extract(self, *args)[:, : 15 * 100],
    )
    encoder = load_transformers_encoder(str(tiny_checkpoint("lasr-encoder")))
    encoder.encode([make_waveform(14.0)])
    with pytest.raises(EncoderError, match=r"too few frames for 16\.0 s"):
        encoder.encode([make_waveform(16.0)])


def test_an_unlisted_model_is_kept_from_its_measuring_to_its_first_use(tiny_checkpoint, monkeypatch):
    from ser_transfer.encoders import transformers_model

    calls = []
    load = transformers_model.load_model
    monkeypatch.setattr(
        transformers_model, "load_model", lambda checkpoint: calls.append(1) or load(checkpoint)
    )
    encoder = load_transformers_encoder(str(tiny_checkpoint("lasr-encoder")), device="cpu")
    encoder.encode([np.sin(np.arange(8000, dtype=np.float32))])
    assert calls == [1]


def test_a_fresh_process_lays_the_model_out_without_spoiling_what_it_imports(tiny_checkpoint):
    # torchaudio, which this model's feature extractor computes with, makes a constant when it is imported.
    program = (
        "import numpy; from ser_transfer.encoders.transformers_family import load_transformers_encoder; "
        f"encoder = load_transformers_encoder({str(tiny_checkpoint('speech-to-text'))!r}); "
        "print(encoder.encode([numpy.sin(numpy.arange(8000, dtype='f4') ** 1.5)]).layers[0].shape)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "torch.Size([1, 12, 32])\n"


@pytest.mark.parametrize("name", ["parakeet-ctc", "granite-speech5-encoder", "moonshine", "speech-to-text"])
@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_bf16_keeps_the_direction_of_every_pooled_layer(name, encoder_of, tiny_checkpoint, make_waveform):
    waveform = make_waveform(1.0)
    exact = encoder_of(name).encode([waveform])
    rounded = load_transformers_encoder(str(tiny_checkpoint(name)), precision="bf16", device="cpu")
    for layer, reference in zip(rounded.encode([waveform]).layers, exact.layers, strict=True):
        assert layer.dtype == torch.float32
        assert functional.cosine_similarity(layer.mean(1), reference.mean(1)).item() >= 0.9999
