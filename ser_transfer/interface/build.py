"""The whole page: its head, its tabs, and how it is served."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ser_transfer.interface.batch_tab import batch_tab
from ser_transfer.interface.compare_tab import compare_tab
from ser_transfer.interface.corpus_tab import corpus_tab
from ser_transfer.interface.examples import Examples
from ser_transfer.interface.limits import InterfaceError, Limits
from ser_transfer.interface.listen_tab import listen_tab
from ser_transfer.interface.live_tab import live_tab
from ser_transfer.interface.readings import Speaking, described, speaking_models
from ser_transfer.interface.theme import make_theme, style_sheet, styled_html

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.model import EmotionModel

HOST = "127.0.0.1"
# Seconds: how often Gradio looks for files of visitors, and how old they grow.
CACHE_SECONDS = (600, 3600)
MAX_QUEUE = 64  # requests in line; a further one is told to come back

LOGO = """\
<svg viewBox="0 0 48 48" aria-hidden="true"><rect width="48" height="48" rx="11" fill="#0f6ba3"/>\
<g stroke="#ffffff" stroke-width="4" stroke-linecap="round"><path d="M10 21v6"/><path d="M17 15v18"/>\
<path d="M24 9v30" stroke="#E69F00"/><path d="M31 17v14"/><path d="M38 21v6"/></g></svg>"""


class Page(gr.Blocks):
    """Gradio's page, which knows how it wants to be served: Gradio takes that at the launch only."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            title="ser_transfer: emotion in speech", analytics_enabled=False, delete_cache=CACHE_SECONDS
        )
        self.limits = limits

    def launch(self, *args: Any, **settings: Any) -> Any:
        """Serve the page as `gr.Blocks.launch` does, to this machine only unless `server_name` says more."""
        own: dict[str, Any] = {
            "server_name": HOST,
            "theme": make_theme(),
            "css": style_sheet(),
            "max_file_size": self.limits.max_bytes,
            "footer_links": ["api", "settings"],
            "share": False,
            "ssr_mode": False,
            "run_history": False,  # recordings of visitors are not kept in their browsers
            "enable_monitoring": False,
        }
        return super().launch(*args, **{**own, **settings})


def build_demo(
    models: Sequence[EmotionModel],
    baseline: EmotionModel | None = None,
    *,
    runs: str | Path | None = None,
    corpus: Dataset | None = None,
    limits: Limits | None = None,
) -> gr.Blocks:
    """Build the page; ``build_demo(models).launch()`` serves it.

    Nothing is served, written or fetched before the launch.

    Args:
        models: From `ser_transfer.model.EmotionModel.from_pretrained`, in the order they are shown.
        baseline: A model on handcrafted features, shown beside them; it may be one of them.
        runs: Folder of finished runs, for the tab Compare.
        corpus: From `ser_transfer.load_corpus`, for the tab Corpus and the examples.
        limits: What the page takes; None for the defaults.

    Raises:
        InterfaceError: If there is no model.
    """
    speaking = speaking_models(models, baseline)
    if not speaking:
        raise InterfaceError(
            "the page needs a model: give models=[EmotionModel.from_pretrained()], or type --model NAME"
        )
    limits = limits or Limits()
    page = Page(limits)
    with page:
        styled_html(_masthead(speaking), elem_id="masthead")
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            with gr.Tab("Listen", id="listen"):
                listen_tab(speaking, Examples(corpus), limits)
            # Rendered with the page: who presses "Record" before Gradio's recorder is loaded gets an error.
            with gr.Tab("Live", id="live", render_children=True):
                live_tab(speaking, limits)
            with gr.Tab("Compare", id="compare"):
                compare_tab(None if runs is None else Path(runs))
            with gr.Tab("Corpus", id="corpus"):
                corpus_tab(corpus)
            with gr.Tab("Batch", id="batch"):
                batch_tab([each.model for each in speaking], limits)
    page.queue(max_size=MAX_QUEUE, default_concurrency_limit=limits.n_at_once)
    return page


def _masthead(models: Sequence[Speaking]) -> str:
    """Give the head of the page: what it does, and which models answer."""
    listed = "".join(
        f"<li>{escape(each.name)} <span>· {escape(described(each.model))}</span></li>" for each in models
    )
    return (
        f"<h1>{LOGO} Emotion in speech</h1><p>Which emotion does a voice carry? Several models answer side "
        "by side, each with how sure it is. They judge the sound of the voice, not the words, and know what "
        f'they were trained on: often acted speech.</p><ul aria-label="Models on this page">{listed}</ul>'
    )
