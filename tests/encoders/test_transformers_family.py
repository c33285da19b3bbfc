import json
import subprocess
import sys
import types
import warnings
from importlib.metadata import version

import numpy as np
import pytest
import torch
from properties import deviation_from_alone, largest_deviation, plain_hidden_states
from tiny_checkpoints import LISTED
from torch import nn
from torch.nn import functional

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.checkpoints import find_checkpoint
from ser_transfer.encoders.padding import MaskedGroupNorm
from ser_transfer.encoders.transformers_family import load_transformers_encoder
from ser_transfer.encoders.transformers_model import random_model

GROUP_NORMED = ("wav2vec2-base", "hubert-base", "wavlm-base", "unispeech", "unispeech-sat")
# 1.0213 s leaves an odd number of frames and of spectra, and the last two share a length.
SECONDS = (0.4, 1.0213, 2.3, 2.3)


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny matrices: more threads only wait for one another
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def waveforms(make_waveform):
    return [make_waveform(seconds, seed) for seed, seconds in enumerate(SECONDS)]


@pytest.mark.parametrize("name", LISTED)
def test_a_clip_gives_the_same_frames_alone_and_in_any_batch(name, tiny_checkpoint, waveforms):
    encoder = load_transformers_encoder(str(tiny_checkpoint(name)))
    assert deviation_from_alone(encoder, waveforms) < 1e-5


# The shortened output of an adapter, which plain transformers gives last, is no layer of ours.
@pytest.mark.parametrize("name", sorted(set(LISTED) - {"wav2vec2-adapter"}))
@pytest.mark.filterwarnings("ignore:Support for mismatched")  # by the plain WavLM, given a mask of ones
def test_a_clip_alone_gives_what_plain_transformers_gives(name, tiny_checkpoint, make_waveform):
    folder, waveform = tiny_checkpoint(name), make_waveform(1.0213)
    encoder = load_transformers_encoder(str(folder))
    states = encoder.encode([waveform])
    plain = plain_hidden_states(folder, waveform)
    assert len(states.layers) == len(plain) == len(encoder.layer_names)
    for layer, expected, dim in zip(states.layers, plain, encoder.dims, strict=True):
        n_frames = layer.shape[1]
        assert layer.shape == (1, n_frames, dim)
        assert layer.dtype == torch.float32
        # Whisper and AST go on over silence; the others stop where the clip does, or half a frame on.
        assert n_frames <= len(expected)
        assert largest_deviation(layer[0], expected[:n_frames]) < 1e-5
        if name.startswith(("whisper", "ast")):
            assert n_frames == pytest.approx(1.0213 * encoder.frame_rate, abs=2)
        else:
            assert len(expected) - n_frames <= (name == "wav2vec2-bert")


@pytest.mark.parametrize("name", GROUP_NORMED)
def test_the_stock_group_norm_would_let_a_clips_neighbours_in(name, tiny_checkpoint, waveforms, monkeypatch):
    encoder = load_transformers_encoder(str(tiny_checkpoint(name)))
    monkeypatch.setattr(MaskedGroupNorm, "forward", lambda self, hidden_states: self.norm(hidden_states))
    assert deviation_from_alone(encoder, waveforms) > 1e-2


@pytest.mark.parametrize("name", ["data2vec-audio", "hubert-batchnorm", "wav2vec2-conformer-rel"])
def test_the_stock_convolutions_would_let_a_clips_neighbours_in(
    name, tiny_checkpoint, waveforms, monkeypatch
):
    monkeypatch.setattr(
        "ser_transfer.encoders.padding.PaddingGuard._zero_padding", lambda self, module, args: None
    )
    encoder = load_transformers_encoder(str(tiny_checkpoint(name)))
    assert deviation_from_alone(encoder, waveforms) > 1e-3


