"""A thousand damaged recordings through `predict`: no crash, no hang, bounded memory, a reason each.

    python benchmarks/damaged_audio.py
    python benchmarks/damaged_audio.py --files 10000 --decoder

Small recordings in every format that phones, browsers and corpora leave behind are damaged, each in one way
that its seed fixes. First every file goes alone through the model, in a process that may take `--mebibytes`
of address space more than it had before the first: a process that dies is a crash, and one that has not
answered within `--seconds` hangs. Then all of them go through the command at once. Exits with 1 if a file
crashes or hangs the process, exhausts its memory, is left without an answer or a reason, or if the command
does not come to its end.

With `--decoder` every file goes through the decoder alone, three times: from its path, from its bytes, and
block by block. All three must give the same samples, or none must give any.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import xxhash

from ser_transfer.audio import AudioError, duration_seconds, read_audio, read_blocks
from ser_transfer.encoders.pooled import Recording
from ser_transfer.model import EmotionModel
from ser_transfer.tables import text_table

RATE = 16_000  # Hz, of most sources
SECONDS = 0.8  # of each source

# Name, extension, and how libsndfile (format, subtype) or FFmpeg (codec) writes it.
SNDFILE = {
    "wav 16 bit": ("wav", "WAV", "PCM_16"),
    "wav float": ("wav", "WAV", "FLOAT"),
    "wav adpcm": ("wav", "WAV", "IMA_ADPCM"),
    "flac": ("flac", "FLAC", "PCM_16"),
    "ogg vorbis": ("ogg", "OGG", "VORBIS"),
    "aiff": ("aiff", "AIFF", "PCM_24"),
    "au mu-law": ("au", "AU", "ULAW"),
    "caf": ("caf", "CAF", "PCM_16"),
    "w64": ("w64", "W64", "PCM_16"),
    "rf64": ("wav", "RF64", "PCM_16"),
}
FFMPEG = {
    "mp3": ("mp3", "libmp3lame"),
    "m4a aac": ("m4a", "aac"),
    "mp4 alac": ("m4a", "alac"),
    "webm opus": ("webm", "libopus"),
    "ogg opus": ("opus", "libopus"),
    "mka aac": ("mka", "aac"),
    "wma": ("wma", "wmav2"),
    "aac": ("aac", "aac"),
    "mp4 aac": ("mp4", "aac"),
    "mov pcm": ("mov", "pcm_s16le"),
    "flv": ("flv", "aac"),
    "mp2": ("mp2", "mp2"),
    "ac3": ("ac3", "ac3"),
}
EXTENSIONS = ("wav", "flac", "ogg", "mp3", "m4a", "webm", "aiff", "opus", "mkv", "txt", "")
ODD_RATES = (0, 1, 7, 999, 1_000, 8_001, 11_025, 22_051, 96_000, 768_000, 768_001, 2**31 - 1, 2**32 - 1)
ODD_CHANNELS = (0, 1, 2, 3, 5, 6, 7, 8, 9, 16, 255, 1_024, 32_768, 65_535)
# Boxes and elements that hold a duration: of MP4 and MOV, of Matroska and WebM.
DURATIONS = (
    b"mvhd",
    b"tkhd",
    b"mdhd",
    b"stts",
    b"stsz",
    b"stsc",
    b"\x44\x89\x84",
    b"\x44\x89\x88",
    b"data",
    b"fact",
)
HUGE = (2**15, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 9, 2**30 + 3)

HEADS = (
    b"RIFF\xff\xff\xff\x7fWAVEfmt ",
    b"fLaC",
    b"OggS\0\2",
    b"ID3\4\0\0\x7f\x7f\x7f\x7f",
    b"\xff\xfb\x90\0",
    b"\0\0\0\x20ftypM4A ",
    b"\x1a\x45\xdf\xa3",
    b"FORM\0\0\0\0AIFF",
    b"<html><body>404",
    b"PK\3\4",
)

Generator = np.random.Generator
Mutation = Callable[[bytearray, Generator], bytes]


@dataclass(frozen=True)
class Source:
    """A recording that is whole."""

    format: str
    extension: str
    data: bytes


def voice(seconds: float = SECONDS, rate: int = RATE, n_channels: int = 1) -> npt.NDArray[np.float32]:
    """Harmonics under a syllable's envelope, of shape (samples, channels)."""
    time_ = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * time_) / k for k in range(1, 6))
    envelope = 0.15 + 0.1 * np.sin(2 * np.pi * 4 * time_)
    noise = np.random.default_rng(0).normal(0, 0.003, (len(time_), n_channels))
    return np.asarray((tone * envelope)[:, None] + noise, np.float32)


