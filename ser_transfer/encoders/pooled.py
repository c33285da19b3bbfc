"""Recordings in, one pooled vector per layer (or its frames) out: decoding, batching, spreading over cores.

On a GPU a torch encoder runs batch after batch, while threads decode ahead; on a CPU it runs one recording
per core. A NumPy encoder is spread over processes. In every case memory does not grow with the corpus.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer._interrupts import starting_workers
from ser_transfer.audio import AudioError, held, read_audio, refuse_changed
from ser_transfer.encoders.base import Encoder, HiddenStates, Waveform
from ser_transfer.encoders.streams import ahead, chunks

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_SECONDS = 600.0  # of decoded audio sorted into batches at a time: 38 MB at 16 kHz
CHUNK = 16  # recordings that one process takes at a time: about 0.2 s of handcrafted features
FEW = 2 * CHUNK  # below this, starting processes (about 3 s each) costs more than it gains
GPU_BATCH_SECONDS = 160.0  # of padded audio in one batch; a guess, not yet measured on a GPU


@dataclass(frozen=True)
class Recording:
    """One thing to encode: where the audio is, and the name its embedding is kept under.

    Attributes:
        key: The audio's content and segment, from `ser_transfer.audio.audio_key`; a copy has its own.
        source: A path, bytes, or the row's ``{"bytes", "path"}``.
        start_seconds: Start of the segment, or None for the start of the file.
        end_seconds: End of the segment, or None for the end of the file.
        augment: For an augmented copy, what makes it of the waveform and its sampling rate:
            `ser_transfer.augment.AugmentedCopy`, which carries its spec, number and seed. It is pickled.
        content: The audio key that the source and segment had when they were listed: a file that has another
            once it is decoded is refused. None looks at nothing.
    """

    key: str
    source: Any
    start_seconds: float | None = None
    end_seconds: float | None = None
    augment: Callable[[Waveform, int], Waveform] | None = None
    content: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each recording's hidden states.

    Attributes:
        pooling: A name in `ser_transfer.pooling.POOLINGS`, for all layers; None for no pooled vectors.
        frame_layers: Names of the layers whose valid frames are wanted as they are.
    """

    pooling: str | None
    frame_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pooled:
    """The embedding of one recording, or why there is none.

    Attributes:
        recording: What was asked for.
        seconds: Duration of the decoded audio.
        layers: One float32 vector per layer; empty where none is wanted, or `error` is set.
        error: Why the audio could not be used, or None.
        frames: For each layer whose frames are wanted a float32 array of shape (frames, dim).
    """

    recording: Recording
    seconds: float
    layers: tuple[npt.NDArray[np.float32], ...]
    error: AudioError | None = None
    frames: tuple[npt.NDArray[np.float32], ...] = ()


def encode_pooled(
    recordings: Iterable[Recording],
    encoder: Encoder,
    pooling: str | None,
    *,
    frame_layers: Sequence[str] = (),
    batch_seconds: float | None = None,
    n_workers: int | None = None,
) -> Iterator[Pooled]:
    """Encode recordings and pool every layer, keep frames, or both in one pass, yielding each as it is done.

    Args:
        recordings: What to encode. Neighbours of like length make the best batches on a GPU.
        encoder: From `ser_transfer.encoders.load_encoder`.
        pooling: A name in `ser_transfer.pooling.POOLINGS`; None to pool nothing.
        frame_layers: Names of the layers whose valid frames are wanted as well.
        batch_seconds: Padded audio per batch; 0 encodes each recording alone. None takes what is
            quickest: alone on a CPU, where padding costs more than batching gains, and
            `GPU_BATCH_SECONDS` on a GPU.
        n_workers: Recordings encoded at once on a CPU (in threads, or in processes for a NumPy encoder), or
            decoding threads where a GPU encodes; None for one per core.

    Yields:
        One `Pooled` per recording, not in the order given. A file that cannot be used is yielded
        with its error: stopping or going on is the caller's choice.
    """
    n_workers = n_workers or os.cpu_count() or 1
    wanted = Wanted(pooling, tuple(frame_layers))
    if encoder.runs_on == "processes":
        yield from _over_processes(recordings, encoder, wanted, n_workers)
    else:
        yield from _on_device(recordings, encoder, wanted, batch_seconds, n_workers)