@pytest.mark.parametrize("name", ["sew", "sew-d"])
def test_lengths_that_a_model_cannot_mix_are_encoded_apart(name, tiny_checkpoint, waveforms, monkeypatch):
    encoder = load_transformers_encoder(str(tiny_checkpoint(name)))
    encoder.encode(waveforms[:1])
    monkeypatch.setattr(encoder._front_end, "mixes_lengths", True)
    assert deviation_from_alone(encoder, waveforms) > 1e-3


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-large", "sew", "whisper", "ast", "wav2vec2-bert"])
def test_a_long_clip_is_encoded_in_windows_whose_frames_follow_one_another(
    name, tiny_checkpoint, make_waveform, monkeypatch
):
    encoder = load_transformers_encoder(str(tiny_checkpoint(name)))
    grid = encoder._front_end.grid
    # Windows of 3 s: the same rule as at 30 s, and cheap.
    monkeypatch.setattr(
        encoder._front_end, "grid", type(grid)(grid.hop, grid.receptive_field, 3 * 16000 // grid.hop)
    )
    short, long = make_waveform(2.0), make_waveform(7.123)
    states = encoder.encode([short, long])
    n_frames = encoder._front_end.grid.n_frames(len(long))
    assert states.frame_masks[0].sum(dim=1).tolist() == [
        encoder._front_end.grid.n_frames(len(short)),
        n_frames,
    ]
    windows = encoder._front_end.grid.windows(len(long))
    assert len(windows) == 3
    apart = [encoder.encode([long[window]]).layers for window in windows]
    for layer, *parts in zip(states.layers, *apart, strict=True):
        assert layer.shape[1] == n_frames
        torch.testing.assert_close(layer[1], torch.cat(parts, dim=1)[0], rtol=0, atol=1e-4)


def test_no_window_is_longer_than_what_bounds_memory(tiny_checkpoint, make_waveform, monkeypatch):
    encoder = load_transformers_encoder(str(tiny_checkpoint("wav2vec2-base")))
    encoder.encode([make_waveform(0.5)])
    seen = []
    encoder._model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["input_values"].shape)), with_kwargs=True
    )
    encoder.encode([make_waveform(70.0), make_waveform(1.0)])
    assert sorted(batch for batch, _ in seen) == [1, 1, 1, 1]
    assert max(samples for _, samples in seen) <= 30 * 16_000 + 400


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-large", "whisper", "ast", "wav2vec2-conformer-rel"])
@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_bf16_keeps_the_direction_of_every_pooled_layer(name, tiny_checkpoint, make_waveform):
    folder, waveform = str(tiny_checkpoint(name)), make_waveform(1.0)
    exact = load_transformers_encoder(folder).encode([waveform])
    rounded = load_transformers_encoder(folder, precision="bf16").encode([waveform])
    for layer, reference in zip(rounded.layers, exact.layers, strict=True):
        assert layer.dtype == torch.float32
        assert not torch.equal(layer, reference)
        assert functional.cosine_similarity(layer.mean(1), reference.mean(1)).item() >= 0.9999


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_weights_rounded_once_give_what_autocast_gives(tiny_checkpoint, make_waveform):
    folder, waveform = str(tiny_checkpoint("wav2vec2-base")), make_waveform(1.0)
    encoder = load_transformers_encoder(folder)
    encoder.encode([waveform])
    encoder.precision = "bf16"  # autocast over float32 weights
    autocast = encoder.encode([waveform]).layers
    encoder = load_transformers_encoder(folder, precision="bf16")
    rounded = encoder.encode([waveform]).layers
    linears = [module for module in encoder._model.modules() if isinstance(module, nn.Linear)]
    assert {linear.weight.dtype for linear in linears} == {torch.bfloat16}
    for layer, expected in zip(rounded, autocast, strict=True):
        torch.testing.assert_close(layer, expected, rtol=0, atol=0)


