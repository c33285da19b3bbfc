"""Name the emotion of recordings, or follow it through them.

python -m ser_transfer.predict call.wav recordings/ --out results.csv
python -m ser_transfer.predict recordings/ --out results.csv --engine ray --address auto
python -m ser_transfer.predict interview.mp3 --timeline
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer._asking import PredictSettings, journal_of, output_of
from ser_transfer._bars import progress_bar, steps_bar
from ser_transfer._command import CallableModule, SettingsError, command
from ser_transfer._interrupts import INTERRUPTED
from ser_transfer._settings import load_model
from ser_transfer.audio import AudioError, duration_seconds
from ser_transfer.clusters import ClusterModel
from ser_transfer.model import SHIPPED_MODEL, SHIPPED_MODELS, EmotionModel
from ser_transfer.places import Output
from ser_transfer.results import (
    BASELINE,
    MODEL,
    TEXT,
    TIMELINE,
    Answering,
    Journal,
    ResultTable,
    ask_model,
    ask_words,
    find_recordings,
    follow_into,
    followed,
    segments_table,
    timeline_paths,
    usable,
    write_table,
)

if TYPE_CHECKING:
    from pandas import DataFrame

    from ser_transfer.transcription import Transcriber

MOST_PRINTED = 200  # rows of a table that people read on a screen
COMMIT_SECONDS = 60.0  # between two times that the journal of an output at a URL is put there
MOST_TOLD = 10  # errors, one by one; the table has all of them


def predict(
    files_or_folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: EmotionModel | str | Path = SHIPPED_MODEL,
    *,
    baseline: EmotionModel | str | Path | None = None,
    min_confidence: float | None = None,
    transcriber: Transcriber | None = None,
    n_workers: int | None = None,
) -> DataFrame:
    """Name the emotion of recordings, in one table.

    Args:
        files_or_folders: A recording, a folder to search for them, or several of either.
        model: From `EmotionModel.from_pretrained` or `ser_transfer.exporting.OnnxModel.from_file`, or what
            one of them takes.
        baseline: A model to set beside it.
        min_confidence: The emotion is left empty where its calibrated probability is less.
        transcriber: From `ser_transfer.transcription.Transcriber.load`, to add the words.
        n_workers: Recordings answered at once on a CPU, or decoding threads; None for one per core.

    Returns:
        One row per recording, in the order given: file, seconds, emotion, confidence, one probability per
        emotion, those of the baseline and the text where they are asked for, and the error of one that could
        not be used.
    """
    one = isinstance(files_or_folders, str | os.PathLike)
    files = find_recordings([files_or_folders] if one else files_or_folders)  # type: ignore[list-item, arg-type]
    parts = {MODEL: _loaded(model)} | ({} if baseline is None else {BASELINE: _loaded(baseline)})
    journal = Journal()
    _ask(journal, files, parts, transcriber, n_workers)
    return _table(journal, files, parts, min_confidence, transcriber).frame()


def _loaded(model: EmotionModel | str | Path) -> EmotionModel:
    return load_model(str(model)) if isinstance(model, str | Path) else model


def _ask(
    journal: Journal,
    files: Sequence[str],
    parts: Mapping[str, EmotionModel],
    transcriber: Transcriber | None,
    n_workers: int | None,
    out: Output | None = None,
    asked: Mapping[str, Answering] | None = None,
) -> int:
    """Ask everyone what is not in the journal, one after the other; return how many questions that were."""
    n_asked = 0
    for part, model in parts.items():
        of_part = files if part == MODEL else usable(journal, files)
        with progress_bar(model.name) as advance:
            whom = model if asked is None else asked[part]
            told = _committing(out, advance)
            n_asked += ask_model(journal, part, whom, of_part, n_workers=n_workers, on_recording=told)
    if transcriber is not None:
        with progress_bar(transcriber.name) as advance:
            told = _committing(out, advance)
            n_asked += ask_words(journal, transcriber, usable(journal, files), on_recording=told)
    return n_asked


def _committing(out: Output | None, advance: Callable[[int, float], object]) -> Callable[[int, float], None]:
    """Put the journal where an output at a URL belongs, now and then."""

    def told(n_recordings: int, seconds: float) -> None:
        advance(n_recordings, seconds)
        if out is not None:
            out.commit(every_seconds=COMMIT_SECONDS)

    return told


def _table(
    journal: Journal,
    files: Sequence[str],
    parts: Mapping[str, EmotionModel],
    min_confidence: float | None,
    transcriber: Transcriber | None,
) -> ResultTable:
    return ResultTable.of(
        journal,
        files,
        parts[MODEL].classes,
        min_confidence=min_confidence,
        baseline_classes=parts[BASELINE].classes if BASELINE in parts else None,
        text=transcriber is not None,
    )


def _run(settings: PredictSettings) -> int:
    settings.check()
    files = find_recordings(settings.files_or_folders)
    if not files:
        raise SettingsError(
            f"no audio files below {', '.join(settings.files_or_folders)}: name them one by one"
        )
    if settings.out is None and len(files) > (1 if settings.timeline else MOST_PRINTED):
        where = "a folder, --out timelines" if settings.timeline else "a file, --out results.csv"
        raise SettingsError(f"{len(files)} recordings are too many for the screen: give {where}")
    parts = {
        MODEL: settings.loading()(device=settings.device),
    }
    print(_introduction(parts[MODEL], settings.model), file=sys.stderr)
    if settings.baseline is not None:
        parts[BASELINE] = load_model(settings.baseline, device=settings.device)
    transcriber = None
    if settings.transcribe is not None:
        from ser_transfer.transcription import Transcriber

        transcriber = Transcriber.load(settings.transcribe, device=settings.device)
    try:
        with output_of(settings) as out, closing(journal_of(settings, out, files, parts)) as journal:
            if settings.timeline:
                return _follow(settings, out, journal, files, parts[MODEL], transcriber)
            return _answer(settings, out, journal, files, parts, transcriber)
    except KeyboardInterrupt:
        if settings.out is not None:
            raise
        print("interrupted; with --out, what was finished would have been kept", file=sys.stderr)
        return INTERRUPTED


def _introduction(model: EmotionModel, name: str) -> str:
    """Say in one line who answers, how well it knows speakers it had not heard, and what would be better."""
    known, line = model.training, f"model: {model.name}"
    if known.get("uar") is not None:
        interval = known.get("uar_interval")
        within = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
        whom = "had not heard" if known.get("speaker_independent", True) else "HAD HEARD"
        line += (
            f", UAR {known['uar']:.3f}{within} on speakers that it {whom} ({known.get('split', 'held out')})"
        )
    if name in SHIPPED_MODELS:
        line += (
            "; it ships with this package and knows German acted speech. For yours, train one (python -m "
            "ser_transfer.train --help) and give --model outputs/RUN/model"
        )
    return line


def _answer(
    settings: PredictSettings,
    out: Output | None,
    journal: Journal,
    files: Sequence[str],
    parts: Mapping[str, EmotionModel],
    transcriber: Transcriber | None,
) -> int:
    """Answer each recording as a whole, into a table."""
    cluster = settings.cluster()
    with nullcontext() if cluster is None else cluster:
        asked = None
        if cluster is not None:
            loading: dict[str, Callable[..., EmotionModel]] = {
                MODEL: settings.loading(),
                BASELINE: partial(load_model, settings.baseline or ""),
            }
            asked = {part: ClusterModel(cluster, model, loading[part]) for part, model in parts.items()}
        n_asked = _ask(journal, files, parts, transcriber, settings.n_workers, out, asked)
    table = _table(journal, files, parts, settings.min_confidence, transcriber)
    if out is None or settings.out is None:
        print(table)
    else:
        path = out.folder / Path(settings.out).name
        if n_asked or journal.n_gone or not path.is_file():
            write_table(path, table)
    told = []
    if settings.min_confidence is not None:
        told.append(f"{table.n_abstained} below {settings.min_confidence:g}, without an emotion")
    if BASELINE in parts:
        told.append(
            f"the baseline agrees on {table.count('agree', True)}, disagrees on {table.count('agree', False)}"
        )
    return _told(settings, journal, files, told, n_asked)


def _follow(
    settings: PredictSettings,
    out: Output | None,
    journal: Journal,
    files: Sequence[str],
    model: EmotionModel,
    transcriber: Transcriber | None,
) -> int:
    """Follow emotion through each recording, into a file each, or through one onto the screen."""
    following = settings.of_timelines
    with steps_bar(model.name) as advance:
        on_progress = _by_seconds(files, advance)
        if out is None:
            [file] = files
            timeline = followed(file, model, following, transcriber, partial(on_progress, file))
        else:
            paths = timeline_paths(files, out.folder, settings.format)

            def on_seconds(file: str, seconds: float) -> None:
                on_progress(file, seconds)
                out.commit(every_seconds=COMMIT_SECONDS)

            n_asked = follow_into(
                journal, model, following, paths, out, transcriber=transcriber, on_progress=on_seconds
            )
    if out is None:
        print(segments_table(timeline))
        return 0
    n_segments = sum((journal.get(TIMELINE, file) or {}).get("n_segments", 0) for file in files)
    return _told(settings, journal, files, [f"{n_segments} segments"], n_asked)


def _by_seconds(files: Sequence[str], advance: Callable[[int, str], None]) -> Callable[[str, float], None]:
    """Count seconds of sound on a bar whose steps they are; lengths are looked up only where it shows."""
    n_seconds = 0
    if sys.stderr.isatty():
        for file in files:
            with suppress(AudioError):
                n_seconds += math.ceil(duration_seconds(file))
    reached: dict[str, int] = {}

    def on_progress(file: str, seconds: float) -> None:
        for _ in range(int(seconds) - reached.get(file, 0)):
            advance(n_seconds, f"seconds, {Path(file).name}")
        reached[file] = int(seconds)

    return on_progress


def _told(
    settings: PredictSettings, journal: Journal, files: Sequence[str], told: Sequence[str], n_asked: int
) -> int:
    """Tell on standard error what was done, and what was not and why; return the exit code."""
    failures = journal.failures((MODEL, BASELINE, TEXT, TIMELINE), files)
    for _, error in list(failures.values())[:MOST_TOLD]:
        print(f"error: {error}", file=sys.stderr)
    line = f"{len(files)} recording{'s' * (len(files) != 1)}: {len(files) - len(failures)} done"
    if failures:
        reasons = Counter(error.reason for _, error in failures.values()).most_common()
        line += f", {len(failures)} could not be used ({', '.join(f'{reason} {n}' for reason, n in reasons)})"
    line = "; ".join([line, *told])
    if settings.out is not None:
        line += f"; {'written to' if n_asked else 'all of it was there already in'} {settings.out}"
        line += "" if n_asked else ", and --restart does it again"
    print(line, file=sys.stderr)
    return 1 if failures else 0


main = command(PredictSettings, _run, words="files_or_folders")
sys.modules[__name__].__class__ = CallableModule

if __name__ == "__main__":
    sys.exit(main())
