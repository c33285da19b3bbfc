"""Which frames of a clip are hidden, and what a prediction is told apart from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ser_transfer.finetuning.errors import FinetuneError

Mask = npt.NDArray[np.bool_]

# Two masked frames at least, so that each has another to be told apart from, and one that is left to see.
MIN_FRAMES = 3
_MIN_SPANS = 2  # as in transformers' configs: one span of a short clip would often be all there is


def check_masking(share: float, span: int) -> None:
    """Refuse a masking that hides nothing, or cannot be drawn.

    Raises:
        FinetuneError: If the share is not between 0 and 1, or a span has no frame.
    """
    if not 0 < share <= 1:
        raise FinetuneError(f"mask_share is {share:g}: give a share above 0, up to 1")
    if span < 1:
        raise FinetuneError(f"mask_frames is {span}: give a whole number from 1 on")


def draw_mask(n_frames: int, share: float, span: int, rng: np.random.Generator) -> Mask:
    """Draw the masked frames of one clip.

    As in transformers' ``_compute_mask_indices``, for one clip: share * n_frames / span spans begin at frames
    drawn without replacement, the number rounded up or down at random; they may overlap. But the generator is
    the caller's, so that a clip's mask hangs on nothing but the clip and the epoch, and a clip shorter than
    three spans gets shorter ones: none is hidden whole, and two frames always are.

    Args:
        n_frames: Of the clip, without padding; `MIN_FRAMES` or more.
        share: Of frames in spans, were there no overlaps.
        span: Frames of a span.
        rng: To draw from.

    Returns:
        True where masked, of shape (n_frames,).
    """
    span = min(span, n_frames // MIN_FRAMES)
    n_spans = int(share * n_frames / span + rng.random())
    n_spans = max(_MIN_SPANS, min(n_spans, (n_frames - 1) // span))
    starts = rng.choice(n_frames - span + 1, n_spans, replace=False)
    mask = np.zeros(n_frames, bool)
    mask[(starts[:, np.newaxis] + np.arange(span)).ravel()] = True
    return mask


def draw_negatives(n_masked: int, n_negatives: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw, for each masked frame of a clip, other masked frames of the same clip, with replacement.

    Args:
        n_masked: Masked frames, 2 or more.
        n_negatives: Draws for each.
        rng: To draw from.

    Returns:
        Numbers of masked frames, counted in the order of time, of shape (n_masked, n_negatives); in row i
        never i.
    """
    drawn = rng.integers(n_masked - 1, size=(n_masked, n_negatives))
    return drawn + (drawn >= np.arange(n_masked)[:, np.newaxis])
