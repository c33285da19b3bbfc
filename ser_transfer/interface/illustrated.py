"""Tables and figures on the page, each with its words: what `gr.Plot` cannot give is an alt text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

# Of `ser_transfer.pages.elements`, in the colours of the page's theme. Figures are drawn for white paper; on
# a narrow screen a card scrolls rather than shrink its text away.
STYLE = """
& { overflow-wrap: break-word; --faint: color-mix(in srgb, var(--body-text-color) 72%, transparent); }
h3 { margin: 1.4rem 0 .3rem; font-size: 1.1rem; font-weight: 600; }
h3:first-child { margin-top: 0; }
p { margin: .4rem 0; max-width: 46rem; }
.faint { color: var(--faint); }
.warning {
  max-width: none; padding: .6rem .9rem; border: 1px solid #d55e00; border-left-width: .5rem;
  border-radius: .25rem; background: rgba(213, 94, 0, .12); font-weight: 600;
}
.scroll { overflow-x: auto; margin: .6rem 0 1.4rem; }
.scroll:focus-visible, .card:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
table { border: 0 !important; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { padding: .25rem 0; text-align: left; color: var(--faint); caption-side: top; }
th, td {
  padding: .35rem .9rem .35rem .4rem; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important;
  text-align: left; vertical-align: top; font-weight: 400;
}
thead th { border-bottom-width: 2px !important; vertical-align: bottom; font-weight: 600; }
thead, tbody, tr { border: 0 !important; }
tbody th { min-width: 9rem; }
tbody td:not(.number) { white-space: nowrap; }
.number { white-space: nowrap; text-align: right; }
thead .number { white-space: normal; }
tbody .emphasised > td, tbody .emphasised > th { background: var(--color-accent-soft); font-weight: 700; }
.beside {
  display: grid; gap: 0 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
}
.beside > * { min-width: 0; }
figure { margin: .6rem 0 1.2rem; }
figcaption { margin-top: .4rem; color: var(--faint); font-size: .92rem; max-width: 46rem; }
.card {
  width: fit-content; max-width: 100%; overflow-x: auto; background: #ffffff;
  border: 1px solid var(--border-color-primary); border-radius: var(--block-radius, .5rem);
}
.card img { display: block; max-width: max(100%, .6 * var(--drawn)); height: auto; }
"""


def illustrated(content: str = "", *, visible: bool = True, elem_id: str | None = None) -> gr.HTML:
    """Place a component that shows well-formed HTML, such as `ser_transfer.pages.elements` write.

    Args:
        content: To begin with.
        visible: Whether it is shown.
        elem_id: Of its element on the page.
    """
    import gradio as gr

    return gr.HTML(
        content,
        css_template=STYLE,
        js_on_load=None,
        visible=visible,
        elem_id=elem_id,
        elem_classes="illustrated",
    )


def heading(text: str) -> str:
    """Return a heading inside a tab."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def remark(text: str) -> str:
    """Return a paragraph of less weight."""
    return f'<p class="faint">{escape(text)}</p>'


def warning(text: str) -> str:
    """Return what a reader must not miss."""
    return f'<p class="warning" role="note">{escape(text)}</p>'


def beside(elements: Iterable[str]) -> str:
    """Return elements side by side, or one below the other where the screen is narrow."""
    cells = "".join(f"<div>{element}</div>" for element in elements)
    return f'<div class="beside">{cells}</div>'
