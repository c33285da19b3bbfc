"""What the graph computes of a signal and with a head, beside the code that it stands for; no file needed."""

import numpy as np
import pytest
import torch
from finetuning.tiny_networks import recordings
from transformers import WhisperFeatureExtractor

from ser_transfer.encoders.patch_encoder import cut_patches
from ser_transfer.exporting.heads import EXPORTED_HEADS, _classifier, pool
from ser_transfer.exporting.spectra import Patches, WhisperLogMel, WholeSpectrogram
from ser_transfer.finetuning.networks.patch_inputs import STEP, PatchInputs
from ser_transfer.heads import make_head
from ser_transfer.pooling import POOLINGS

# One window; a whole patch and a sample less and more; where the last patch is half real and a sample less.
LENGTHS = (400, 401, 15_599, 15_600, 15_601, 23_279, 23_280, 30_959, 30_960, 52_800)


@pytest.mark.parametrize(("offset", "hop"), [(0.001, 48), (0.01, 96)], ids=["yamnet", "vggish"])
def test_patches_are_the_encoders(offset, hop):
    made = Patches(offset, hop)
    for waveform in recordings(LENGTHS):
        expected = cut_patches(waveform, offset, hop)
        found = made(torch.from_numpy(waveform).unsqueeze(0)).numpy()
        assert found.shape == expected.shape, len(waveform)
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_whole_spectrograms_are_the_networks():
    made = WholeSpectrogram(0.001, STEP)
    front_end = PatchInputs(0.001, 48, False, whole=True)
    for waveform in recordings(LENGTHS):
        expected = front_end.prepare([waveform])["frames"].unsqueeze(0)
        found = made(torch.from_numpy(waveform).unsqueeze(0))
        assert found.shape == expected.shape, len(waveform)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-4)


@pytest.mark.parametrize("n_bands", [80, 128])
def test_whispers_spectrogram_is_its_feature_extractors(n_bands):
    extractor = WhisperFeatureExtractor(feature_size=n_bands)
    made = WhisperLogMel(extractor)
    for waveform in recordings((400, 16_000, 480_000)):
        expected = extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_features"]
        found = made(torch.from_numpy(waveform).unsqueeze(0))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("n_frames", [1, 2, 5, 40])
def test_poolings_are_those_of_the_encoders(pooling, n_frames):
    frames = torch.randn(1, n_frames, 6, generator=torch.Generator().manual_seed(n_frames)) + 2
    expected = POOLINGS[pooling](frames, torch.ones(1, n_frames, dtype=torch.bool))
    np.testing.assert_allclose(pool(pooling, frames).numpy(), expected.numpy(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", EXPORTED_HEADS)
def test_heads_give_the_probabilities_of_scikit_learns(name, n_classes):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % n_classes
    features = (rng.normal(5, 2, (40, 8)) + labels[:, np.newaxis]).astype(np.float32)
    head = make_head(name, block_sizes=[4, 4]).fit(features, np.array(["anger", "fear", "joy"])[labels])
    with torch.no_grad():
        found = torch.cat([_classifier(head)(row.unsqueeze(0)) for row in torch.from_numpy(features)])
    np.testing.assert_allclose(found.softmax(dim=1).numpy(), head.predict_proba(features), atol=1e-5)
