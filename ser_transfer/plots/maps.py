"""A map of embeddings: do neighbours share the feeling, or the speaker?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice, product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.labels import EMOTIONS
from ser_transfer.plots.style import (
    FAINT,
    GREY,
    MARKERS,
    PALETTE,
    PlotError,
    SeriesStyle,
    new_figure,
    series_styles,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_COMPONENTS = 50  # before t-SNE, as van der Maaten & Hinton 2008 do: it suppresses noise and is faster
PERPLEXITY = 30.0  # neighbours that count, scikit-learn's default; less where there are few rows
MIN_ROWS = 8  # fewer have no neighbourhoods to keep; they are laid out by PCA alone
MAX_VECTOR_POINTS = 400  # more are drawn as pixels, or an SVG grows beyond what a page should carry
MAX_LISTED = 24  # speakers that a legend lists


def map_of(features: npt.NDArray[np.floating], *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Lay embeddings out in the plane so that neighbours stay neighbours.

    Features are standardised, reduced to 50 principal components, and laid out by t-SNE. Distances within
    the map's clumps mean something; sizes of clumps and distances between them do not. The time grows
    faster than the rows: about 2000 take 10 to 20 seconds on a core, so draw a sample of a larger corpus
    first, stratified by emotion and speaker.

    Args:
        features: Of shape (n, dim).
        seed: Of the layout; the same seed gives the same map.

    Returns:
        Float64 array of shape (n, 2), without unit. Fewer than 8 rows lie on their first two principal
        components, identical rows all on the origin.

    Raises:
        PlotError: If there is no row, or a feature is not finite.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    if features.ndim != 2 or not features.size:
        raise PlotError(
            f"a map wants features of shape (rows, dim), one of each at least, not {features.shape}"
        )
    if not np.isfinite(features).all():
        n_wrong = int((~np.isfinite(features)).any(axis=1).sum())
        raise PlotError(
            f"{n_wrong} of {len(features)} rows are not finite; look at the encoder that gave them"
        )
    varied = features[:, np.ptp(features, axis=0) > 0].astype(np.float64)
    if not varied.size:
        return np.zeros((len(features), 2))
    standardised = StandardScaler().fit_transform(varied)
    n_components = min(N_COMPONENTS, *varied.shape)
    components = PCA(n_components, random_state=seed).fit_transform(standardised)
    if n_components < 2:
        components = np.column_stack([components, np.zeros(len(components))])
    if len(features) < MIN_ROWS:
        return np.asarray(components[:, :2], np.float64)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(components)
    return np.asarray(layout, np.float64)


def map_figure(
    points: npt.NDArray[np.float64],
    emotions: Sequence[str],
    speakers: Sequence[str | None],
    title: str,
) -> Figure:
    """Draw one map twice, coloured by emotion and by speaker.

    Where the left one shows clumps of one colour, the encoder hears the feeling; where the right one does,
    the person.

    Args:
        points: Of shape (n, 2), from `map_of`.
        emotions: Emotion per row.
        speakers: Speaker per row; None, where it is unknown, is grey.
        title: Which encoder and layer, on what, with n.

    Raises:
        PlotError: If sizes differ, or there is no row.
    """
    if not len(points) or points.shape != (len(emotions), 2) or len(speakers) != len(emotions):
        raise PlotError(
            "a map wants a point of two numbers, an emotion and a speaker per row, one row at least, not "
            f"{points.shape}, {len(emotions)} and {len(speakers)}"
        )
    figure = new_figure(width=11.0, height=6.0)
    left, right = figure.subplots(1, 2)
    known = [emotion for emotion in EMOTIONS if emotion in emotions]
    known += sorted(set(emotions) - set(known))
    _scatter(left, points, emotions, dict(zip(known, series_styles(len(known)), strict=True)))
    left.set_title("by emotion", fontsize=10, loc="left")
    people = sorted({speaker for speaker in speakers if speaker is not None})
    _scatter(right, points, speakers, dict(zip(people, _many_styles(len(people)), strict=True)))
    right.set_title(f"by speaker (n = {len(people)})", fontsize=10, loc="left")
    set_title(figure, title)
    return figure


def _many_styles(n: int) -> list[SeriesStyle]:
    """Return n styles, one colour after the other with each marker: 88 that differ."""
    looks = cycle(SeriesStyle(colour, marker, "-") for marker, colour in product(MARKERS, PALETTE))
    return list(islice(looks, n))


def _scatter(
    axes: Axes,
    points: npt.NDArray[np.float64],
    names: Sequence[str | None],
    styles: dict[str, SeriesStyle],
) -> None:
    """Draw each name's points; a legend lists them below where they are few enough to look up."""
    area = np.clip(30_000 / len(points), 20, 60)  # square points: of many, each has less room
    owners = np.array(names, dtype=object)
    unknown = {None: SeriesStyle(GREY, ".", "-")} if None in names else {}
    for name, style in (styles | unknown).items():
        mine = points[owners == name]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=area,
            marker=style.marker,
            color=style.colour,
            alpha=0.75,
            linewidths=0,
            label="unknown" if name is None else name,
            rasterized=len(points) > MAX_VECTOR_POINTS,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("t-SNE 1 (no unit)")
    axes.set_ylabel("t-SNE 2 (no unit)")
    axes.spines[:].set_color(FAINT)
    if len(styles) <= MAX_LISTED:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0.0, -0.06),
            ncols=4 if len(styles) <= 12 else 8,
            frameon=False,
            fontsize=8,
            markerscale=1.3,
            columnspacing=1.0,
            handletextpad=0.2,
        )
