"""An exploration on one page, and in a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ser_transfer.audio import AudioError
from ser_transfer.encoders.handcrafted.frames import ACTIVE_DB, SAMPLING_RATE
from ser_transfer.exploration.anatomy import MIN_LAG_SECONDS
from ser_transfer.exploration.clip_figures import describe
from ser_transfer.exploration.exploration import MIN_CLIPS_OF_SPEAKER, Clip, Exploration, ExplorationError
from ser_transfer.exploration.figures import FIGURES, figures
from ser_transfer.exploration.findings import Finding, duplicates
from ser_transfer.exploration.measures import MAX_SECONDS
from ser_transfer.pages import Page
from ser_transfer.plots import Drawing

N_LISTED = 20  # clips of one finding on the page; clips.csv has all
PAGE, TABLE = "explore.html", "clips.csv"
CSV_COLUMNS = (
    *("utterance_id", "emotion", "speaker", "gender", "sentence"),
    *("seconds", "level_db", "f0_hz", "semitones", "clipped_share", "duplicate_of", "unusable"),
)


def save_exploration(exploration: Exploration, folder: Path) -> None:
    """Write the page, each figure as PNG and SVG, and the numbers of every clip.

    Args:
        exploration: What was seen.
        folder: Made if it is not there; files of an earlier exploration in it are replaced.

    Raises:
        ExplorationError: If the folder cannot be written.
    """
    drawings = list(figures(exploration))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        for drawing in drawings:
            drawing.save(folder)
        _write_clips(exploration, folder / TABLE)
    except OSError as error:
        raise ExplorationError(
            f"cannot write the exploration to {folder}: {error.strerror}; name another folder with --out"
        ) from error
    exploration_page(exploration, drawings).save(folder / PAGE)


def _clear(folder: Path) -> None:
    """Remove an earlier exploration's figures, if the folder holds one: `--out` may name any folder."""
    if (folder / PAGE).is_file():
        for name in FIGURES:
            for path in (*folder.glob(f"{name}.png"), *folder.glob(f"{name}.svg")):
                path.unlink()


def exploration_page(exploration: Exploration, drawings: Sequence[Drawing]) -> Page:
    """Lay an exploration out as a page that opens from disk.

    Args:
        exploration: What was seen.
        drawings: Its figures, from `ser_transfer.exploration.figures`.
    """
    page = Page(f"{exploration.corpus}: a look at the data", _lead(exploration))
    unusable = len(exploration.clips) - exploration.n_usable
    if unusable:
        page.warning(
            f"{unusable} of {exploration.n_looked_at} recordings cannot be used: see Clips to look at. They "
            "are in no figure below but the counts."
        )
    page.section("Counts")
    page.table(exploration.rows())
    _draw(page, drawings, "counts")
    _say_unknown(page, exploration)
    page.section("Duration, level and pitch", _how_measured(exploration))
    page.table(exploration.emotion_rows(), "Medians over the clips of each emotion")
    _draw(page, drawings, "spreads")
    page.section("One clip of each emotion", _how_chosen(exploration))
    drawn = [drawing for drawing in drawings if drawing.section == "examples"]
    for example, drawing in zip(exploration.examples, drawn, strict=True):
        page.audio(example.anatomy.waveform, SAMPLING_RATE, f"{example.clip.emotion}: {describe(example)}")
        page.figure(drawing.figure, drawing.caption, drawing.alt, svg=drawing.svg)
    page.section("Clips to look at", "What a head might learn in place of an emotion, or stumble over.")
    _list(page, exploration.findings)
    if exploration.card is not None:
        card = exploration.card
        page.section("Licence and citation", f"Licence: {card.licence}. From {card.url}\n\n{card.citation}")
    return page


def _lead(exploration: Exploration) -> str:
    n, speakers = len(exploration.clips), len(exploration.speakers)
    who = f"{speakers} speakers" if speakers else "speakers unknown"
    lead = f"{n} clips, {who}, {len(exploration.classes)} emotions, before anything is learned from them."
    if exploration.card is not None:
        lead += f" Licence: {exploration.card.licence}."
    if exploration.n_looked_at < n:
        lead += (
            f"\n\nA sample: {exploration.n_looked_at} of {n} clips were opened, drawn so that each emotion "
            "and each speaker keeps its share. Counts per emotion, speaker and gender are of all; all else "
            "is of the sample, and a duplicate is found only where both are in it."
        )
    return lead