def encode_waveforms(
    waveforms: Sequence[Waveform], encoder: Encoder, pooling: str | None, *, frame_layers: Sequence[str] = ()
) -> list[Pooled]:
    """Encode what lies in memory already and pool every layer, keep frames, or both.

    Args:
        waveforms: Mono float32 arrays of shape (samples,) at the encoder's rate.
        encoder: From `ser_transfer.encoders.load_encoder`.
        pooling: A name in `ser_transfer.pooling.POOLINGS`; None to pool nothing.
        frame_layers: Names of the layers whose valid frames are wanted as well.

    Returns:
        One `Pooled` per waveform, in the order given, its recording named by its number.

    Raises:
        EncoderError: If a waveform is shorter than the encoder's `min_seconds`.
    """
    wanted = Wanted(pooling, tuple(frame_layers))
    items = [(Recording(str(number), None), waveform) for number, waveform in enumerate(waveforms)]
    if encoder.on_accelerator:
        max_samples = int(GPU_BATCH_SECONDS * encoder.sampling_rate)
        done = [pooled for batch in _batches(items, max_samples) for pooled in _pool(batch, encoder, wanted)]
        return sorted(done, key=lambda pooled: int(pooled.recording.key))
    if encoder.runs_on == "device":
        return [pooled for item in items for pooled in _pool([item], encoder, wanted)]
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return [pooled for item in items for pooled in _pool([item], encoder, wanted)]


def _decode(recording: Recording, encoder: Encoder) -> Waveform | AudioError:
    segment = {"start_seconds": recording.start_seconds, "end_seconds": recording.end_seconds}
    try:
        source = held(recording.source)
        waveform = read_audio(source, encoder.sampling_rate, **segment, min_seconds=encoder.min_seconds)
        if recording.content is not None:
            refuse_changed(source, recording.content, **segment)
        return waveform if recording.augment is None else _augmented(recording, waveform, encoder)
    except AudioError as error:
        return error


def _augmented(recording: Recording, waveform: Waveform, encoder: Encoder) -> Waveform:
    assert recording.augment is not None
    copy = recording.augment(waveform, encoder.sampling_rate)
    seconds = len(copy) / encoder.sampling_rate
    if seconds < encoder.min_seconds:
        source = recording.source
        path = source.get("path") if isinstance(source, Mapping) else source
        name = "<bytes>" if path is None or isinstance(path, bytes) else str(path)
        found = (
            f"its augmented copy lasts {seconds:.3f} s, and {encoder.name} needs {encoder.min_seconds:.3f} s"
        )
        raise AudioError("too_short", name, f"{found}; crop to more, or speed it up less")
    return copy


def _pool(batch: Sequence[tuple[Recording, Waveform]], encoder: Encoder, wanted: Wanted) -> list[Pooled]:
    """Encode one batch in one pass, pool every layer, and take the frames that are wanted."""
    import torch

    with torch.inference_mode():
        states = encoder.encode([waveform for _, waveform in batch])
        layers = [vector.float().cpu().numpy() for vector in _vectors(states, encoder, wanted.pooling)]
        frames = [_valid_frames(states, encoder.layer_names.index(name)) for name in wanted.frame_layers]
    return [
        Pooled(
            recording,
            len(waveform) / encoder.sampling_rate,
            tuple(layer[row] for layer in layers),
            frames=tuple(layer[row] for layer in frames),
        )
        for row, (recording, waveform) in enumerate(batch)
    ]


def _vectors(states: HiddenStates, encoder: Encoder, pooling: str | None) -> list[Tensor]:
    """Pool every layer, to one tensor of shape (batch, pooled dim) each."""
    from ser_transfer.pooling import POOLINGS, pool_side_by_side

    if pooling is None:
        return []
    if encoder.runs_on == "processes":  # narrow layers: one call for several costs less than their copy
        return pool_side_by_side(pooling, states.layers, states.frame_masks)
    return list(map(POOLINGS[pooling], states.layers, states.frame_masks))


def _valid_frames(states: HiddenStates, layer: int) -> list[npt.NDArray[np.float32]]:
    """Copy the frames of real audio out of a layer, as one array of shape (frames, dim) per row."""
    rows = zip(states.layers[layer], states.frame_masks[layer], strict=True)
    return [frames[mask].float().cpu().numpy() for frames, mask in rows]


