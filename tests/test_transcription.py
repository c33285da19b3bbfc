"""Words by speech-recognition checkpoints: those that transformers itself would write."""

import itertools
import json

import numpy as np
import pytest
import torch

from ser_transfer.transcription import Transcriber, TranscriptionError, _pieces

RATE = 16_000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def sound(seconds, seed=0):
    """A tone that glides, in a little noise; each seed another."""
    time = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    tone = 0.3 * np.sin(2 * np.pi * (150 + 400 * seed) * (1 + time) * time)
    return (tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def ctc(tmp_path_factory):
    """A tiny wav2vec 2.0 with a vocabulary of letters."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("ctc")
    vocabulary = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
    (folder / "vocab.json").write_text(json.dumps({token: row for row, token in enumerate(vocabulary)}))
    processor = Wav2Vec2Processor(
        Wav2Vec2FeatureExtractor(do_normalize=True), Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    )
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 8, 8),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    model = Wav2Vec2ForCTC(config)
    model.lm_head.weight.data *= 50  # else the loudest letter is heard everywhere
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A tiny Whisper that hears one second at once and writes letters."""
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    folder = tmp_path_factory.mktemp("whisper")
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    tokens = [*LETTERS, "Ġ", *special]
    tokenizer = WhisperTokenizer(vocab={token: row for row, token in enumerate(tokens)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    end, start, no_times = map(tokens.index, special)
    processor = WhisperProcessor(WhisperFeatureExtractor(feature_size=20, chunk_length=1), tokenizer)
    processor.save_pretrained(folder)
    torch.manual_seed(1)
    config = WhisperConfig(
        vocab_size=len(tokens),
        num_mel_bins=20,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50,
        max_target_positions=16,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        init_std=0.6,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    model.model.decoder.layers[0].encoder_attn.out_proj.weight.data *= 10  # so that it listens
    model.generation_config.update(max_length=12, no_timestamps_token_id=no_times, suppress_tokens=None)
    model.save_pretrained(folder)
    return folder


def by_ctc(folder, waveform):
    """What the model card of wav2vec 2.0 does."""
    from transformers import AutoModelForCTC, AutoProcessor

    processor, model = AutoProcessor.from_pretrained(folder), AutoModelForCTC.from_pretrained(folder)
    inputs = processor(waveform, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        tokens = torch.argmax(model(**inputs).logits, dim=-1)
    return processor.batch_decode(tokens)[0]


def by_generating(folder, waveform):
    """What the model card of Whisper does."""
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

    processor, model = (
        AutoProcessor.from_pretrained(folder),
        AutoModelForSpeechSeq2Seq.from_pretrained(folder),
    )
    inputs = processor(waveform, sampling_rate=RATE, return_tensors="pt")
    tokens = model.generate(inputs.input_features)
    return processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()


@pytest.mark.parametrize(("kind", "oracle"), [("ctc", by_ctc), ("whisper", by_generating)])
def test_the_words_are_those_of_transformers_itself(kind, oracle, request):
    folder = request.getfixturevalue(kind)
    waveforms = [sound(0.7, seed) for seed in range(3)]
    expected = [oracle(folder, waveform) for waveform in waveforms]
    assert len(set(expected)) == 3, "the checkpoint should hear a difference"
    transcriber = Transcriber.load(folder, device="cpu")
    assert transcriber.sampling_rate == RATE
    assert transcriber.transcribe(waveforms) == expected


def test_what_is_longer_than_whisper_hears_is_written_piece_by_piece(whisper):
    transcriber = Transcriber.load(whisper, device="cpu")
    assert transcriber.piece_seconds == 1.0
    waveform = sound(2.0)
    waveform[int(0.8 * RATE) : int(0.9 * RATE)] = 0  # the quietest places within reach of the cut
    waveform[int(1.7 * RATE) : int(1.8 * RATE)] = 0
    cuts = [0, int(0.85 * RATE), int(1.75 * RATE), len(waveform)]
    pieces = [waveform[start:end] for start, end in itertools.pairwise(cuts)]
    expected = " ".join(filter(None, (by_generating(whisper, piece) for piece in pieces)))
    assert transcriber.transcribe([waveform]) == [expected]
    blocks = np.array_split(waveform, 7)
    assert transcriber.transcribe_blocks(blocks) == expected


def test_pieces_are_never_too_long_and_nothing_between_them_is_lost():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        waveform = sound(rng.uniform(0.001, 3), seed)
        waveform[: int(rng.integers(0, len(waveform)))] = 0
        blocks = np.array_split(waveform, rng.integers(1, 30))
        pieces = list(_pieces(iter(blocks), 8_000, 1_600))
        assert all(0 < len(piece) <= 8_000 for piece in pieces)
        assert all(len(piece) >= 5_000 for piece in pieces[:-1])
        np.testing.assert_array_equal(np.concatenate(pieces), waveform)


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
@pytest.mark.parametrize("n_samples", [0, 1, 100])
def test_a_sound_of_a_few_samples_is_no_error(kind, n_samples, request):
    transcriber = Transcriber.load(request.getfixturevalue(kind), device="cpu")
    [text] = transcriber.transcribe([sound(1.0)[:n_samples]])
    assert isinstance(text, str)
    assert text == "" or n_samples


def test_checkpoints_that_write_no_words_are_refused_by_what_they_are(tmp_path, ctc):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config.from_pretrained(ctc)
    Wav2Vec2Model(config).save_pretrained(tmp_path / "encoder")
    with pytest.raises(TranscriptionError, match="is Wav2Vec2Model, and no network for speech recognition"):
        Transcriber.load(tmp_path / "encoder")


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path, ctc):
    from safetensors.torch import load_file, save_file

    for path in ctc.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(ctc / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TranscriptionError, match=r"lacks weights \(lm_head.weight\)"):
        Transcriber.load(tmp_path)


def test_what_is_not_there_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for name, revision, message in [
        (tmp_path, None, "cannot be loaded for speech recognition"),
        (tmp_path, "main", "is a folder and has no revision 'main'"),
        ("no/such/checkpoint", None, "no folder 'no/such/checkpoint', and it is no Hub id either"),
    ]:
        with pytest.raises(TranscriptionError, match=message) as caught:
            Transcriber.load(name, revision)
        assert "\n" not in str(caught.value)


def test_without_a_network_a_hub_id_is_refused_at_once(monkeypatch):
    from huggingface_hub import HfApi

    def unreachable(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(TranscriptionError, match="the Hub cannot be reached") as caught:
        Transcriber.load("nobody/knows-this-checkpoint")
    assert "\n" not in str(caught.value)