@cache
def sources() -> list[Source]:
    """One recording per format, the same every day but for the serial number that libsndfile gives Ogg."""
    made = []
    for format_, (extension, container, subtype) in SNDFILE.items():
        made.append(Source(format_, extension, _by_libsndfile(voice(), RATE, container, subtype)))
    for format_, (extension, codec) in FFMPEG.items():
        rate = 48_000 if codec in ("libopus", "ac3") else RATE
        made.append(Source(format_, extension, _by_ffmpeg(voice(rate=rate), rate, codec, extension)))
    return made


def _by_libsndfile(
    samples: npt.NDArray[np.float32], rate: int, container: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    written = bytearray(file.getvalue())
    if (peak := written.find(b"PEAK", 0, 100)) >= 0:
        written[peak + 12 : peak + 16] = bytes(4)  # the time of day, which floating-point WAV tells
    return bytes(written)


def _by_ffmpeg(samples: npt.NDArray[np.float32], rate: int, codec: str, extension: str) -> bytes:
    import av

    file = io.BytesIO()
    formats = {"m4a": "ipod", "mka": "matroska", "aac": "adts", "opus": "ogg", "wma": "asf"}
    # bitexact: without times and random numbers, so that a seed gives the same files every day.
    options = {"fflags": "bitexact"}
    with av.open(file, "w", format=formats.get(extension, extension), options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = "mono", 32_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="mono")
        frame.sample_rate = rate
        converter = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate)
        for piece in [*converter.resample(frame), None]:
            for packet in stream.encode(piece):
                container.mux(packet)
    return file.getvalue()


def _truncated(data: bytearray, rng: Generator) -> bytes:
    return bytes(data[: rng.integers(1, len(data))])


def _truncated_head(data: bytearray, rng: Generator) -> bytes:
    return bytes(data[: rng.integers(1, 128)])


def _bits_flipped(data: bytearray, rng: Generator) -> bytes:
    for bit in rng.integers(0, 8 * len(data), rng.integers(1, 100)):
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _header_bits_flipped(data: bytearray, rng: Generator) -> bytes:
    for bit in rng.integers(0, 8 * min(256, len(data)), rng.integers(1, 12)):
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _header_bytes_drawn(data: bytearray, rng: Generator) -> bytes:
    for at in rng.integers(0, min(512, len(data)), rng.integers(1, 24)):
        data[at] = rng.integers(0, 256)
    return bytes(data)


