import math
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from ser_transfer.audio import AudioError, audio_key, duration_seconds, read_audio

RATE = 16_000
SECONDS = 1.5
TONE_HZ = 440.0
PADDING_SECONDS = 0.11  # AAC: the encoder fills its last frames, and MP4 does not make the decoder drop it

LOSSLESS = {
    "u8.wav": "PCM_U8",
    "s16.wav": "PCM_16",
    "s24.wav": "PCM_24",
    "s32.wav": "PCM_32",
    "float32.wav": "FLOAT",
    "float64.wav": "DOUBLE",
    "sixteen.flac": "PCM_16",
    "twentyfour.FLAC": "PCM_24",
}
LOSSY = {"vorbis.ogg": "VORBIS", "opus.ogg": "OPUS", "speech.mp3": None}
FFMPEG = {"speech.m4a": "aac", "speech.mp4": "aac", "speech.webm": "libopus", "lame.mp3": "libmp3lame"}
EVERY_FORMAT = [*LOSSLESS, *LOSSY, *FFMPEG]


def tone(frequency: float = TONE_HZ, rate: int = RATE, seconds: float = SECONDS, amplitude: float = 0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def encode_with_ffmpeg(path: Path, samples: np.ndarray, codec: str, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono" if samples.ndim == 1 else "stereo"
        planes = np.ascontiguousarray(np.atleast_2d(samples.T), np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=stream.layout.name)
        frame.sample_rate = rate
        converter = av.AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=rate)
        for piece in [*converter.resample(frame), None]:
            for packet in stream.encode(piece):
                container.mux(packet)


def write(folder: Path, name: str, samples: np.ndarray, rate: int = RATE) -> Path:
    path = folder / name
    if name in FFMPEG:
        encode_with_ffmpeg(path, samples, FFMPEG[name], rate)
    else:
        soundfile.write(path, samples, rate, subtype=LOSSLESS.get(name, LOSSY.get(name)))
    return path


def amplitude_at(waveform: np.ndarray, frequency: float, rate: int = RATE) -> float:
    """The amplitude of a tone of whole cycles, by projection on it: one bin of a Fourier transform."""
    phase = np.exp(-2j * np.pi * frequency * np.arange(len(waveform)) / rate)
    return float(2 * abs(np.dot(waveform.astype(float), phase)) / len(waveform))


def reason_of(source, **options) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(source, **options)
    assert str(caught.value).startswith(f"{caught.value.path}: {caught.value.reason}: ")
    return caught.value.reason


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_every_format_gives_the_tone_that_was_written(name, tmp_path):
    rate = 48_000 if "opus" in name or "webm" in name else RATE
    path = write(tmp_path, name, tone(rate=rate), rate)
    waveform = read_audio(path)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert len(waveform) / RATE == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    middle = waveform[RATE // 4 : RATE // 4 + RATE]
    assert amplitude_at(middle, TONE_HZ) == pytest.approx(0.5, rel=0.01 if name in LOSSLESS else 0.08)
    assert duration_seconds(path) == pytest.approx(SECONDS, abs=PADDING_SECONDS)


@pytest.mark.parametrize("name", sorted(set(LOSSLESS) - {"u8.wav"}))
def test_lossless_formats_keep_every_sample(name, tmp_path):
    samples = np.round(tone() * 2**15) / 2**15
    np.testing.assert_array_equal(read_audio(write(tmp_path, name, samples)), samples.astype(np.float32))


@pytest.mark.parametrize("name", ["s16.wav", "sixteen.flac", "vorbis.ogg", "speech.mp3", "speech.m4a"])
def test_channels_are_averaged_and_never_laid_end_to_end(name, tmp_path):
    stereo = np.stack([tone(400.0, amplitude=0.6), tone(1000.0, amplitude=0.2)], axis=1)
    waveform = read_audio(write(tmp_path, name, stereo))
    assert len(waveform) / RATE == pytest.approx(SECONDS, abs=PADDING_SECONDS)
    middle = waveform[RATE // 4 : RATE // 4 + RATE]
    assert amplitude_at(middle, 400.0) == pytest.approx(0.3, rel=0.08)
    assert amplitude_at(middle, 1000.0) == pytest.approx(0.1, rel=0.12)


def test_seven_channels_weigh_the_same(tmp_path):
    channels = np.tile([0.7, 0, 0, 0, 0, 0, 0.0], (RATE, 1)) * tone(seconds=1.0)[:, None]
    soundfile.write(tmp_path / "seven.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "seven.wav"), channels.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_resampling_keeps_duration_and_the_amplitude_of_a_tone_within_a_thousandth(rate, tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(1000.0, rate), rate, subtype="FLOAT")
    waveform = read_audio(tmp_path / "tone.wav")
    assert len(waveform) == pytest.approx(SECONDS * RATE, abs=1)
    assert amplitude_at(waveform[4000:20_000], 1000.0) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("frequency", [8_200, 9_000, 12_000, 15_000, 20_000])
def test_what_lies_above_the_new_nyquist_frequency_is_110_db_down(frequency, tmp_path):
    # The low tone is there because the high one alone would be refused as silence.
    both = tone(frequency, 48_000) + tone(700.0, 48_000)
    soundfile.write(tmp_path / "high.wav", both, 48_000, subtype="DOUBLE")
    waveform = read_audio(tmp_path / "high.wav")[4000:20_000]
    alias = abs((frequency + RATE // 2) % RATE - RATE // 2)
    assert 20 * math.log10(amplitude_at(waveform, alias) / 0.5 + 1e-12) < -110


@pytest.mark.parametrize(
    "name", ["s16.wav", "sixteen.flac", "vorbis.ogg", "speech.mp3", "speech.m4a", "speech.webm"]
)
def test_a_segment_is_that_part_of_the_whole(name, tmp_path):
    rate = 48_000 if name == "speech.webm" else RATE
    path = write(
        tmp_path, name, tone(rate=rate) + tone(333.0, rate) * np.linspace(-1, 1, round(rate * SECONDS)), rate
    )
    whole = read_audio(path)
    part = read_audio(path, start_seconds=0.5, end_seconds=1.25)
    assert len(part) == 12_000
    # Resampling starts anew at the segment's ends; vorbis overlaps its blocks.
    np.testing.assert_allclose(part[200:-200], whole[8200:19_800], atol=1e-3)


def test_a_path_bytes_and_a_row_give_the_same_waveform(tmp_path):
    path = write(tmp_path, "s16.wav", tone())
    waveform = read_audio(path)
    data = path.read_bytes()
    rows = {"bytes": data, "path": "elsewhere.wav"}, {"bytes": None, "path": str(path)}
    for source in (str(path), data, *rows):
        np.testing.assert_array_equal(read_audio(source), waveform)


def test_missing_files_folders_and_empty_rows_are_missing(tmp_path):
    assert reason_of(tmp_path / "none.wav") == "missing"
    assert reason_of(tmp_path) == "missing"
    assert reason_of({"bytes": None, "path": None}) == "missing"
    with pytest.raises(AudioError, match=r"none\.wav: missing"):
        audio_key(tmp_path / "none.wav")


def test_no_bytes_and_no_samples_are_empty(tmp_path):
    (tmp_path / "nothing.wav").touch()
    assert reason_of(tmp_path / "nothing.wav") == "empty"
    soundfile.write(tmp_path / "headeronly.wav", np.zeros(0), RATE)
    assert reason_of(tmp_path / "headeronly.wav") == "empty"


def test_silence_is_silent_and_a_quiet_voice_is_not(tmp_path):
    rng = np.random.default_rng(0)
    step = 2.0**-15
    silences = {
        "zeros": np.zeros(RATE),
        "offset": np.full(RATE, 0.1),
        "dither": rng.integers(-1, 2, RATE) * step,
    }
    for name, samples in silences.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
        assert reason_of(tmp_path / f"{name}.wav") == "silent", name
    # A whisper at the far end of a room: 6 steps of 16 bits, -75 dBFS.
    soundfile.write(tmp_path / "quiet.wav", tone(amplitude=6 * step), RATE)
    assert len(read_audio(tmp_path / "quiet.wav")) == RATE * SECONDS


@pytest.mark.parametrize("name", EVERY_FORMAT)
@pytest.mark.parametrize("kept", [0.3, 0.95])
def test_a_cut_file_is_truncated(name, kept, tmp_path):
    path = write(
        tmp_path,
        name,
        tone() if "webm" not in name else tone(rate=48_000),
        48_000 if "webm" in name else RATE,
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert reason_of(path) == "truncated"


def test_a_header_that_declares_gigabytes_is_truncated_and_takes_no_memory(tmp_path):
    path = tmp_path / "huge.wav"
    data = bytearray(write(tmp_path, "s16.wav", tone(seconds=0.03)).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFF_FF00)
    path.write_bytes(data)
    tracemalloc.start()
    assert reason_of(path) == "truncated"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000])
def test_a_wav_streamed_without_a_length_is_read_to_its_end(size, tmp_path):
    data = bytearray(write(tmp_path, "s16.wav", tone()).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    assert len(read_audio(bytes(data))) == RATE * SECONDS


def test_a_recording_shorter_than_the_least_is_too_short(tmp_path):
    path = write(tmp_path, "s16.wav", tone())
    assert reason_of(path, min_seconds=1.6) == "too_short"
    assert reason_of(path, start_seconds=1.0, min_seconds=0.6) == "too_short"
    assert len(read_audio(path, min_seconds=SECONDS)) == RATE * SECONDS


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_one_nan_is_enough_to_be_non_finite(value, rate, tmp_path):
    samples = tone(rate=rate)
    samples[100] = value
    soundfile.write(tmp_path / "nan.wav", samples, rate, subtype="FLOAT")
    assert reason_of(tmp_path / "nan.wav") == "non_finite"


@pytest.mark.parametrize("name", ["speech.mp3", "sixteen.flac", "vorbis.ogg", "speech.m4a"])
def test_another_format_under_the_name_of_wav_is_mislabelled(name, tmp_path):
    path = write(tmp_path, name, tone()).rename(tmp_path / "named.wav")
    assert reason_of(path) == "mislabelled"
    assert len(read_audio(path.read_bytes()))  # without a name there is no false one


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"Not found\n", "text"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
    ],
)
def test_what_is_no_sound_is_called_what_it_is(content, what, tmp_path):
    path = tmp_path / "page.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=what) as caught:
        read_audio(path)
    assert caught.value.reason == "mislabelled"
    assert reason_of(content) == "unreadable"


def test_more_channels_than_pyav_reads_safely_are_refused_and_do_not_crash(tmp_path):
    path = tmp_path / "surround.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8 * 1024), np.float32), format="flt", layout="7.1")
        frame.sample_rate = 48_000
        converter = av.AudioResampler(format="fltp", frame_size=1024)
        for piece in [*converter.resample(frame), None]:
            container.mux(stream.encode(piece))
    assert reason_of(path) == "unreadable"


@pytest.mark.parametrize("name", ["x.au", "x.snd", "x.vox", "x.gsm"])
def test_no_name_makes_sound_of_what_has_no_header(name, tmp_path):
    """By these names libsndfile takes any bytes for telephone sound without a header."""
    content = b"PK\x03\x04" + np.random.default_rng(0).bytes(8_000)
    (tmp_path / name).write_bytes(content)
    for source in (tmp_path / name, {"bytes": content, "path": name}):
        with pytest.raises(AudioError, match="unreadable"):
            read_audio(source)


def test_noise_is_unreadable(tmp_path):
    path = tmp_path / "noise.wav"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert reason_of(path) == "unreadable"


@pytest.mark.parametrize("name", ["s16.wav", "speech.mp3"])
@pytest.mark.parametrize(
    ("start", "end"), [(1.0, 2.0), (3.0, None), (3.0, 4.0), (-0.1, 1.0), (1.0, 1.0), (0.0, math.nan)]
)
def test_a_segment_outside_the_recording_is_an_error(name, start, end, tmp_path):
    path = write(tmp_path, name, tone())
    assert reason_of(path, start_seconds=start, end_seconds=end) == "segment"


def test_the_end_of_a_segment_may_be_rounded_up_to_a_hundredth(tmp_path):
    path = write(tmp_path, "s16.wav", tone(seconds=1.496))
    assert len(read_audio(path, start_seconds=1.0, end_seconds=1.5)) == round(0.496 * RATE)


def test_a_playlist_opens_no_other_file(tmp_path):
    write(tmp_path, "s16.wav", tone())
    for name, text in {
        "list": "ffconcat version 1.0\nfile s16.wav\n",
        "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.5,\ns16.wav\n#EXT-X-ENDLIST\n",
    }.items():
        (tmp_path / name).write_text(text)
        assert reason_of(tmp_path / name) == "unreadable"


def test_the_error_passes_between_processes_whole(tmp_path):
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path / "none.wav")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.reason, copy.path, str(copy)) == (caught.value.reason, caught.value.path, str(caught.value))


def test_the_key_follows_bytes_and_segment_and_not_the_name(tmp_path):
    path = write(tmp_path, "s16.wav", tone())
    key = audio_key(path)
    moved = path.rename(tmp_path / "moved.wav")
    assert audio_key(moved) == audio_key(moved.read_bytes()) == key
    assert audio_key({"bytes": moved.read_bytes(), "path": "other.wav"}) == key
    assert audio_key(moved, start_seconds=0, end_seconds=None) == key
    changed = bytearray(moved.read_bytes())
    changed[-1] ^= 1
    segments = [(None, 1.0), (0.5, None), (0.5, 1.0), (0.5, 1.0000001)]
    keys = [
        key,
        audio_key(bytes(changed)),
        *(audio_key(moved, start_seconds=a, end_seconds=b) for a, b in segments),
    ]
    assert len(set(keys)) == len(keys)
    assert audio_key(moved, start_seconds=0.5, end_seconds=1) == audio_key(
        moved, start_seconds=0.5, end_seconds=1.0
    )


DAMAGE = """
import sys
from pathlib import Path
import numpy as np
from ser_transfer.audio import AudioError, duration_seconds, read_audio

folder = Path(sys.argv[1])
originals = [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]
rng = np.random.default_rng(0)

def damaged(data, kind):
    reach = min(len(data), 400) if rng.random() < 0.6 else len(data)  # headers break in more ways than sound
    at = int(rng.integers(reach))
    other = originals[rng.integers(len(originals))][1]
    flipped = bytes([data[at] ^ 1 << int(rng.integers(8))])
    patch = [flipped, bytes(64), b"\\xff" * 4, rng.bytes(8)]
    return [data[:at] + patch[kind] + data[at + len(patch[kind]):] if kind < 4 else b"", data[:at],
            other[:32] + data[32:]][max(0, kind - 3)]

for n in range(210):
    suffix, data = originals[n % len(originals)]
    file = folder.parent / f"damaged{suffix}"
    file.write_bytes(damaged(data, n // len(originals) % 6))
    for source in (file, file.read_bytes()):
        try:
            waveform = read_audio(source)
            assert waveform.dtype == np.float32 and waveform.ndim == 1 and np.isfinite(waveform).all()
            duration_seconds(source)
        except AudioError as error:
            str(error)
print("done")
"""


def test_damaged_files_give_a_waveform_or_an_audio_error_and_no_word_on_stderr(tmp_path):
    (tmp_path / "whole").mkdir()
    for name in EVERY_FORMAT:
        rate = 48_000 if name == "speech.webm" else RATE
        write(tmp_path / "whole", name, tone(rate=rate, seconds=0.5), rate)
    # In a process of its own: a crash of a decoder would take the test run with it.
    command = [sys.executable, "-c", DAMAGE, str(tmp_path / "whole")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "done", "")


def test_no_real_recording_is_refused(shared):
    files = sorted(path for path in (shared / "corpora").rglob("*") if path.suffix in {".wav", ".flac"})
    assert len(files) == 1975
    for path in files[::3]:  # all of them take seconds; none is refused
        assert len(read_audio(path)) / RATE == pytest.approx(duration_seconds(path), abs=1e-4)
