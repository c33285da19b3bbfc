"""What is asked of every encoder of the transformers family, and the plain library to compare with."""

import torch
import transformers
from tiny_checkpoints import CHECKPOINTS, MEASURED_PARTS


def largest_deviation(frames: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest distance between two frames, relative to the frame's norm."""
    return float(((frames - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def deviation_from_alone(encoder, waveforms) -> float:
    """Largest deviation of any frame of any layer in the batch from what its clip gives alone."""
    together = encoder.encode(waveforms)
    deviations = []
    for row, waveform in enumerate(waveforms):
        alone = encoder.encode([waveform])
        for layer, mask, lone_layer, lone_mask in zip(
            together.layers, together.frame_masks, alone.layers, alone.frame_masks, strict=True
        ):
            assert lone_mask.all()
            assert mask[row].sum() == lone_mask.sum()
            deviations.append(largest_deviation(layer[row, mask[row]], lone_layer[0]))
    return max(deviations)


def plain_hidden_states(folder, waveform) -> list[torch.Tensor]:
    """All layers of one clip as plain transformers gives them, each (frames, dim), padding and all."""
    from transformers import AutoFeatureExtractor, AutoModel

    extractor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    if model.config.model_type == "whisper":
        model = model.get_encoder()
    with torch.no_grad():
        inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")
        output = model(**inputs, output_hidden_states=True)
    layers = [layer[0] for layer in output.hidden_states]
    if output.last_hidden_state[0].shape == layers[-1].shape:
        layers[-1] = output.last_hidden_state[0]
    if model.config.model_type == "audio-spectrogram-transformer":
        n_steps = (1024 - 16) // 10 + 1
        layers = [
            torch.stack([layer[2 + step :: n_steps].mean(0) for step in range(n_steps)]) for layer in layers
        ]
    return layers


def plain_measured_states(name, folder, waveform) -> list[torch.Tensor]:
    """All layers of one clip as the plain encoder gives them, for a type whose frames are measured."""
    class_name, _, extractor = CHECKPOINTS[name]
    model = getattr(transformers, class_name).from_pretrained(folder).eval()
    encoder = model.get_submodule(MEASURED_PARTS[name])
    inputs = extractor([waveform], sampling_rate=16_000, return_tensors="pt")
    if name == "audioflamingo3-encoder":  # so its processor calls it
        inputs["input_features_mask"] = inputs.pop("attention_mask")
    if name == "qwen2-audio":  # of the whole model's processor, in a shape that its encoder does not take
        del inputs["attention_mask"]
    with torch.no_grad():
        output = encoder(**inputs, output_hidden_states=True)
    return [layer[0] for layer in output.hidden_states]
