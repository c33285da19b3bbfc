"""How the page looks: its theme, its style sheet, and one colour per emotion."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from ser_transfer.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

if TYPE_CHECKING:
    import gradio as gr

# The palette of the figures (Okabe & Ito), and for the rarer emotions Paul Tol's "muted" colours
# (https://sronpersonalpages.nl/~pault/), which keep apart for the colour-blind too. Wherever a colour
# stands, the emotion's name stands beside it.
EMOTION_COLOURS = {
    "neutral": GREY,
    "calm": "#44AA99",
    "happiness": ORANGE,
    "excitement": "#DDCC77",
    "amusement": "#F0C94A",
    "sadness": BLUE,
    "anger": VERMILLION,
    "frustration": "#CC6677",
    "fear": PURPLE,
    "disgust": GREEN,
    "surprise": SKY,
    "boredom": "#9A7B4F",
    "sleepiness": "#8888CC",
    "contempt": "#B04A78",
    "sarcasm": "#AA4499",
    "other": "#777777",
}

# Fonts that the reader's machine has: nothing is fetched from other hosts.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONOSPACE_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def colour_of(emotion: str) -> str:
    """Give the colour of an emotion; one that is not in our vocabulary has that of ``"other"``."""
    return EMOTION_COLOURS.get(emotion, EMOTION_COLOURS["other"])


def style_sheet() -> str:
    """Return the CSS of the page."""
    return files("ser_transfer.interface").joinpath("style.css").read_text(encoding="utf-8")


def player_script() -> str:
    """Return the script that plays stretches of a recording; it runs once, when its component is shown."""
    return files("ser_transfer.interface").joinpath("player.js").read_text(encoding="utf-8")


def styled_html(content: str, *, elem_id: str | None = None, script: str | None = None) -> gr.HTML:
    """Place HTML that the page's own style sheet styles.

    Args:
        content: To begin with, well-formed and escaped.
        elem_id: Of its element on the page.
        script: That runs once, when the component is shown; `element` is its element.
    """
    import gradio as gr

    classes = ["ser"] if elem_id is None else ["ser", elem_id]
    return gr.HTML(content, elem_id=elem_id, elem_classes=classes, js_on_load=script, apply_default_css=False)


def make_theme() -> gr.themes.Base:
    """Make the theme: quiet paper, one blue for what can be pressed, colour for emotions alone."""
    import gradio as gr

    blue = gr.themes.Color(
        name="voice",
        c50="#eef6fb",
        c100="#d9ebf6",
        c200="#b3d7ed",
        c300="#7cbbe0",
        c400="#429ccf",
        c500="#1780bb",
        c600="#0f6ba3",
        c700="#0d5684",
        c800="#0f476b",
        c900="#123b58",
        c950="#0b2639",
    )
    theme = gr.themes.Base(
        primary_hue=blue,
        secondary_hue=blue,
        neutral_hue=gr.themes.colors.slate,
        text_size=gr.themes.sizes.text_md,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_md,
        font=list(FONTS),
        font_mono=list(MONOSPACE_FONTS),
    )
    return theme.set(
        body_background_fill="#f5f7f9",
        body_background_fill_dark="#0f1316",
        body_text_color="#1b1f24",
        body_text_color_dark="#e8ebee",
        body_text_color_subdued="#566069",
        body_text_color_subdued_dark="#a3adb7",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#171c21",
        background_fill_secondary="#f0f3f6",
        background_fill_secondary_dark="#1f262c",
        block_background_fill="#ffffff",
        block_background_fill_dark="#171c21",
        block_border_width="1px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*body_text_color_subdued",
        block_shadow="none",
        border_color_primary="#d9dfe5",
        border_color_primary_dark="#333c45",
        border_color_accent="*primary_500",
        border_color_accent_dark="*primary_400",
        color_accent="*primary_600",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*primary_950",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#1f262c",
        button_secondary_background_fill_hover="*primary_50",
        button_secondary_background_fill_hover_dark="*primary_950",
        button_secondary_border_color="*border_color_primary",
        button_border_width="1px",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1f262c",
    )
