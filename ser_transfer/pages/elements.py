"""The elements of a page, each from data to well-formed HTML with every text escaped."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

MAX_SVG = 400_000  # bytes; a figure of more marks than that is smaller, and faster to show, in pixels

CSS_DPI = 96.0  # CSS pixels per inch

# A number, a share, an interval ("0.557 to 0.661"), a number with a unit ("3.2 s", "24 speakers"), or none.
_NUMBER = r"(< ?)?[+\-−]?\d[\d,]*(\.\d+)?(e[+\-]?\d+)?"
_NUMERIC = re.compile(rf"{_NUMBER}( ?(to|±|/) ?{_NUMBER})?( ?(%|[A-Za-z/]+))?")
_NOTHING = ("", "–", "-", "n/a")


class PageError(SerTransferError):
    """What a page cannot show, or where it cannot be written."""


def paragraphs(text: str) -> str:
    """Return paragraphs, parted in the text by an empty line."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", text)]
    return "".join(f"<p>{escape(part)}</p>" for part in parts if part)


def list_element(items: Sequence[str]) -> str:
    """Return a list with bullets."""
    if not items:
        raise PageError("a list wants one item at least")
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def table_element(rows: Sequence[Sequence[str]], caption: str, emphasised: Collection[int]) -> str:
    """Return a table in a box that scrolls by itself where it is wider than the screen."""
    if not rows or not rows[0]:
        raise PageError("a table wants a header with one column at least")
    header, body = rows[0], rows[1:]
    for row in body:
        if len(row) != len(header):
            raise PageError(f"the table has {len(header)} columns, and a row of {len(row)}: {', '.join(row)}")
    wrong = [number for number in emphasised if not 0 <= number < len(body)]
    if wrong:
        raise PageError(f"row {wrong[0]} cannot be emphasised: the table has {len(body)} rows, from 0 on")
    numeric = [_is_numeric([row[column] for row in body]) for column in range(len(header))]
    head = "".join(
        f'<th scope="col"{_aligned(is_number)}>{escape(cell)}</th>'
        for cell, is_number in zip(header, numeric, strict=True)
    )
    lines = [_row(row, numeric, number in emphasised) for number, row in enumerate(body)]
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{named}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _row(cells: Sequence[str], numeric: Sequence[bool], is_emphasised: bool) -> str:
    first, *others = (
        f"{_aligned(is_number)}>{escape(cell)}" for cell, is_number in zip(cells, numeric, strict=True)
    )
    rest = "".join(f"<td{cell}</td>" for cell in others)
    marked = ' class="emphasised"' if is_emphasised else ""
    return f'<tr{marked}><th scope="row"{first}</th>{rest}</tr>'


def _aligned(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _is_numeric(cells: Sequence[str]) -> bool:
    numbers = [cell for cell in cells if cell not in _NOTHING]
    return bool(numbers) and all(map(_NUMERIC.fullmatch, numbers))


def figure_element(figure: Figure, caption: str, alt: str, svg: bytes | None = None) -> str:
    """Return a figure on a light card, as an image that stands alone: its ids meet no other figure's."""
    if not alt.strip():
        raise PageError("a figure wants an alt text: what should a reader who cannot see it know?")
    described = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><div class="card" tabindex="0">{_image(figure, alt, svg)}</div>{described}</figure>'


def _image(figure: Figure, alt: str, svg: bytes | None) -> str:
    """Return the figure as SVG, or as PNG where that is beyond `MAX_SVG`, in the size it was drawn for."""
    kind, content = "image/svg+xml", _saved(figure, "svg") if svg is None else svg
    if len(content) > MAX_SVG:
        kind, content = "image/png", _saved(figure, "png")
    width = round(figure.get_figwidth() * CSS_DPI)
    size = f'width="{width}" style="--drawn: {width}px"'
    return f'<img alt="{escape(alt)}" {size} src="{_data_uri(kind, content)}"/>'


def _saved(figure: Figure, ending: str) -> bytes:
    file = BytesIO()
    metadata = {"Date": None} if ending == "svg" else None
    figure.savefig(file, format=ending, bbox_inches="tight", pad_inches=0.12, metadata=metadata)
    return file.getvalue()


def audio_element(samples: npt.NDArray[np.floating], rate: int, caption: str) -> str:
    """Return a player with the sound inside."""
    import numpy as np
    import soundfile

    if samples.ndim != 1 or not samples.size:
        raise PageError(f"a sound wants one channel of samples, of shape (n,), not {samples.shape}")
    if not np.isfinite(samples).all():
        raise PageError(f"{int((~np.isfinite(samples)).sum())} samples of a sound are not finite")
    flac = BytesIO()
    try:
        soundfile.write(flac, samples, rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise PageError(f"no FLAC has {rate} samples per second: {error}; 16000 is what we use") from error
    source = _data_uri("audio/flac", flac.getvalue())
    player = f'<audio controls="" preload="metadata" aria-label="{escape(caption)}" src="{source}"></audio>'
    return f'<figure class="sound"><figcaption>{escape(caption)}</figcaption>{player}</figure>'


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"