def _say_unknown(page: Page, exploration: Exploration) -> None:
    for column in ("speaker", "gender"):
        if all(getattr(clip, column) is None for clip in exploration.clips):
            page.text(f"The corpus does not tell the {column}s of its clips.")


def _how_measured(exploration: Exploration) -> str:
    text = (
        "Level is the RMS over the active part of a clip, in dB of full scale (a sine that fills the scale "
        f"has -3.0); active is what lies within {ACTIVE_DB:.0f} dB of the clip's loud frames, so pauses "
        "count for nothing. Pitch is the median fundamental frequency (F0) of the voiced frames; in "
        "semitones, how far that lies above the median of the speaker's clips, where there are "
        f"{MIN_CLIPS_OF_SPEAKER} or more of them. A clip without a voiced frame has none."
    )
    n_long = sum(told.seconds > told.measured_seconds for told in exploration.measured.values())
    if n_long:
        text += (
            f"\n\nOf {_counted(n_long, 'recording')} longer than {MAX_SECONDS:.0f} s all but the duration "
            f"was measured on the first {MAX_SECONDS:.0f} s."
        )
    n_unknown = sum(told.clipped_share is None for told in exploration.measured.values())
    if n_unknown:
        text += (
            f"\n\nClipping was not looked for in {_counted(n_unknown, 'clip')}: a compressed format keeps no "
            "sample at full scale."
        )
    return text


def _how_chosen(exploration: Exploration) -> str:
    people = {example.clip.speaker for example in exploration.examples}
    sentences = {example.clip.sentence for example in exploration.examples}
    same = [
        words
        for words, names in (("one speaker", people), ("one sentence", sentences))
        if len(names) == 1 and None not in names
    ]
    told = f"All of {' and '.join(same)}. " if same else ""
    if exploration.speakers:
        told += "Others: --speaker, --sentence. "
    return (
        f"{told}The sound is what encoders hear: one channel, "
        f"{SAMPLING_RATE // 1000} kHz, at its own level; the axes of amplitude differ between clips.\n\n"
        "The harmonic part is what goes on in time, such as vowels; the percussive part what is sudden, such "
        "as plosives (median filtering, Fitzgerald 2010). The autocorrelation of the onset strength shows "
        "after which lag the beginnings of sounds repeat: its highest peak from "
        f"{MIN_LAG_SECONDS} s on is marked."
    )


def _draw(page: Page, drawings: Sequence[Drawing], section: str) -> None:
    for drawing in drawings:
        if drawing.section == section:
            page.figure(drawing.figure, drawing.caption, drawing.alt, svg=drawing.svg)


def _list(page: Page, findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.n_clips:
            where = ", ".join(f"{emotion} {n}" for emotion, n in finding.emotions)
            n_clips = _counted(finding.n_clips, "clip")
            page.text(f"{finding.kind.capitalize()}: {n_clips} ({where}). {finding.advice}")
            more = len(finding.items) - N_LISTED
            page.list([*finding.items[:N_LISTED], *([f"and {more} more: see {TABLE}"] if more > 0 else [])])
    absent = [finding.kind for finding in findings if not finding.n_clips]
    if absent:
        page.text(f"Looked for, and not found: {', '.join(absent)}.")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _write_clips(exploration: Exploration, path: Path) -> None:
    """Write a row per clip that was opened, numbers in full."""
    first_of = {
        clip.utterance_id: group[0].utterance_id
        for group in duplicates(exploration.clips)
        for clip in group[1:]
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for clip in exploration.clips:
            if clip.measures is not None:
                writer.writerow(_csv_row(clip, exploration.semitones, first_of))


def _csv_row(clip: Clip, semitones: dict[str, float], first_of: dict[str, str]) -> list[object]:
    told = clip.measures
    who = [clip.utterance_id, clip.emotion, clip.speaker, clip.gender, clip.sentence]
    if isinstance(told, AudioError):
        return [*who, *[None] * 6, f"{told.reason}: {told.found}"]
    assert told is not None
    id_ = clip.utterance_id
    numbers = [told.seconds, told.level_db, told.f0_hz, semitones.get(id_), told.clipped_share]
    return [*who, *numbers, first_of.get(id_), None]