def _zeros_inside(data: bytearray, rng: Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    end = min(len(data), start + int(rng.integers(1, len(data))))
    data[start:end] = bytes(end - start)
    return bytes(data)


def _nothing_but_zeros(data: bytearray, rng: Generator) -> bytes:
    return bytes(int(rng.choice([0, 1, 3, 44, 511, len(data)])))


def _ones_inside(data: bytearray, rng: Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    end = min(len(data), start + int(rng.integers(1, 2_000)))
    data[start:end] = b"\xff" * (end - start)
    return bytes(data)


def _nothing_but_chance(data: bytearray, rng: Generator) -> bytes:
    keep = int(rng.integers(0, 64))
    return bytes(data[:keep]) + rng.bytes(len(data) - keep)


def _another_header(data: bytearray, rng: Generator) -> bytes:
    head = HEADS[rng.integers(0, len(HEADS))]
    return head + bytes(data[len(head) * int(rng.integers(0, 2)) :])


def _huge_sizes(data: bytearray, rng: Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, min(400, len(data) - 4)))
        data[at : at + 4] = int(rng.choice(HUGE)).to_bytes(4, ("big", "little")[rng.integers(0, 2)])
    return bytes(data)


def _huge_sizes_of_chunks(data: bytearray, rng: Generator) -> bytes:
    """Aim at the fields that hold sizes: behind the four letters of a chunk, or before those of a box."""
    named = [at for at in range(min(len(data) - 8, 4_000)) if bytes(data[at : at + 4]).isalpha()]
    for at in rng.choice(named, min(len(named), 2), replace=False) if named else ():
        field = max(0, int(at) + int(rng.choice([4, -4])))
        data[field : field + 4] = int(rng.choice(HUGE)).to_bytes(4, ("big", "little")[rng.integers(0, 2)])
    return bytes(data)


def _huge_durations(data: bytearray, rng: Generator) -> bytes:
    """A header that promises hours, days or years: samples of FLAC and CAF, boxes of MP4, granules of Ogg."""
    if data.startswith(b"fLaC"):  # 36 bits of samples, of which MD5 follows
        data[21] |= 0x0F
        data[22:26] = int(rng.choice(HUGE)).to_bytes(4, "big")
        return bytes(data)
    if data.startswith(b"OggS"):
        pages = [at for at in range(len(data) - 14) if data[at : at + 4] == b"OggS"]
        last = pages[-1] + 6  # the granule position: samples so far
        data[last : last + 8] = int(rng.integers(2**31, 2**62)).to_bytes(8, "little")
        return bytes(data)
    found = [data.find(mark) for mark in DURATIONS]
    known = [at for at in found if at >= 0] or [int(rng.integers(0, min(64, len(data) - 12)))]
    at = int(rng.choice(known)) + 4 + 4 * int(rng.integers(0, 5))
    data[at : at + 4] = int(rng.choice(HUGE)).to_bytes(4, ("big", "little")[rng.integers(0, 2)])
    return bytes(data)


def _spliced(data: bytearray, rng: Generator) -> bytes:
    """The beginning of one recording and the end of another, of any format."""
    whole = sources()
    other = whole[rng.integers(0, len(whole))].data
    start, end = int(rng.integers(1, len(data))), int(rng.integers(0, len(other)))
    return bytes(data[:start]) + other[end:]


def _block_repeated(data: bytearray, rng: Generator) -> bytes:
    start, end = sorted(rng.integers(0, len(data), 2).tolist())
    return bytes(data[:end]) + bytes(data[start:end]) * int(rng.integers(1, 4)) + bytes(data[end:])


def _block_removed(data: bytearray, rng: Generator) -> bytes:
    start, end = sorted(rng.integers(0, len(data), 2).tolist())
    return bytes(data[:start] + data[end:])


def _tail_added(data: bytearray, rng: Generator) -> bytes:
    return bytes(data) + rng.bytes(int(rng.integers(1, 5_000)))


def _odd_rate(_: bytearray, rng: Generator) -> bytes:
    """A WAV whose header says a rate that it was not recorded at, or FLAC that was written at an odd one."""
    rate = int(rng.choice(ODD_RATES))
    if 1 <= rate <= 655_350 and rng.integers(0, 2):
        return _by_libsndfile(voice(0.3), rate, "FLAC")
    written = bytearray(_by_libsndfile(voice(0.3), RATE))
    written[24:28] = rate.to_bytes(4, "little")
    return bytes(written)


def _odd_channels(_: bytearray, rng: Generator) -> bytes:
    """A WAV of many channels, or one whose header says more than there are."""
    n_channels = int(rng.choice(ODD_CHANNELS))
    if 1 <= n_channels <= 1_024 and rng.integers(0, 2):
        return _by_libsndfile(voice(0.2, 8_000, n_channels), 8_000)
    written = bytearray(_by_libsndfile(voice(0.3), RATE))
    written[22:24] = n_channels.to_bytes(2, "little")
    if rng.integers(0, 2):
        written[32:34] = (2 * n_channels & 0xFFFF).to_bytes(2, "little")
    return bytes(written)


def _samples_stuck(_: bytearray, rng: Generator) -> bytes:
    """A recorder that hung: the same sample over and over, at any level, up to full scale."""
    samples = voice()
    start, n = int(rng.integers(0, len(samples))), int(rng.integers(100, len(samples)))
    samples[start : start + n] = rng.choice([-1.0, 1.0, 0.0, samples[start, 0]])
    return _by_libsndfile(samples, RATE, subtype="FLOAT")


def _samples_beyond_scale(_: bytearray, rng: Generator) -> bytes:
    """Exponents that lost a bit: a few samples, or all, up to the largest that float32 holds."""
    samples = voice()
    where = rng.integers(0, len(samples), rng.integers(1, 50)) if rng.integers(0, 2) else slice(None)
    samples[where] *= np.float32(10.0 ** rng.integers(1, 39))
    return _by_libsndfile(samples, RATE, subtype="FLOAT")


def _unlike_its_name(data: bytearray, rng: Generator) -> bytes:
    return bytes(data)  # `damaged` gives it another extension


MUTATIONS: dict[str, Mutation] = {
    "truncated": _truncated,
    "truncated in its head": _truncated_head,
    "bits flipped": _bits_flipped,
    "bits of its head flipped": _header_bits_flipped,
    "bytes of its head drawn": _header_bytes_drawn,
    "zeros inside": _zeros_inside,
    "nothing but zeros": _nothing_but_zeros,
    "ones inside": _ones_inside,
    "nothing but chance": _nothing_but_chance,
    "another header": _another_header,
    "huge sizes": _huge_sizes,
    "huge sizes of chunks": _huge_sizes_of_chunks,
    "huge durations": _huge_durations,
    "spliced": _spliced,
    "block repeated": _block_repeated,
    "block removed": _block_removed,
    "tail added": _tail_added,
    "odd rate": _odd_rate,
    "odd channels": _odd_channels,
    "samples stuck": _samples_stuck,
    "samples beyond scale": _samples_beyond_scale,
    "unlike its name": _unlike_its_name,
}


def damaged(folder: Path, n_files: int, seed: int = 0) -> dict[str, str]:
    """Write damaged recordings: every mutation in turn, of sources drawn.

    Returns:
        The mutation of each file, by its path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = sources()
    made = {}
    for number in range(n_files):
        rng = np.random.default_rng([seed, number])
        mutation = list(MUTATIONS)[number % len(MUTATIONS)]
        source = whole[rng.integers(0, len(whole))]
        extension = source.extension
        if mutation.startswith(("odd ", "samples ")):  # made anew, as WAV or FLAC
            extension = "wav"
        elif mutation == "unlike its name":
            extension = EXTENSIONS[rng.integers(0, len(EXTENSIONS))]
        data = MUTATIONS[mutation](bytearray(source.data), rng)
        if mutation == "odd rate" and data.startswith(b"fLaC"):
            extension = "flac"
        path = folder / f"{number:05d}{'.' if extension else ''}{extension}"
        path.write_bytes(data)
        made[str(path)] = mutation
    return made


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        path: Of the file.
        emotion: The answer, or with the decoder alone a hash of the samples; None without one.
        reason: Why there is none; ``crash`` or ``hang`` where that is the process's end.
        seconds: That it took.
        mebibytes: The most memory that the process had held by then.
    """

    path: str
    emotion: str | None
    reason: str | None
    seconds: float
    mebibytes: int

    @property
    def is_sound(self) -> bool:
        """Whether there is an answer, or a reason why there is none."""
        return (self.emotion is None) != (self.reason is None) and self.reason not in ("crash", "hang")


Ask = Callable[[str], tuple[str | None, str | None]]  # of a path: the answer, and why there is none


def asked_of_model() -> Ask:
    """Load the model that ships, and ask it."""
    model = EmotionModel.from_pretrained()

    def ask(path: str) -> tuple[str | None, str | None]:
        [answer] = model.answers([Recording(path, path)])
        if answer.error is not None:
            return None, answer.error.reason
        if answer.probabilities is None or abs(answer.probabilities.sum() - 1) > 1e-6:
            return None, None
        return model.classes[int(answer.probabilities.argmax())], None

    return ask


def asked_of_decoder() -> Ask:
    """Decode in every way that the package does, and tell what all of them say."""

    def from_bytes(path: str) -> npt.NDArray[np.float32]:
        # With the name, by which a file that has another format than it says is known.
        return read_audio({"bytes": Path(path).read_bytes(), "path": path})

    def in_blocks(path: str) -> npt.NDArray[np.float32]:
        return np.concatenate(list(read_blocks(path, block_seconds=0.25)))

    def ask(path: str) -> tuple[str | None, str | None]:
        said: set[tuple[str | None, str | None]] = set()
        for read in (read_audio, from_bytes, in_blocks):
            try:
                waveform = read(path)
            except AudioError as error:
                said.add((None, error.reason))
            else:
                is_sound = len(waveform) and waveform.dtype == np.float32 and np.isfinite(waveform).all()
                told = xxhash.xxh3_64_hexdigest(waveform.tobytes()) if is_sound else None
                said.add((told, None))
        with suppress(AudioError):
            duration_seconds(path)
        return said.pop() if len(said) == 1 else (None, None)

    return ask


def serve(mebibytes: int, decoder: bool) -> None:
    """Answer the paths on standard input one by one, with so much more address space and no more."""
    ask = asked_of_decoder() if decoder else asked_of_model()
    with tempfile.TemporaryDirectory() as folder:
        for number, source in enumerate(sources()):  # so that all that whole files need is loaded
            path = Path(folder, f"{number}.{source.extension}")
            path.write_bytes(source.data)
            answer, reason = ask(str(path))
            if answer is None:
                raise RuntimeError(f"{source.format}, which is whole, is not answered: {reason}")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + mebibytes * 2**20,) * 2)
    print(taken, flush=True)
    for line in sys.stdin:
        path_ = json.loads(line)
        start = perf_counter()
        emotion, reason = ask(path_)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(asdict(Outcome(path_, emotion, reason, perf_counter() - start, most))), flush=True)


