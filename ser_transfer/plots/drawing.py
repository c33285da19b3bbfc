"""A figure with its name and its words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

from ser_transfer.plots.style import save_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure for files and for a page.

    Attributes:
        name: Of its files.
        section: Of the page that it belongs to.
        figure: The figure.
        caption: What it shows.
        alt: What it shows, with its main numbers, for those who do not see it.
    """

    name: str
    section: str
    figure: Figure
    caption: str
    alt: str

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG, drawn once for the file and the page."""
        file = BytesIO()
        self.figure.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.12, metadata={"Date": None})
        return file.getvalue()

    def save(self, folder: Path) -> None:
        """Write the figure as PNG and SVG.

        Raises:
            OSError: If a file cannot be written.
        """
        save_figure(self.figure, folder / f"{self.name}.png")
        (folder / f"{self.name}.svg").write_bytes(self.svg)
