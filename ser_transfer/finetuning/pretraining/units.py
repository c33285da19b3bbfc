"""Hidden units: the clusters that the frames of one of the encoder's own layers fall into."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders import Encoder
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.pretraining.clips import Units
from ser_transfer.finetuning.recordings import Clips
from ser_transfer.store.disk import write_whole
from ser_transfer.store.errors import explaining

if TYPE_CHECKING:
    from sklearn.cluster import MiniBatchKMeans

# Frames that clusters are fitted on at most: 300 MB of 768 features, 1000 for each of 100 units.
MAX_FRAMES = 100_000
UNITS = "units.npz"

FramesOf = Iterator[tuple[str, npt.NDArray[np.float32]]]


def half_way_up(encoder: Encoder) -> str:
    """Name the middle layer: the sixth of twelve, which the published second iteration clustered."""
    return encoder.layer_names[(len(encoder.layer_names) - 1) // 2]


def hidden_units(
    encoder: Encoder,
    fitted_on: Clips,
    more: Clips | None,
    *,
    layer: str | None,
    n_units: int,
    seed: int,
    batch: int = 1,
    on_clips: Callable[[int, int], None] = lambda n_clips, n_all: None,
) -> Units:
    """Cluster the frames of some recordings, and find the cluster of every frame of those and of others.

    The recordings are encoded twice, so that memory does not grow with the corpus.

    Args:
        encoder: Frozen.
        fitted_on: The training recordings: clusters are found among their frames alone.
        more: Recordings that are given units too; None for no more.
        layer: Which; None for `half_way_up`.
        n_units: Clusters.
        seed: Of the frames that are fitted on, and of the clustering.
        batch: Clips that are encoded at once.
        on_clips: Called after each batch, with its clips and how many there are in all.

    Raises:
        FinetuneError: If there is no such layer, or there are fewer frames than clusters.
    """
    layer = layer or half_way_up(encoder)
    if layer not in encoder.layer_names:
        raise FinetuneError(
            f"{encoder.name} has no layer {layer!r}: --unit-layer is one of {', '.join(encoder.layer_names)}"
        )
    number = encoder.layer_names.index(layer)
    sides = [fitted_on, *([] if more is None else [more])]
    n_all = len(fitted_on) + sum(len(side) for side in sides)

    def frames_of(clips: Clips) -> FramesOf:
        for rows in _batches(clips, batch):
            states = encoder.encode([clips.waveform(row) for row in rows])
            layers, masks = states.layers[number], states.frame_masks[number]
            for row, frames, mask in zip(rows, layers, masks, strict=True):
                yield clips.ids[row], frames[mask].cpu().numpy()
            on_clips(len(rows), n_all)

    share = MAX_FRAMES / max(1.0, float(fitted_on.seconds.sum()) * encoder.frame_rate)
    sample = np.concatenate([_some(frames, share, seed, id_) for id_, frames in frames_of(fitted_on)])
    if len(sample) < n_units:
        raise FinetuneError(
            f"{n_units} hidden units cannot be found among {len(sample)} frames: lower --n-units"
        )
    clusters = _clusters(sample, n_units, seed)
    return Units(
        {
            id_: np.asarray(clusters.predict(frames), np.int16 if n_units < 2**15 else np.int32)
            for side in sides
            for id_, frames in frames_of(side)
        }
    )


def keep_units(folder: Path, units: Units, content: object) -> None:
    """Write units whole or not at all, with all that they follow from.

    Raises:
        StoreError: If the folder cannot be written.
    """
    ids = list(units.by_id)
    arrays = {
        "key": np.array(_key(content)),
        "ids": np.array(ids),
        "n_frames": np.array([len(units.by_id[id_]) for id_ in ids]),
        "units": np.concatenate([units.by_id[id_] for id_ in ids]),
    }

    def fill(file: BinaryIO) -> None:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for allow_pickle

    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder, fill, lambda _: UNITS)


def kept_units(folder: Path, content: object) -> Units | None:
    """Read units that follow from the same; None where there are none."""
    try:
        with np.load(folder / UNITS, allow_pickle=False) as kept:
            if str(kept["key"]) != _key(content):
                return None
            edges = np.cumsum(kept["n_frames"])[:-1]
            parts = np.split(kept["units"], edges)
            return Units(dict(zip(kept["ids"].tolist(), parts, strict=True)))
    except FileNotFoundError:
        return None


def _key(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _batches(clips: Clips, batch: int) -> Iterator[Sequence[int]]:
    """Give rows of like length together."""
    rows = np.argsort(-clips.seconds, kind="stable").tolist()
    for start in range(0, len(rows), batch):
        yield rows[start : start + batch]


def _some(frames: npt.NDArray[np.float32], share: float, seed: int, id_: str) -> npt.NDArray[np.float32]:
    """Draw a share of a clip's frames."""
    if share >= 1:
        return frames
    digest = hashlib.sha256(f"{seed} {id_}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    return frames[rng.random(len(frames)) < share]


def _clusters(sample: npt.NDArray[np.float32], n_units: int, seed: int) -> MiniBatchKMeans:
    """Fit with the settings of the published code (fairseq's learn_kmeans.py)."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    # Threads would add up distances in another order each time, and by that stop early or late.
    with threadpool_limits(1):
        return MiniBatchKMeans(
            n_units,
            batch_size=10_000,
            max_iter=100,
            n_init=20,
            tol=0.0,
            max_no_improvement=100,
            reassignment_ratio=0.0,
            random_state=seed,
        ).fit(sample)
