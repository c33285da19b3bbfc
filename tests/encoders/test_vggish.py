import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.log_mel import log_mel
from ser_transfer.encoders.vggish import load_vggish
from ser_transfer.pooling import mean_std_pool

# Shapes of harritaylor/torchvggish's state dict, whose convolutions stand at these places of its Sequential.
CONVOLUTIONS = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
LINEARS = {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}


def noise(seconds, seed=0):
    """Noise whose loudness changes over time, so that no two patches are alike."""
    random = np.random.default_rng(seed)
    n_samples = round(seconds * 16000)
    return (
        0.1 * (np.sin(np.linspace(0, 7 * seconds, n_samples)) + 1.2) * random.normal(size=n_samples)
    ).astype("f4")


@pytest.fixture(scope="module")
def tensors():
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for i, (n_out, n_in) in CONVOLUTIONS.items():
        drawn[f"features.{i}.weight"] = (
            torch.randn(n_out, n_in, 3, 3, generator=generator) * (2 / 9 / n_in) ** 0.5
        )
        drawn[f"features.{i}.bias"] = torch.randn(n_out, generator=generator) / 10
    for i, (n_out, n_in) in LINEARS.items():
        drawn[f"embeddings.{i}.weight"] = torch.randn(n_out, n_in, generator=generator) * (2 / n_in) ** 0.5
        drawn[f"embeddings.{i}.bias"] = torch.randn(n_out, generator=generator) / 10
    return drawn


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vggish.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights):
    return load_vggish(weights=weights, device="cpu")


def oracle(tensors, patch):
    """VGGish on one patch of (96, 64), written out: averages of its poolings, then its linear layers."""

    def convolve(x, i):
        return functional.conv2d(
            functional.pad(x, (1, 1, 1, 1)), tensors[f"features.{i}.weight"], tensors[f"features.{i}.bias"]
        ).relu()

    outputs = []
    x = torch.tensor(patch).view(1, 1, 96, 64)
    for block in ((0,), (3,), (6, 8), (11, 13)):
        for i in block:
            x = convolve(x, i)
        x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
        outputs.append(x[0].mean(dim=(1, 2)))
    # TensorFlow flattens (time, frequency, channel), the channel fastest.
    x = torch.stack([x[0, :, t, f] for t in range(6) for f in range(4)]).flatten()
    for i in LINEARS:
        x = (tensors[f"embeddings.{i}.weight"] @ x + tensors[f"embeddings.{i}.bias"]).relu()
        outputs.append(x)
    return outputs


def test_every_layer_is_vggish_written_out(encoder, tensors):
    waveform = noise(0.96 * 2 + 0.015)  # two patches, one after the other
    spectrogram = log_mel(waveform, 0.01)
    assert spectrogram.shape == (192, 64)
    expected = [oracle(tensors, spectrogram[start : start + 96]) for start in (0, 96)]
    layers = encoder.encode([waveform]).layers
    for i, hidden in enumerate(layers):
        torch.testing.assert_close(
            hidden[0], torch.stack([patch[i] for patch in expected]), rtol=1e-3, atol=1e-4
        )
        assert hidden.shape == (1, 2, encoder.dims[i])
    assert layers[-1].any()


# 15600 samples are one patch and each further 15360 one more; a last one that would be mostly silence is not.
@pytest.mark.parametrize(
    ("n_samples", "n_patches"), [(400, 1), (15600, 1), (23159, 1), (23160, 2), (30960, 2), (38520, 3)]
)
def test_the_end_of_a_recording_is_heard_where_it_fills_half_a_patch(n_samples, n_patches):
    cut = load_vggish(untrained=True)._patches(noise(3.0)[:n_samples])
    assert cut.shape == (n_patches, 96, 64)


def test_an_utterance_has_the_same_states_alone_and_in_any_batch(encoder):
    waveforms = [noise(seconds, seed) for seed, seconds in enumerate((1.2, 2.1, 0.4))]
    together = encoder.encode(waveforms)
    for row, waveform in enumerate(waveforms):
        alone = encoder.encode([waveform])
        for i in range(7):
            kept = together.layers[i][row][together.frame_masks[i][row]]
            assert (kept - alone.layers[i][0]).norm() / alone.layers[i].norm() < 1e-5


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_bf16_points_where_float32_points(weights, encoder):
    waveform = [noise(0.975)]
    exact = encoder.encode(waveform)
    rounded = load_vggish(weights=weights, device="cpu", precision="bf16").encode(waveform)
    for i in range(7):
        pooled = [mean_std_pool(states.layers[i], states.frame_masks[i])[0] for states in (exact, rounded)]
        assert functional.cosine_similarity(*pooled, dim=0) > 0.9999
        assert not torch.equal(*pooled)


def test_untrained_weights_follow_the_seed_and_let_the_signal_through():
    untrained = load_encoder("vggish", untrained=True, seed=1, device="cpu")
    assert untrained.fingerprint != load_encoder("vggish", untrained=True, seed=2).fingerprint
    loudness = [layer.square().mean().sqrt() for layer in untrained.encode([noise(0.975)]).layers]
    assert 0.1 < loudness[-1] / loudness[0] < 10


def test_making_one_reads_no_weights_and_imports_no_torch(tmp_path):
    (tmp_path / "vggish.pth").write_bytes(b"not read yet")
    code = (
        "import sys; from ser_transfer.encoders import load_encoder; "
        f"encoder = load_encoder('vggish', weights={str(tmp_path / 'vggish.pth')!r}); "
        "print(len(encoder.fingerprint), len(encoder.layer_names), len(encoder.dims), 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["64", "7", "7", "False"]


def test_weights_of_another_network_are_refused(tmp_path):
    save_file({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(EncoderError, match=r"other\.safetensors has no features\.0\.bias"):
        load_vggish(weights=tmp_path / "other.safetensors").encode([noise(1.0)])
