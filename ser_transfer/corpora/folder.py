"""A folder of the user's own: one folder per emotion."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ser_transfer.corpora._names import CODES_ADVICE, checked_codes, emotion_of, ids_of_paths
from ser_transfer.corpora._rows import CorpusError, Utterance, corpus_dataset, examples, warn
from ser_transfer.corpora._scan import AUDIO_SUFFIXES, checked_place, find_audio, relative
from ser_transfer.labels import LabelError
from ser_transfer.places import is_url

if TYPE_CHECKING:
    from datasets import Dataset

# What a pattern may take from a path, by the name of its group.
_GROUPS = ("speaker", "sentence", "intensity", "gender", "session")


def load_folder(
    root: str | os.PathLike[str] | None,
    *,
    speaker_pattern: str | None = None,
    emotion_codes: Mapping[str, str | None] | None = None,
    language: str | None = None,
) -> Dataset:
    r"""Read a folder in which each recording lies under a folder named after its emotion.

    That folder may lie at any depth (``angry/p01/x.wav``, ``p01/angry/x.wav``), under names such as
    ``Happy`` or ``Freude``, but a path may name only one emotion.

    Args:
        root: The folder, or its URL.
        speaker_pattern: Regular expression with a group named ``speaker``, searched in the path below the
            folder, written with slashes: ``(?P<speaker>p\d+)``. Groups named ``sentence``, ``intensity``,
            ``gender`` and ``session`` fill those columns. Without it, speakers are unknown.
        emotion_codes: Folder names to emotions, for names that are none; None leaves a folder out.
        language: ISO 639-1 code of all recordings.

    Raises:
        CorpusError: If the folder has no recordings, or the pattern is wrong or does not fit a file.
        LabelError: If a recording lies under no emotion, or under two.
    """
    if root is None or not (is_url(root) or Path(root).is_dir()):
        raise CorpusError(
            f"corpus folder needs a folder (root, --root DIR) with one folder per emotion, not {root}"
        )
    folder = checked_place(root) if is_url(root) else Path(os.path.abspath(root))  # noqa: PTH100
    pattern, codes = _checked_pattern(speaker_pattern), checked_codes(emotion_codes)
    recordings = find_audio(folder)
    if not recordings:
        raise CorpusError(f"no recordings under {folder}; looked for {', '.join(sorted(AUDIO_SUFFIXES))}")
    paths = [PurePath(relative(path, folder)) for path in recordings]
    names = ids_of_paths([str(path) for path in paths], [(None, None)] * len(paths))
    emotions = [_emotion(path, codes) for path in paths]
    kept = [
        Utterance(name, str(recording), emotion, language=language, **_groups(path, pattern))
        for name, recording, path, emotion in zip(names, recordings, paths, emotions, strict=True)
        if emotion is not None
    ]
    if len(kept) < len(paths):
        left_out = [path.as_posix() for path, emotion in zip(paths, emotions, strict=True) if emotion is None]
        warn(
            f"folder: left out {len(left_out)} recordings that emotion_codes leaves out: {examples(left_out)}"
        )
    return corpus_dataset(kept)


def _emotion(path: PurePath, codes: Mapping[str, str | None]) -> str | None:
    """Return what the one folder on the path that names an emotion says."""
    meanings: dict[str, str | None] = {}
    for name in path.parent.parts:
        try:
            meanings[name] = emotion_of(name, codes)
        except LabelError:  # a folder named after a speaker, say; the error below names them all
            continue
    if len(set(meanings.values())) > 1:
        raise LabelError(f"{path} lies under folders of different emotions, {' and '.join(meanings)}")
    if not meanings:
        folders = ", ".join(path.parent.parts) or "none"
        raise LabelError(
            f"{path} lies under no folder named after an emotion (its folders: {folders}); rename the "
            f"folder, {CODES_ADVICE}"
        )
    return next(iter(meanings.values()))


def _checked_pattern(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    advice = "a pattern such as (?P<speaker>p\\d+) is wanted (speaker_pattern, --speaker-pattern)"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise CorpusError(f"{pattern!r} is no regular expression: {error}; {advice}") from None
    unknown = [name for name in compiled.groupindex if name not in _GROUPS]
    if "speaker" not in compiled.groupindex or unknown:
        raise CorpusError(
            f"{pattern!r} has the named groups {', '.join(compiled.groupindex) or 'none'}; speaker is "
            f"needed, known are {', '.join(_GROUPS)}; {advice}"
        )
    return compiled


def _groups(path: PurePath, pattern: re.Pattern[str] | None) -> dict[str, Any]:
    if pattern is None:
        return {}
    match = pattern.search(path.as_posix())
    if match is None or not match["speaker"]:
        raise CorpusError(
            f"{pattern.pattern!r} finds no speaker in {path.as_posix()!r}; it must fit every recording "
            "(speaker_pattern, --speaker-pattern)"
        )
    return match.groupdict()