def _on_device(
    recordings: Iterable[Recording],
    encoder: Encoder,
    wanted: Wanted,
    batch_seconds: float | None,
    n_threads: int,
) -> Iterator[Pooled]:
    if batch_seconds is None:
        batch_seconds = GPU_BATCH_SECONDS if encoder.on_accelerator else 0.0
    if batch_seconds == 0 and not encoder.on_accelerator:
        yield from _each_alone(recordings, encoder, wanted, n_threads)
        return
    max_samples = int(batch_seconds * encoder.sampling_rate)
    window: list[tuple[Recording, Waveform]] = []
    window_samples = 0
    decoded = ahead(recordings, lambda recording: (recording, _decode(recording, encoder)), n_threads)
    for recording, waveform in decoded:
        if isinstance(waveform, AudioError):
            yield Pooled(recording, 0.0, (), waveform)
            continue
        window.append((recording, waveform))
        window_samples += len(waveform)
        if max_samples == 0 or window_samples >= WINDOW_SECONDS * encoder.sampling_rate:
            for batch in _batches(window, max_samples):
                yield from _pool(batch, encoder, wanted)
            window, window_samples = [], 0
    for batch in _batches(window, max_samples):
        yield from _pool(batch, encoder, wanted)


def _each_alone(
    recordings: Iterable[Recording], encoder: Encoder, wanted: Wanted, n_threads: int
) -> Iterator[Pooled]:
    """Encode as many recordings at once as there are cores, each on one core.

    Sharing each matrix product between the cores instead is slower, most of all where products are small,
    as in YAMNet; and the sums would depend on the number of cores.
    """
    import torch

    n_threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        iterator = iter(recordings)
        for recording in iterator:  # the first encode reads the weights: not in two threads at once
            [pooled] = _encode_chunk([recording], encoder, wanted)
            yield pooled
            if pooled.error is None:
                break
        done = ahead(iterator, lambda recording: list(_encode_chunk([recording], encoder, wanted)), n_threads)
        yield from itertools.chain.from_iterable(done)
    finally:
        torch.set_num_threads(n_threads_before)


def _batches(
    window: list[tuple[Recording, Waveform]], max_samples: int
) -> Iterator[list[tuple[Recording, Waveform]]]:
    """Cut a window into batches of like lengths, each at most `max_samples` with its padding."""
    batch: list[tuple[Recording, Waveform]] = []
    for item in sorted(window, key=lambda item: len(item[1])):  # ascending: the newest is the longest
        if batch and (len(batch) + 1) * len(item[1]) > max_samples:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _over_processes(
    recordings: Iterable[Recording], encoder: Encoder, wanted: Wanted, n_processes: int
) -> Iterator[Pooled]:
    from joblib import Parallel, delayed

    iterator = iter(recordings)
    first = list(itertools.islice(iterator, FEW))
    shares = chunks(itertools.chain(first, iterator), CHUNK)
    if n_processes == 1 or len(first) < FEW:
        for chunk in shares:
            yield from _on_one_thread(chunk, encoder, wanted)
        return
    encode_noise(encoder, wanted.pooling)
    # batch_size: left to itself, joblib hands many chunks to one process while the others wait.
    parallel = Parallel(
        n_jobs=n_processes, batch_size=1, return_as="generator_unordered", pre_dispatch="2*n_jobs"
    )
    with starting_workers():
        all_done = parallel(delayed(_on_one_thread)(chunk, encoder, wanted) for chunk in shares)
    for done in all_done:
        yield from done


def encode_noise(encoder: Encoder, pooling: str | None = None) -> None:
    """Encode something before other processes do, and so read the weights.

    Numba compiles functions of librosa at their first use and keeps them in files. Processes that read what
    another is just writing there have crashed; so they find it whole.
    """
    n_samples = int(max(1.0, encoder.min_seconds) * encoder.sampling_rate)
    noise = np.random.default_rng(0).normal(0.0, 0.1, n_samples).astype(np.float32)
    encode_waveforms([noise], encoder, pooling)


def _on_one_thread(chunk: Sequence[Recording], encoder: Encoder, wanted: Wanted) -> list[Pooled]:
    """What one process does with its share: the matrices of a clip are too small for BLAS to spread."""
    import torch  # noqa: F401 - only the threads of what is loaded are limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return list(_encode_chunk(chunk, encoder, wanted))


def _encode_chunk(chunk: Sequence[Recording], encoder: Encoder, wanted: Wanted) -> Iterator[Pooled]:
    for recording in chunk:
        waveform = _decode(recording, encoder)
        if isinstance(waveform, AudioError):
            yield Pooled(recording, 0.0, (), waveform)
        else:
            yield from _pool([(recording, waveform)], encoder, wanted)
