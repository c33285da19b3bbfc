"""Tiny checkpoints of every family, written as their authors' are: random weights, save_pretrained."""

from pathlib import Path

import torch
import transformers
from transformers import (
    ASTFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
CONVOLUTIONS = {
    **TRANSFORMER,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {**CONVOLUTIONS, "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
SQUEEZED = {**CONVOLUTIONS, "conv_dim": (16,) * 13, "squeeze_factor": 2}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}

normalised = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
masked = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
raw = Wav2Vec2FeatureExtractor(do_normalize=False)

# name: (class of the saved model, settings of its config, feature extractor)
CHECKPOINTS = {
    "wav2vec2-base": ("Wav2Vec2Model", CONVOLUTIONS, normalised),
    "wav2vec2-large": ("Wav2Vec2Model", LARGE, masked),
    "wav2vec2-adapter": ("Wav2Vec2Model", {**LARGE, "add_adapter": True}, masked),
    "wav2vec2-ctc": ("Wav2Vec2ForCTC", {**CONVOLUTIONS, "vocab_size": 20}, normalised),
    "wav2vec2-pretraining": ("Wav2Vec2ForPreTraining", CONVOLUTIONS, normalised),
    "wav2vec2-classifier": ("Wav2Vec2ForSequenceClassification", CONVOLUTIONS, normalised),
    "hubert-base": ("HubertModel", CONVOLUTIONS, normalised),
    "hubert-large": ("HubertModel", LARGE, masked),
    "hubert-batchnorm": ("HubertModel", {**CONVOLUTIONS, "conv_pos_batch_norm": True}, normalised),
    "wavlm-base": ("WavLMModel", CONVOLUTIONS, raw),
    "wavlm-large": ("WavLMModel", LARGE, masked),
    "data2vec-audio": (
        "Data2VecAudioModel",
        {**CONVOLUTIONS, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 19},
        masked,
    ),
    "unispeech": ("UniSpeechModel", CONVOLUTIONS, normalised),
    "unispeech-large": ("UniSpeechModel", LARGE, masked),
    "unispeech-sat": ("UniSpeechSatModel", CONVOLUTIONS, normalised),
    "unispeech-sat-large": ("UniSpeechSatModel", LARGE, masked),
    "sew": ("SEWModel", SQUEEZED, normalised),
    "sew-d": (
        "SEWDModel",
        {**SQUEEZED, "position_buckets": 8, "max_position_embeddings": 32, "num_attention_heads": 2},
        normalised,
    ),
    "wav2vec2-conformer-rel": (
        "Wav2Vec2ConformerModel",
        {**LARGE, "position_embeddings_type": "relative", "conv_depthwise_kernel_size": 7},
        masked,
    ),
    "wav2vec2-conformer-rope": (
        "Wav2Vec2ConformerModel",
        {**LARGE, "position_embeddings_type": "rotary", "conv_depthwise_kernel_size": 7},
        masked,
    ),
    "wav2vec2-bert": (
        "Wav2Vec2BertModel",
        {**TRANSFORMER, "conv_depthwise_kernel_size": 7, "output_hidden_size": 32},
        SeamlessM4TFeatureExtractor(padding_value=1),
    ),
    "whisper": ("WhisperModel", WHISPER, WhisperFeatureExtractor()),
    "whisper-asr": ("WhisperForConditionalGeneration", WHISPER, WhisperFeatureExtractor()),
    "whisper-classifier": ("WhisperForAudioClassification", WHISPER, WhisperFeatureExtractor()),
    "ast": ("ASTModel", TRANSFORMER, ASTFeatureExtractor()),
    "ast-classifier": ("ASTForAudioClassification", TRANSFORMER, ASTFeatureExtractor()),
}


def save_checkpoint(name: str, folder: Path) -> Path:
    """Write the checkpoint of that name into a folder and return the folder."""
    class_name, settings, extractor = CHECKPOINTS[name]
    model_class = getattr(transformers, class_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = model_class(model_class.config_class(**settings))
        # Random biases and norms: at their initial 0 and 1 much of what can go wrong stays hidden.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder
