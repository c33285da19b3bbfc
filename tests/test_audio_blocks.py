import math
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from ser_transfer.audio import AudioError, read_audio, read_blocks

RATE = 16_000


def voice(rate: int, seconds: float = 3.3) -> np.ndarray:
    """Noise under a slow swell: every sample matters to where a block is cut."""
    rng = np.random.default_rng(0)
    n_samples = round(rate * seconds)
    return 0.2 * rng.normal(size=n_samples) * (1 + np.sin(np.arange(n_samples) / rate))


def write(path: Path, samples: np.ndarray, rate: int) -> Path:
    if path.suffix != ".m4a":
        soundfile.write(path, samples, rate)
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.float32(samples)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        converter = av.AudioResampler(format="fltp", layout="mono", rate=rate, frame_size=1024)
        for piece in [*converter.resample(frame), None]:
            container.mux(stream.encode(piece))
    return path


def reason_of(source, **options) -> str:
    with pytest.raises(AudioError) as caught:
        list(read_blocks(source, **options))
    return caught.value.reason


@pytest.mark.parametrize("name", ["voice.wav", "voice.flac", "voice.ogg", "voice.mp3", "voice.m4a"])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
def test_laid_end_to_end_the_blocks_are_what_read_audio_gives_to_the_bit(name, rate, tmp_path):
    path = write(tmp_path / name, voice(rate), rate)
    whole = read_audio(path)
    for block_seconds in (0.01, 0.777, 60.0):
        blocks = list(read_blocks(path, block_seconds=block_seconds))
        assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * RATE)}
        assert 0 < len(blocks[-1]) <= round(block_seconds * RATE)
        np.testing.assert_array_equal(np.concatenate(blocks), whole)
        assert blocks[0].dtype == np.float32


def test_bytes_rows_and_stereo_are_read_as_read_audio_reads_them(tmp_path):
    stereo = np.stack([voice(22_050), 0.1 * voice(22_050)[::-1]], axis=1)
    path = write(tmp_path / "stereo.wav", stereo, 22_050)
    whole = read_audio(path)
    for source in (str(path), path.read_bytes(), {"bytes": None, "path": str(path)}):
        np.testing.assert_array_equal(np.concatenate(list(read_blocks(source))), whole)


@pytest.mark.parametrize(("rate", "name"), [(16_000, "long.wav"), (44_100, "long.flac")])
def test_memory_does_not_grow_with_the_recording(rate, name, tmp_path):
    path = tmp_path / name
    minute = voice(rate, 60.0).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        for _ in range(5):
            file.write(minute)
    del minute
    tracemalloc.start()
    n_samples = sum(len(block) for block in read_blocks(path, block_seconds=10.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_samples == 5 * 60 * RATE  # 19 MB, if it lay in memory
    assert peak < 8e6


def test_what_the_headers_tell_is_an_error_before_the_first_block(tmp_path):
    data = write(tmp_path / "whole.wav", voice(RATE), RATE).read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(data[: len(data) // 2])
    named = write(tmp_path / "sound.flac", voice(RATE), RATE).rename(tmp_path / "named.wav")
    page = tmp_path / "page.mp3"
    page.write_bytes(b"<!DOCTYPE html><html>404</html>")
    for path, reason in [
        (cut, "truncated"),
        (named, "mislabelled"),
        (page, "mislabelled"),
        (tmp_path / "none.wav", "missing"),
    ]:
        with pytest.raises(AudioError) as caught:
            next(iter(read_blocks(path)))
        assert caught.value.reason == reason


def test_a_file_that_breaks_off_in_the_middle_is_truncated(tmp_path):
    data = bytearray(write(tmp_path / "whole.flac", voice(RATE), RATE).read_bytes())
    (tmp_path / "cut.flac").write_bytes(data[: len(data) * 2 // 3])
    assert reason_of(tmp_path / "cut.flac") == reason_of_whole(tmp_path / "cut.flac") == "truncated"


def reason_of_whole(source) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(source)
    return caught.value.reason


def test_no_samples_are_empty_and_no_bytes_too(tmp_path):
    assert reason_of(write(tmp_path / "none.wav", np.zeros(0), RATE)) == "empty"
    (tmp_path / "nothing.wav").touch()
    assert reason_of(tmp_path / "nothing.wav") == "empty"


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_nan_stops_at_the_block_that_holds_it_and_not_before(rate, tmp_path):
    samples = voice(rate, 40.0)
    samples[20 * rate] = math.nan
    soundfile.write(tmp_path / "nan.wav", samples, rate, subtype="FLOAT")
    blocks = read_blocks(tmp_path / "nan.wav", block_seconds=5.0)
    # Decoded 16 s or 6 s at a time: the piece that holds it begins after 15 s and before 20.
    assert [len(next(blocks)) for _ in range(3)] == [5 * RATE] * 3
    with pytest.raises(AudioError, match="non_finite"):
        next(blocks)


def test_samples_beyond_float32_are_refused_as_read_audio_refuses_them(tmp_path):
    samples = voice(44_100, 20.0).astype(np.float32)
    samples[:44_100] = np.where(np.arange(44_100) % 3, 3.4e38, -3.4e38)
    soundfile.write(tmp_path / "loud.wav", samples, 44_100, subtype="FLOAT")
    assert reason_of(tmp_path / "loud.wav") == reason_of_whole(tmp_path / "loud.wav") == "non_finite"


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_silence_is_told_at_the_end_and_a_sound_in_the_last_second_is_no_silence(rate, tmp_path):
    samples = np.full(10 * rate, 0.1)
    soundfile.write(tmp_path / "silent.wav", samples, rate)
    blocks = read_blocks(tmp_path / "silent.wav", block_seconds=3.0)
    assert len(next(blocks)) == 3 * RATE
    with pytest.raises(AudioError, match="silent"):
        list(blocks)
    samples[-rate // 2 :] += voice(rate, 0.5)
    soundfile.write(tmp_path / "late.wav", samples, rate)
    assert sum(map(len, read_blocks(tmp_path / "late.wav", block_seconds=3.0))) == 10 * RATE


def test_a_recording_shorter_than_the_least_is_too_short(tmp_path):
    path = write(tmp_path / "short.wav", voice(RATE, 0.4), RATE)
    assert reason_of(path, min_seconds=0.5) == "too_short"
    assert len(list(read_blocks(path, min_seconds=0.4))) == 1
    one = tmp_path / "one.wav"
    soundfile.write(one, np.array([0.5, -0.5]), 48_000)
    assert reason_of(one, sampling_rate=8_000) == reason_of_whole_at(one, 8_000)


def reason_of_whole_at(source, rate: int) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(source, rate)
    return caught.value.reason


def test_the_messages_are_those_of_read_audio(tmp_path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.full(RATE, 0.01), RATE)
    with pytest.raises(AudioError) as whole:
        read_audio(silent)
    with pytest.raises(AudioError) as blocks:
        list(read_blocks(silent))
    assert str(blocks.value) == str(whole.value)


def test_a_header_that_declares_gigabytes_takes_no_memory(tmp_path):
    data = bytearray(write(tmp_path / "tiny.wav", voice(RATE, 0.03), RATE).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFF_FF00)
    tracemalloc.start()
    assert reason_of(bytes(data)) == "truncated"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize("block_seconds", [0.0, -1.0, math.nan, math.inf])
def test_blocks_of_no_length_are_refused_at_once(block_seconds):
    with pytest.raises(ValueError, match="block_seconds"):
        read_blocks(b"", block_seconds=block_seconds)
