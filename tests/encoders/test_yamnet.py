import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.audioset_networks import Bfloat16Convolution, YamnetNetwork, random_weights
from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.yamnet import BFLOAT16_LAYERS, load_yamnet
from ser_transfer.pooling import mean_std_pool

STRIDES = {1: 2, 3: 2, 5: 2, 7: 2, 13: 2}


def noise(seconds, seed=0):
    """Noise whose spectrum and loudness change over time, so that no two patches are alike."""
    random = np.random.default_rng(seed)
    n_samples = round(seconds * 16000)
    swell = np.sin(np.linspace(0, 7 * seconds, n_samples)) + 1.2
    return (0.05 * swell * np.convolve(random.normal(size=n_samples), random.normal(size=8), "same")).astype(
        "f4"
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "yamnet.safetensors"
    tensors = random_weights(YamnetNetwork, seed=1)
    for i, name in enumerate(tensors):
        if name.endswith("bias"):
            tensors[name] = torch.linspace(-0.1, 0.1, len(tensors[name])).roll(i)
    save_file({**tensors, "classifier.weight": torch.zeros(521, 1024)}, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights):
    return load_yamnet(weights=weights, device="cpu")


def tensorflow_same(x, weight, bias, stride, groups):
    """TensorFlow's SAME by its definition: ceil(n / stride) outputs, the odd row of padding at the end."""
    padding = []
    for size in (x.shape[3], x.shape[2]):
        missing = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        padding += [missing // 2, missing - missing // 2]
    return functional.conv2d(functional.pad(x, padding), weight, bias, stride, groups=groups)


def test_patch_embeddings_and_log_mel_are_the_reference_vectors(shared):
    from ser_transfer.audio import read_audio
    from ser_transfer.encoders.log_mel import log_mel

    reference = np.load(shared / "weights/yamnet/reference.npz")
    encoder = load_yamnet(weights=shared / "weights/yamnet/yamnet.safetensors", device="cpu")
    clips = sorted({key.rpartition(".")[0] for key in reference})
    assert len(clips) == 3
    for clip in clips:
        waveform = read_audio(shared / "corpora/ravdess" / f"{clip.replace('__', '/')}.flac")
        np.testing.assert_allclose(log_mel(waveform, 0.001), reference[f"{clip}.log_mel"], atol=1e-4)
        embeddings = encoder.encode([waveform]).layers[-1][0]
        n_patches = len(reference[f"{clip}.embeddings"])
        assert len(embeddings) == n_patches + 1  # and one for the end of the recording
        np.testing.assert_allclose(embeddings[:n_patches], reference[f"{clip}.embeddings"], atol=1e-4)


def test_every_layer_is_tensorflows_same_convolution(encoder, weights):
    tensors = load_file(weights)
    waveform = noise(0.975)
    x = torch.tensor(encoder._patches(waveform)).unsqueeze(1)
    for i, hidden in enumerate(encoder.encode([waveform]).layers, start=1):
        for kind in ("conv",) if i == 1 else ("depthwise_conv", "pointwise_conv"):
            weight, bias = (tensors[f"layer{i}.{kind}.{part}"] for part in ("weight", "bias"))
            if kind == "pointwise_conv":
                x = functional.conv2d(x, weight, bias)
            else:
                x = tensorflow_same(x, weight, bias, STRIDES.get(i, 1), groups=x.shape[1])
            x = x.clamp(min=0)
        torch.testing.assert_close(hidden[0], x.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
        assert hidden.shape[2] == encoder.dims[i - 1]


def test_a_folded_h5_file_is_its_batch_norms_computed_one_by_one(tmp_path):
    h5py = pytest.importorskip("h5py")
    generator = torch.Generator().manual_seed(0)
    channels = (1, *load_yamnet(untrained=True).dims)
    waveform = noise(0.975)
    x = torch.tensor(load_yamnet(untrained=True)._patches(waveform)).unsqueeze(1)
    with h5py.File(tmp_path / "yamnet.h5", "w") as file, torch.inference_mode():
        for i, (n_in, n_out) in enumerate(pairwise(channels), start=1):
            for kind in ("conv",) if i == 1 else ("depthwise_conv", "pointwise_conv"):
                x = write_convolution(file, f"layer{i}/{kind}", x, n_in, n_out, STRIDES.get(i, 1), generator)
        file["logits/logits/kernel:0"] = np.zeros((1024, 521), np.float32)
    encoder = load_yamnet(weights=tmp_path / "yamnet.h5", device="cpu")
    last, expected = encoder.encode([waveform]).layers[-1][0], x.mean(dim=(2, 3))
    assert expected.abs().max() > 0.1
    assert (last - expected).norm() < 1e-5 * expected.norm()


def write_convolution(file, name, x, n_in, n_out, stride, generator):
    """Write one convolution and its batch norm as Keras does, and give what they make of x."""
    if "depthwise" in name:
        kernel = torch.randn(3, 3, n_in, 1, generator=generator) / 2
        file[f"{name}/{name}/depthwise_kernel:0"] = kernel.numpy()
        x = tensorflow_same(x, kernel.permute(2, 3, 0, 1), None, stride, groups=n_in)
    elif "pointwise" in name:
        kernel = torch.randn(1, 1, n_in, n_out, generator=generator) * (2 / n_in) ** 0.5
        file[f"{name}/{name}/kernel:0"] = kernel.numpy()
        x = functional.conv2d(x, kernel.permute(3, 2, 0, 1))
    else:
        kernel = torch.randn(3, 3, n_in, n_out, generator=generator) / 3
        file[f"{name}/{name}/kernel:0"] = kernel.numpy()
        x = tensorflow_same(x, kernel.permute(3, 2, 0, 1), None, stride, groups=1)
    norm = nn.BatchNorm2d(x.shape[1], eps=1e-4).eval()
    norm.bias.copy_(torch.randn(x.shape[1], generator=generator) / 4)
    norm.running_mean.copy_(torch.randn(x.shape[1], generator=generator) / 4)
    norm.running_var.copy_(torch.rand(x.shape[1], generator=generator) + 0.2)
    variables = {"beta": norm.bias, "moving_mean": norm.running_mean, "moving_variance": norm.running_var}
    for variable, value in variables.items():
        file[f"{name}/bn/{name}/bn/{variable}:0"] = value.numpy()
    return functional.relu(norm(x))


# 15600 samples (0.975 s) are one patch; each further 7680 (0.48 s), begun or whole, are one more.
@pytest.mark.parametrize(
    ("n_samples", "n_patches"), [(400, 1), (15600, 1), (15601, 2), (23280, 2), (23281, 3), (58725, 7)]
)
def test_frames_are_patches(encoder, n_samples, n_patches):
    states = encoder.encode([noise(4)[:n_samples]])
    for hidden, mask, dim in zip(states.layers, states.frame_masks, encoder.dims, strict=True):
        assert hidden.shape == (1, n_patches, dim)
        assert mask.all()


@pytest.mark.parametrize(("seconds", "n_patches"), [(0.5, 1), (2.0, 4)])
def test_the_last_patch_is_filled_up_with_silence(encoder, seconds, n_patches):
    waveform = noise(seconds)
    filled = np.pad(waveform, (0, 15600 + 7680 * (n_patches - 1) - len(waveform)))
    for hidden, expected in zip(
        encoder.encode([waveform]).layers, encoder.encode([filled]).layers, strict=True
    ):
        torch.testing.assert_close(hidden, expected, rtol=0, atol=0)


def test_an_utterance_has_the_same_states_alone_and_in_any_batch(encoder):
    waveforms = [noise(seconds, seed) for seed, seconds in enumerate((1.3, 3.7, 0.4, 2.0))]
    together = encoder.encode(waveforms)
    for row, waveform in enumerate(waveforms):
        alone = encoder.encode([waveform])
        for i in range(14):
            kept = together.layers[i][row][together.frame_masks[i][row]]
            error = (kept - alone.layers[i][0]).norm() / alone.layers[i].norm()
            assert kept.shape == alone.layers[i][0].shape
            assert error < 1e-5


def test_a_long_recording_is_the_same_in_several_passes(encoder, monkeypatch):
    waveform = noise(3.0)
    once = encoder.encode([waveform]).layers
    monkeypatch.setattr("ser_transfer.encoders.patch_encoder.N_PATCHES", 2)
    for hidden, expected in zip(encoder.encode([waveform]).layers, once, strict=True):
        torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_bf16_points_where_float32_points_and_leaves_the_sensitive_layers_alone(weights, encoder):
    waveform = [noise(1.9)]
    exact = encoder.encode(waveform)
    rounded = load_yamnet(weights=weights, device="cpu", precision="bf16").encode(waveform)
    for i in range(14):
        pooled = [mean_std_pool(states.layers[i], states.frame_masks[i])[0] for states in (exact, rounded)]
        assert rounded.layers[i].dtype == torch.float32
        assert functional.cosine_similarity(*pooled, dim=0) > 0.9999
        assert torch.equal(*pooled) == (i + 1 < min(BFLOAT16_LAYERS))


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_bf16_keeps_the_embeddings_of_speech(shared):
    from ser_transfer.audio import read_audio

    file = shared / "weights/yamnet/yamnet.safetensors"
    exact, rounded = (load_yamnet(weights=file, device="cpu", precision=p) for p in ("float32", "bf16"))
    paths = sorted((shared / "corpora/ravdess").rglob("*.flac"))
    for path in paths[:: len(paths) // 8]:
        states = [encoder.encode([read_audio(path)]) for encoder in (exact, rounded)]
        for layers in zip(*(of_one.layers for of_one in states), strict=True):
            pooled = [mean_std_pool(layer, states[0].frame_masks[0])[0] for layer in layers]
            assert functional.cosine_similarity(*pooled, dim=0) >= 0.9999


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_a_bfloat16_convolution_rounds_its_factors_and_not_its_bias():
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(64, 8, 1)
    for parameter in convolution.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = torch.randn(2, 64, 3, 2, generator=generator)
    with torch.inference_mode():
        product = torch.einsum(
            "oi,bihw->bohw",
            convolution.weight.bfloat16().double()[..., 0, 0],
            x.bfloat16().double(),
        )
        expected = product.float() + convolution.bias.reshape(-1, 1, 1)
        given = Bfloat16Convolution(convolution)(x)
        # What is left is the rounding of the products' sum, to 8 bits.
        assert (given - expected).abs().max() <= product.abs().max() / 2**8
        silent = Bfloat16Convolution(convolution)(torch.zeros_like(x))
    assert torch.equal(silent, convolution.bias.reshape(-1, 1, 1).expand_as(silent))


def test_untrained_weights_follow_the_seed_alone_and_let_the_signal_through():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    a, b, other = (load_encoder("yamnet", untrained=True, seed=seed, device="cpu") for seed in (1, 1, 2))
    states = [encoder.encode([noise(0.975)]).layers for encoder in (a, b, other)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert a.fingerprint == b.fingerprint != other.fingerprint
    assert torch.equal(states[0][-1], states[1][-1])
    assert not torch.equal(states[0][-1], states[2][-1])
    loudness = [hidden.square().mean().sqrt() for hidden in states[0]]
    assert 0.1 < loudness[-1] / loudness[0] < 10


def test_making_one_reads_no_weights_and_imports_no_torch(weights):
    code = (
        "import sys; from ser_transfer.encoders import load_encoder; "
        f"encoder = load_encoder('yamnet', weights={str(weights)!r}); "
        "print(len(encoder.fingerprint), len(encoder.layer_names), len(encoder.dims), 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["64", "14", "14", "False"]


def test_the_fingerprint_follows_the_content_of_the_weights_not_their_path(weights, tmp_path):
    moved, changed = tmp_path / "other.safetensors", tmp_path / "changed.safetensors"
    moved.write_bytes(weights.read_bytes())
    changed.write_bytes(weights.read_bytes()[:-1] + b"?")
    prints = [load_yamnet(weights=path).fingerprint for path in (weights, moved, changed)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"untrained": True, "weights": "a.h5"}, "takes no weights where it is untrained"),
        ({"weights": "nowhere.h5"}, "no file of weights at nowhere.h5"),
        ({"untrained": True, "precision": "float16"}, "float32 or bf16"),
    ],
)
def test_options_that_do_not_fit_are_refused_at_once(options, message):
    with pytest.raises(EncoderError, match=message):
        load_yamnet(**options)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(EncoderError, match=r"'cuda:97' cannot be used here .*: auto, cpu"):
        load_yamnet(untrained=True, device="cuda:97").encode([noise(1.0)])


def test_a_waveform_shorter_than_a_window_is_refused(encoder):
    with pytest.raises(EncoderError, match="waveform 1 of the batch has 399 samples and yamnet needs 400"):
        encoder.encode([noise(1.0), noise(1.0)[:399]])


def test_weights_of_another_network_are_refused(weights, tmp_path):
    tensors = load_file(weights)
    tensors["layer3.pointwise_conv.weight"] = torch.zeros(128, 32, 1, 1)
    save_file(tensors, tmp_path / "shape.safetensors")
    del tensors["layer3.pointwise_conv.weight"]
    save_file(tensors, tmp_path / "missing.safetensors")
    for name, message in (
        ("shape", r"\(128, 32, 1, 1\), not \(128, 64, 1, 1\)"),
        ("missing", "has no layer3"),
    ):
        with pytest.raises(EncoderError, match=message):
            load_yamnet(weights=tmp_path / f"{name}.safetensors").encode([noise(1.0)])


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "yamnet.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EncoderError, match=r"ser-transfer\[h5\]"):
        load_yamnet(weights=tmp_path / "yamnet.h5").encode([noise(1.0)])


def test_a_damaged_h5_file_is_named(tmp_path):
    pytest.importorskip("h5py")
    (tmp_path / "yamnet.h5").write_bytes(b"not HDF5")
    with pytest.raises(EncoderError, match=r"yamnet\.h5 cannot be read .*: fetch the file again"):
        load_yamnet(weights=tmp_path / "yamnet.h5").encode([noise(1.0)])
