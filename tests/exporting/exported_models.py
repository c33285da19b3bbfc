"""Models to export: tiny checkpoints under heads that were fitted on noise."""

import numpy as np
from finetuning.tiny_networks import checkpoint, recordings

from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.pooled import encode_waveforms
from ser_transfer.exporting import export_onnx
from ser_transfer.heads import make_head, make_sequence_head
from ser_transfer.model import FrozenModel, SequenceModel

EMOTIONS = np.array(["anger", "fear", "happiness"])
N_FITTED = (9_000, 12_000, 8_000, 20_000, 5_000, 16_000, 11_000, 7_000, 13_000)
N_ASKED = (8_000, 16_000, 52_800, 116_000)  # 0.5 s, 1 s, 3.3 s, 7.25 s


def encoder(name: str):
    if name in ("yamnet", "vggish"):
        return load_encoder(name, untrained=True, device="cpu")
    return load_encoder(checkpoint(name), device="cpu")


def frozen(name, head="logistic_regression", pooling="mean_std", layers=(-2, -1), n_classes=3) -> FrozenModel:
    """A head on two layers of a tiny encoder, calibrated; its training says something that JSON keeps."""
    loaded = encoder(name)
    encoded = encode_waveforms(recordings(N_FITTED), loaded, pooling)
    columns = [range(len(loaded.layer_names))[layer] for layer in layers]
    features = np.stack([np.concatenate([each.layers[column] for column in columns]) for each in encoded])
    sizes = [len(encoded[0].layers[column]) for column in columns]
    fitted = make_head(head, block_sizes=sizes)
    fitted.fit(features, EMOTIONS[np.arange(len(features)) % n_classes])
    told = {"corpus": "a corpus", "head": head, "speakers": ["p1", "p2"], "uar": 0.5}
    return FrozenModel(loaded, pooling, [loaded.layer_names[column] for column in columns], fitted, told, 1.7)


def on_frames(name, head, **settings) -> SequenceModel:
    loaded = encoder(name)
    layer = loaded.layer_names[-1]
    encoded = encode_waveforms(recordings(N_FITTED), loaded, None, frame_layers=[layer])
    fitted = make_sequence_head(head, max_epochs=2, **settings)
    fitted.fit([each.frames[0].astype(np.float16) for each in encoded], EMOTIONS[np.arange(9) % 3])
    return SequenceModel(loaded, layer, fitted, {"corpus": "a corpus", "head": head}, 0.8)


def on_waveforms(loaded, waveforms, emotions) -> FrozenModel:
    """A head on all layers of an encoder, fitted on recordings that are given."""
    encoded = encode_waveforms(waveforms, loaded, "mean_std")
    head = make_head("logistic_regression")
    head.fit(np.stack([np.concatenate(each.layers) for each in encoded]), np.array(emotions))
    return FrozenModel(loaded, "mean_std", loaded.layer_names, head, {})


def written(model, path):
    """Export a model, and give the path."""
    export_onnx(model, path)
    return path
