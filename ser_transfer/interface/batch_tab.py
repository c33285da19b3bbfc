"""The tab that answers many files at once: how often each emotion was heard, a table, and a download."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ser_transfer.errors import SerTransferError
from ser_transfer.interface.batch_files import MAX_FILES, collect
from ser_transfer.interface.batch_rows import BatchRow, answer, counts, csv_text, header, summary
from ser_transfer.interface.limits import Limits
from ser_transfer.interface.theme import colour_of

if TYPE_CHECKING:
    import gradio as gr

    from ser_transfer.model import EmotionModel

INTRODUCTION = """\
## Many files at once
Drop recordings, or one zip of them, and get a table to download. Up to {n_files:,} files at a time, each up \
to {megabytes:g} MB and {duration}."""

RUNNING = " …"  # ends what is said while more is to come
REFRESH_SECONDS = 1.0  # between two looks at the table while it grows
DOWNLOAD = "emotions.csv"
N_TOLD = 8  # files that could not be used, told above the table; the table has all
DECIMALS = 3  # of what the page shows; the download has all


def batch_tab(models: Sequence[EmotionModel], limits: Limits) -> None:
    """Place the tab's content; called inside the open tab.

    Args:
        models: To choose from; the first is chosen.
        limits: Of each file's size and duration.
    """
    import gradio as gr

    by_name = {model.name: model for model in models}
    gr.Markdown(
        INTRODUCTION.format(
            n_files=MAX_FILES, megabytes=limits.max_megabytes, duration=_duration(limits.max_seconds)
        )
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            files = gr.File(
                file_count="multiple", label="Recordings or a zip", height=220, elem_id="batch-files"
            )
            model = gr.Dropdown(list(by_name), value=models[0].name, label="Model", elem_id="batch-model")
            with gr.Row():
                start = gr.Button("Start", variant="primary", scale=3, min_width=120, elem_id="batch-start")
                stop = gr.Button("Stop", scale=1, min_width=80, elem_id="batch-stop")
        with gr.Column(scale=7, min_width=300):
            told = gr.Markdown(
                "The answers appear here.", min_height=90, container=True, elem_id="batch-summary"
            )
            panel = gr.HTML("", visible=False, elem_id="batch-counts", elem_classes="ser")
    table = gr.Dataframe(
        None,
        label="Answers",
        interactive=False,
        visible=False,
        elem_id="batch-table",
    )
    download = gr.DownloadButton("Download as CSV", value=None, visible=False, elem_id="batch-download")

    def run(
        paths: list[str] | None,
        name: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio knows
    ) -> Iterator[tuple[Any, ...]]:
        """Answer every file; what is known so far is shown as it grows."""
        if not paths:
            gr.Warning("Drop some recordings first.")
            yield gr.skip(), gr.skip(), gr.skip(), gr.skip()
            return
        chosen = by_name.get(name)
        if chosen is None:
            raise gr.Error(f"no model {name!r} on this page; there are {', '.join(by_name)}")
        # What an earlier batch left would pass for this one's.
        yield "", *(gr.update(visible=False) for _ in range(3))
        with TemporaryDirectory(prefix="ser_transfer_batch_") as folder:
            progress(0.0, desc="Looking at the files")
            members = Path(folder) / "members"
            members.mkdir()
            rows: dict[int, BatchRow] = {}
            shown_at = time.monotonic()
            try:
                found = collect(paths, members, limits.max_bytes)
                progress((0, len(found)), desc="Files", unit="files")
                for place, row in answer(chosen, found, limits):
                    rows[place] = row
                    progress((len(rows), len(found)), desc="Files", unit="files")
                    if time.monotonic() - shown_at > REFRESH_SECONDS:
                        so_far = f"{len(rows):,} of {len(found):,} files{RUNNING}"
                        yield (so_far, *_results(rows, chosen), gr.skip())
                        shown_at = time.monotonic()
            except (SerTransferError, OSError) as error:
                raise gr.Error(str(error), print_exception=False) from error
            ready = [rows[place] for place in sorted(rows)]
            file = Path(folder) / DOWNLOAD
            file.write_text(csv_text(ready, chosen.classes), encoding="utf-8-sig", newline="")
            # Gradio copies the file while this waits here; after that the folder goes.
            yield (
                summary(ready, chosen.classes),
                *_results(rows, chosen),
                gr.DownloadButton(value=str(file), visible=True),
            )

    def stopped(words: str) -> str:
        """Say that nothing more will come."""
        if not words.endswith(RUNNING):
            return words
        return f"{words.removesuffix(RUNNING)}, then stopped: there is no download."

    running = start.click(run, [files, model], [told, panel, table, download], api_name="batch")
    stop.click(stopped, told, told, cancels=running, api_visibility="private")


def _results(rows: dict[int, BatchRow], model: EmotionModel) -> tuple[Any, Any]:
    """Return the panel and the table of what is known so far."""
    import gradio as gr

    ready = [rows[place] for place in sorted(rows)]
    values = [row.cells(model.classes, DECIMALS) for row in ready]
    return (
        gr.HTML(panel_html(ready, model.classes), visible=True),
        gr.Dataframe({"headers": header(model.classes), "data": values}, visible=True),
    )


def panel_html(rows: Sequence[BatchRow], classes: Sequence[str]) -> str:
    """Return a bar per emotion, as long as it was heard often, and why files could not be used."""
    by_emotion = counts(rows, classes)
    most = max(*by_emotion.values(), 1)
    bars = "".join(
        f'<li class="bar" style="--emotion:{colour_of(emotion)}">'
        f'<span class="bar-name">{escape(emotion)}</span><span class="bar-track" aria-hidden="true">'
        f'<span class="bar-fill" style="width:{100 * n / most:.1f}%;min-width:0"></span></span>'
        f'<span class="bar-number">{n:,}</span></li>'
        for emotion, n in by_emotion.items()
    )
    told = f'<h2>Files by emotion</h2><ul class="bars" aria-label="Files by emotion">{bars}</ul>'
    failed = [row for row in rows if row.error is not None]
    if failed:
        listed = "".join(
            f"<li><strong>{escape(row.file)}</strong>: {escape(row.error or '')}</li>"
            for row in failed[:N_TOLD]
        )
        more = f"<li>and {len(failed) - N_TOLD:,} more in the table</li>" if len(failed) > N_TOLD else ""
        told += f'<h2>Could not be used</h2><ul class="cannot">{listed}{more}</ul>'
    return told


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} s"