class Server:
    """A process that answers files, and another one when that ends."""

    def __init__(self, mebibytes: int, decoder: bool = False) -> None:
        self._command = [sys.executable, __file__, "--serve", str(mebibytes), *["--decoder"] * decoder]
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.n_bytes_at_start = int(self._line(600.0) or 0)
        if not self.n_bytes_at_start:
            raise RuntimeError("the process that answers files does not start")

    def _line(self, seconds: float) -> str | None:
        """The next line of the process: empty where it has ended, None where none comes in time."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline() if ready else None

    def ask(self, path: str, seconds: float) -> Outcome:
        """Let the process answer a file within so many seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(path) + "\n")
        line = self._line(seconds)
        if line:
            return Outcome(**json.loads(line))
        self.close()
        self._start()
        return Outcome(path, None, "hang" if line is None else "crash", seconds, 0)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def one_by_one(
    paths: Sequence[str], seconds: float, mebibytes: int, *, decoder: bool = False
) -> tuple[list[Outcome], int]:
    """Let each file be answered alone; also tell the address space of the process before the first."""
    server = Server(mebibytes, decoder)
    try:
        return [server.ask(path, seconds) for path in paths], server.n_bytes_at_start
    finally:
        server.close()


def by_command(folder: Path, out: Path, n_bytes: int, seconds: float) -> dict[str, dict[str, str]] | None:
    """Let the command answer all files; give its rows by path, or None where it does not come to its end."""
    command = [
        sys.executable,
        "-m",
        "ser_transfer.predict",
        str(folder),
        "--out",
        str(out),
        "--n-workers",
        "1",
    ]
    limit = (resource.RLIMIT_AS, (n_bytes, n_bytes))
    try:
        done = subprocess.run(command, timeout=seconds, preexec_fn=lambda: resource.setrlimit(*limit))
    except subprocess.TimeoutExpired:
        return None
    if done.returncode not in (0, 1) or not out.is_file():
        return None
    with out.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def table(outcomes: Sequence[Outcome], made: Mapping[str, str]) -> str:
    """Lay out what became of the files of each mutation."""
    counts = {mutation: Counter[str]() for mutation in MUTATIONS}
    for outcome in outcomes:
        counts[made[outcome.path]][outcome.reason or ("answered" if outcome.emotion else "neither")] += 1
    total = sum(counts.values(), Counter[str]())
    names = [name for name, _ in total.most_common()]
    rows = [["mutation", "files", *names]]
    for mutation, count in [*counts.items(), ("all", total)]:
        rows.append([mutation, str(count.total()), *(str(count[name] or "") for name in names)])
    return text_table(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000, help="damaged files (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--seconds", type=float, default=20.0, help="per file, before it hangs (default: 20)")
    parser.add_argument("--mebibytes", type=int, default=512, help="of address space on top (default: 512)")
    parser.add_argument("--keep", type=Path, help="folder to leave the files in, which must not be there yet")
    parser.add_argument("--decoder", action="store_true", help="the decoder alone: no model, no command")
    parser.add_argument("--serve", type=int, metavar="MEBIBYTES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.decoder)
        return 0
    with tempfile.TemporaryDirectory(prefix="damaged-") as temporary:
        folder = options.keep or Path(temporary, "files")
        made = damaged(folder, options.files, options.seed)
        outcomes, n_bytes = one_by_one(
            list(made), options.seconds, options.mebibytes, decoder=options.decoder
        )
        print(table(outcomes, made))
        times = np.array([outcome.seconds for outcome in outcomes])
        most = max(outcome.mebibytes for outcome in outcomes)
        print(
            f"\n{len(outcomes)} files: median {np.median(times):.3f} s, 99 % within "
            f"{np.quantile(times, 0.99):.3f} s, the slowest {times.max():.3f} s; peak memory {most} MiB, "
            f"with {options.mebibytes} MiB of address space on top of what whole files take"
        )
        for slow in sorted(outcomes, key=lambda outcome: -outcome.seconds)[:3]:
            name, size = Path(slow.path).name, Path(slow.path).stat().st_size
            told = slow.reason or "answered"
            print(f"slow: {name} ({made[slow.path]}, {size} bytes): {slow.seconds:.3f} s, {told}")
        bad = [outcome for outcome in outcomes if not outcome.is_sound]
        for outcome in bad:
            print(f"{outcome.reason or 'neither'}: {outcome.path} ({made[outcome.path]})")
        if options.decoder:
            return 1 if bad else 0
        n_bytes += options.mebibytes * 2**20
        start = perf_counter()
        rows = by_command(folder, Path(temporary, "r.csv"), n_bytes, 60 + options.seconds * options.files)
        if rows is None:
            print("the command did not come to its end")
            return 1
        print(f"the command: {len(rows)} rows in {perf_counter() - start:.1f} s, start included")
        found = {outcome.path: outcome for outcome in outcomes}
        known = [path for path, mutation in made.items() if path in rows]
        wrong = [path for path in known if not _agrees(rows[path], found[path])]
        unfound = len(made) - len(known)
        print(f"not found in the folder, for want of an extension of sound: {unfound}")
        print(f"answered otherwise than alone: {len(wrong)}")
        for path in wrong[:10]:
            print(f"{path}: {found[path]}, {rows[path]}")
        return 1 if bad or wrong else 0


def _agrees(row: Mapping[str, str], outcome: Outcome) -> bool:
    """Whether the command says of a file what was said of it alone."""
    reason = row["error"].split(": ")[0] or None
    return (row["emotion"] or None, reason) == (outcome.emotion, outcome.reason)


if __name__ == "__main__":
    sys.exit(main())
