"""A page, built from top to bottom."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from ser_transfer.pages.elements import (
    PageError,
    audio_element,
    figure_element,
    list_element,
    paragraphs,
    table_element,
)

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

# The browser itself then refuses whatever would reach out: the page holds all it needs.
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


class Page:
    """An HTML page in one file: no network, no script, for screens of any width, light and dark, and paper.

    What is added stands in the order it was added; all text is escaped, so names from corpora and from users
    may hold any character.

        page = Page("ravdess", "Six folds, no speaker on both sides.")
        page.section("Scores", "UAR is the mean of the recalls of the emotions.")
        page.table([("system", "UAR"), ("yamnet", "0.610")], emphasised={0})
        page.save(Path("report.html"))

    Args:
        title: What the page is about: its heading, and what the browser's tab says.
        lead: A first paragraph under the heading.
    """

    def __init__(self, title: str, lead: str = "") -> None:
        self._title = title
        self._lead = lead
        self._warnings: list[str] = []
        self._headings: list[str] = []
        self._elements: list[str] = []

    def warning(self, text: str) -> None:
        """Put a banner under the title, wherever the page has got to: what a reader must not miss."""
        self._warnings.append(f'<p class="warning" role="note">{escape(text)}</p>')

    def section(self, heading: str, text: str = "") -> None:
        """Begin a section, listed in the table of contents; an empty line in the text parts paragraphs."""
        if self._headings:
            self._elements.append("</section>")
        self._headings.append(heading)
        anchor = _anchor(len(self._headings))
        self._elements.append(
            f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(heading)}</h2>{paragraphs(text)}'
        )

    def text(self, text: str) -> None:
        """Add paragraphs, parted by an empty line."""
        self._elements.append(paragraphs(text))

    def list(self, items: Sequence[str]) -> None:
        """Add a list with bullets.

        Raises:
            PageError: If it has no item.
        """
        self._elements.append(list_element(items))

    def table(
        self, rows: Sequence[Sequence[str]], caption: str = "", *, emphasised: Collection[int] = ()
    ) -> None:
        """Add a table; columns of numbers are aligned to the right.

        Args:
            rows: Cells of text, the header first, as `tables.text_table` takes them. The first cell of
                a row names it.
            caption: What it shows, above it.
            emphasised: Rows to stand out, the first under the header being 0.

        Raises:
            PageError: If there is no header, or a row has another number of cells.
        """
        self._elements.append(table_element(rows, caption, emphasised))

    def figure(self, figure: Figure, caption: str, alt: str, *, svg: bytes | None = None) -> None:
        """Add a figure.

        Args:
            figure: Drawn as SVG, or as PNG where that is much larger.
            caption: What it shows, below it; may be empty.
            alt: What a reader who sees no figure should know from it.
            svg: The figure as SVG, where it was drawn already; None draws it.

        Raises:
            PageError: If `alt` is empty.
        """
        self._elements.append(figure_element(figure, caption, alt, svg))

    def audio(self, samples: npt.NDArray[np.floating], rate: int, caption: str) -> None:
        """Add a sound to play, as FLAC of 16 bit.

        Args:
            samples: One channel, of shape (n,), from -1 to 1; what lies outside is clipped.
            rate: Samples per second.
            caption: What is heard.

        Raises:
            PageError: If there is no sample, one is not finite, there are several channels, or the rate is
                none that FLAC has.
        """
        self._elements.append(audio_element(samples, rate, caption))

    def html(self) -> str:
        """Return the page."""
        style = files("ser_transfer.pages").joinpath("style.css").read_text(encoding="utf-8")
        body = "\n".join([*self._elements, "</section>"] if self._headings else self._elements)
        title, warnings = escape(self._title), "".join(self._warnings)
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{title}</h1>{warnings}{paragraphs(self._lead)}</header>
{self._contents()}<main>
{body}
</main>
</body>
</html>
"""

    def save(self, path: Path) -> None:
        """Write the page to a file; its folder is made if it is not there.

        Raises:
            PageError: If it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise PageError(
                f"cannot write the page to {path}: {error.strerror}; name a file in another folder"
            ) from error

    def _contents(self) -> str:
        """List the sections; a page of one needs none."""
        if len(self._headings) < 2:
            return ""
        items = "".join(
            f'<li><a href="#{_anchor(number)}">{escape(heading)}</a></li>'
            for number, heading in enumerate(self._headings, 1)
        )
        return f'<nav aria-label="Contents"><ol>{items}</ol></nav>\n'


def _anchor(number: int) -> str:
    return f"section-{number}"