def test_bf16_on_a_cpu_without_its_instructions_warns_once(tiny_checkpoint, make_waveform, monkeypatch):
    folder = str(tiny_checkpoint("wav2vec2-base"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.warns(UserWarning, match="no bfloat16 instructions"):
        load_transformers_encoder(folder, precision="bf16").encode([make_waveform(0.1)])
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_transformers_encoder(folder, precision="bf16").encode([make_waveform(0.1)])


def test_random_weights_follow_from_the_seed_alone(tiny_checkpoint, make_waveform, tmp_path):
    config = tiny_checkpoint("wav2vec2-base") / "config.json"
    (tmp_path / "config.json").write_bytes(config.read_bytes())  # no weights, no preprocessor
    waveform = make_waveform(0.5)
    states = {}
    for seed in (0, 0, 1):
        torch.rand(3)
        encoder = load_transformers_encoder(str(tmp_path), untrained=True, seed=seed)
        layer = encoder.encode([waveform]).layers[-1]
        if seed in states:
            assert torch.equal(states[seed][0], layer)
            assert states[seed][1] == encoder.fingerprint
        states[seed] = layer, encoder.fingerprint
    assert not torch.allclose(states[0][0], states[1][0])
    assert states[0][1] != states[1][1]


def test_drawing_random_weights_leaves_the_callers_generator_alone(tiny_checkpoint):
    checkpoint = find_checkpoint(str(tiny_checkpoint("wav2vec2-base")), with_weights=False)
    before = torch.random.get_rng_state()
    random_model(checkpoint, seed=0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["whisper", "ast", "wav2vec2-bert", "sew-d"])
def test_every_front_end_has_an_untrained_control(name, tiny_checkpoint, make_waveform):
    folder = str(tiny_checkpoint(name))
    control, trained = load_transformers_encoder(folder, untrained=True), load_transformers_encoder(folder)
    assert control.fingerprint != trained.fingerprint
    assert (control.layer_names, control.dims) == (trained.layer_names, trained.dims)
    assert control.encode([make_waveform(0.5)]).layers[-1].isfinite().all()


def test_wav2vec2_base_needs_no_files_to_be_left_untrained():
    encoder = load_transformers_encoder("wav2vec2-base", untrained=True)
    assert encoder.layer_names[0] == "layer_00"
    assert encoder.layer_names[-1] == "layer_12"
    assert encoder.dims == (768,) * 13
    assert (encoder.sampling_rate, encoder.frame_rate, encoder.min_seconds) == (16_000, 50.0, 0.025)


def test_the_built_in_wav2vec2_base_is_the_published_architecture():
    from transformers import Wav2Vec2Config

    from ser_transfer.encoders.checkpoints import ARCHITECTURES

    published = Wav2Vec2Config().to_dict()
    ours = Wav2Vec2Config.from_dict(ARCHITECTURES["wav2vec2-base"]).to_dict()
    assert ours == published


def test_making_an_encoder_imports_neither_torch_nor_transformers(tiny_checkpoint):
    folders = [str(tiny_checkpoint(name)) for name in ("wav2vec2-base", "whisper")]
    program = (
        "import sys; from ser_transfer.encoders.transformers_family import load_transformers_encoder; "
        f"[load_transformers_encoder(folder) for folder in {folders}]; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "[]\n"


def test_a_torchaudio_built_for_another_torch_is_told_in_one_line(
    tiny_checkpoint, make_waveform, monkeypatch
):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            # As transformers' lazy import wraps what torchaudio raises.
            raise ModuleNotFoundError("Could not import module") from OSError(
                "undefined symbol: _ZN3c10\nmore"
            )

    name = "transformers.models.auto.configuration_auto"
    monkeypatch.setitem(sys.modules, name, Broken(name))
    encoder = load_transformers_encoder(str(tiny_checkpoint("wav2vec2-base")))
    with pytest.raises(
        EncoderError, match=r"cannot be imported here \(undefined symbol: _ZN3c10\)"
    ) as refusal:
        encoder.encode([make_waveform(0.1)])
    versions = f"torch {version('torch')}, torchaudio {version('torchaudio')}"
    assert versions in str(refusal.value)
    assert "type: pip install" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_loading_and_encoding_print_nothing(tiny_checkpoint, waveforms, capfd):
    folders = [str(tiny_checkpoint(name)) for name in ("wav2vec2-ctc", "whisper-asr", "wavlm-base")]
    capfd.readouterr()
    for folder in folders:
        load_transformers_encoder(folder).encode(waveforms[:2])
    assert capfd.readouterr() == ("", "")


def test_a_clip_too_short_for_a_frame_is_refused_and_one_just_long_enough_is_not(tiny_checkpoint):
    for name in ("wav2vec2-base", "sew", "wav2vec2-bert", "ast", "whisper"):
        encoder = load_transformers_encoder(str(tiny_checkpoint(name)))
        n_samples = round(encoder.min_seconds * encoder.sampling_rate)
        quiet = np.sin(np.arange(n_samples, dtype=np.float32))
        assert encoder.encode([quiet]).frame_masks[0].sum() == 1
        with pytest.raises(EncoderError, match=f"waveform 1 of the batch has {n_samples - 1} samples"):
            encoder.encode([quiet, quiet[1:]])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert", "hidden_size": 8}, "of type 'bert', not an audio encoder"),
        ({"model_type": "mert", "auto_map": {"AutoModel": "code.Model"}}, "own code, which is never run"),
        ({"model_type": "wav2vec2", "hidden_size": 8}, "is not whole"),
    ],
)
def test_what_is_no_audio_encoder_is_refused_by_name(config, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=message):
        load_transformers_encoder(str(tmp_path), untrained=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"feature_extractor_type": "TheirOwnExtractor"},
            "TheirOwnExtractor, and WhisperFeatureExtractor is",
        ),
        ({"hop_length": 128}, "hop_length 128"),
    ],
)
def test_a_front_end_other_than_the_familys_is_refused(settings, message, tiny_checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((tiny_checkpoint("whisper") / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match=message):
        load_transformers_encoder(str(tmp_path), untrained=True)


def test_an_empty_batch_is_refused(tiny_checkpoint):
    with pytest.raises(EncoderError, match="no waveform"):
        load_transformers_encoder(str(tiny_checkpoint("wav2vec2-base"))).encode([])


def test_an_unknown_device_or_precision_is_refused(tiny_checkpoint, make_waveform):
    folder = str(tiny_checkpoint("wav2vec2-base"))
    with pytest.raises(EncoderError, match="float32 or bf16"):
        load_transformers_encoder(folder, precision="fp16")
    with pytest.raises(EncoderError, match="'abacus' cannot be used here"):
        load_transformers_encoder(folder, device="abacus").encode([make_waveform(0.1)])


def test_the_masked_group_norm_is_the_stock_one_on_real_frames():
    generator = torch.Generator().manual_seed(0)
    norm, conv = nn.GroupNorm(6, 6), nn.Conv1d(1, 6, kernel_size=10, stride=5)
    states = torch.randn(2, 6, 40, generator=generator)
    guard = type("Guard", (), {"n_samples": None})()
    masked = MaskedGroupNorm(norm, conv, guard)
    assert torch.equal(masked(states), norm(states))
    guard.n_samples = (5 * 39 + 10, 5 * 24 + 10)  # 40 and 25 frames
    by_hand = states[1, :, :25].double()
    by_hand = (by_hand - by_hand.mean(1, keepdim=True)) / (
        by_hand.var(1, keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(masked(states)[0], norm(states)[0])
    torch.testing.assert_close(masked(states)[1, :, :25], by_hand.float())
    assert not masked(states)[1, :, 25:].any()
