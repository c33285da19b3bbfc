"""Tiny checkpoints of every family, written as their authors' are: random weights, save_pretrained."""

from pathlib import Path

import torch
import transformers
from transformers import (
    ASTFeatureExtractor,
    GraniteSpeech5FeatureExtractor,
    LasrFeatureExtractor,
    ParakeetFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Speech2TextFeatureExtractor,
    SpeechT5FeatureExtractor,
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

ENCODER_DECODER = {
    **WHISPER,
    "conv_channels": 16,  # Speech2Text's
}
SPEECHT5 = {
    **{key: value for key, value in WHISPER.items() if key not in ("d_model", "bos_token_id")},
    "hidden_size": 32,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
}
MOONSHINE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "vocab_size": 40,
    **{f"{part}_num_hidden_layers": n for part, n in (("encoder", 3), ("decoder", 1))},
    **{f"{part}_num_attention_heads": 2 for part in ("encoder", "decoder")},
}
FAST_CONFORMER = {**TRANSFORMER, "subsampling_conv_channels": 8}
GRANITE = {**TRANSFORMER, "num_hidden_layers": 4, "vocab_size": 40}
LANGUAGE_MODEL = {**TRANSFORMER, "model_type": "qwen2", "num_key_value_heads": 2, "vocab_size": 40}
QWEN2_AUDIO = {key: value for key, value in WHISPER.items() if key.startswith("encoder") or key == "d_model"}
SEAMLESS = {
    "hidden_size": 32,
    **{f"{prefix}vocab_size": 40 for prefix in ("", "t2u_", "unit_hifi_gan_")},
    **{f"{prefix}{part}_layers": 1 for prefix in ("", "t2u_") for part in ("encoder", "decoder")},
    **{f"{prefix}{part}_ffn_dim": 48 for prefix in ("", "t2u_") for part in ("encoder", "decoder")},
    **{f"{prefix}{part}_attention_heads": 2 for prefix in ("", "t2u_") for part in ("encoder", "decoder")},
    "speech_encoder_layers": 3,
    "speech_encoder_attention_heads": 2,
    "speech_encoder_intermediate_size": 48,
    "upsample_initial_channel": 32,
    "unit_embed_dim": 16,
    "lang_embed_dim": 8,
    "spkr_embed_dim": 8,
}

of_whisper = WhisperFeatureExtractor(feature_size=128)
of_whisper_masked = WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)

# Types whose frames are measured; and, for the plain model to compare with, where its audio encoder sits.
MEASURED_PARTS = {
    "qwen2-audio-encoder": "",
    "qwen2-audio": "model.audio_tower",
    "voxtral-encoder": "",
    "audioflamingo3-encoder": "",
    "speech-to-text": "model.encoder",
    "moonshine": "model.encoder",
    "speecht5": "speecht5.encoder",
    "parakeet-encoder": "",
    "parakeet-ctc": "encoder",
    "seamless-m4t": "speech_encoder",
    "lasr-encoder": "",
    "granite-speech5-encoder": "",
}

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
    "qwen2-audio-encoder": ("Qwen2AudioEncoder", QWEN2_AUDIO, of_whisper),
    "qwen2-audio": (
        "Qwen2AudioForConditionalGeneration",
        {
            "audio_config": {**QWEN2_AUDIO, "model_type": "qwen2_audio_encoder"},
            "text_config": LANGUAGE_MODEL,
            "audio_token_index": 5,
        },
        of_whisper_masked,
    ),
    "voxtral-encoder": ("VoxtralEncoder", TRANSFORMER, of_whisper),
    "audioflamingo3-encoder": ("AudioFlamingo3Encoder", TRANSFORMER, of_whisper_masked),
    "speech-to-text": (
        "Speech2TextForConditionalGeneration",
        ENCODER_DECODER,
        Speech2TextFeatureExtractor(),
    ),
    "moonshine": ("MoonshineForConditionalGeneration", MOONSHINE, raw),
    "speecht5": ("SpeechT5ForSpeechToText", SPEECHT5, SpeechT5FeatureExtractor()),
    "parakeet-encoder": ("ParakeetEncoder", FAST_CONFORMER, ParakeetFeatureExtractor()),
    "parakeet-ctc": (
        "ParakeetForCTC",
        {"encoder_config": FAST_CONFORMER, "vocab_size": 40, "pad_token_id": 39},
        ParakeetFeatureExtractor(),
    ),
    "seamless-m4t": ("SeamlessM4TModel", SEAMLESS, SeamlessM4TFeatureExtractor()),
    "lasr-encoder": ("LasrEncoder", FAST_CONFORMER, LasrFeatureExtractor()),
    "granite-speech5-encoder": ("GraniteSpeech5Encoder", GRANITE, GraniteSpeech5FeatureExtractor()),
}
LISTED = tuple(name for name in CHECKPOINTS if name not in MEASURED_PARTS)


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
