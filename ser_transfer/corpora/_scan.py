"""Finding the recordings of a corpus, on disk or at a URL, as people really have them."""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from ser_transfer.corpora._rows import CorpusError, Utterance, examples, warn
from ser_transfer.corpora.card import CorpusCard
from ser_transfer.places import (
    PlaceError,
    cause_of,
    found_below,
    is_object,
    is_url,
    place,
    read_object,
    status_of,
)

LOSSLESS_SUFFIXES = frozenset({".wav", ".wave", ".flac", ".aif", ".aiff"})
AUDIO_SUFFIXES = LOSSLESS_SUFFIXES | {".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".webm", ".mka"}


def find_files(root: Path) -> list[Path]:
    """Return every file below a folder, sorted, as absolute paths.

    Names that begin with a dot, and the folder ``__MACOSX``, are the operating system's (macOS leaves
    a ``._name.wav`` beside each ``name.wav``), never recordings. Links are followed, each folder is
    visited once. What lies at a URL is listed once, with a request for each thousand.

    Raises:
        CorpusError: If a URL cannot be listed, or there is nothing.
    """
    if is_object(root):
        return _find_objects(root)
    found: list[Path] = []
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(os.path.abspath(root), followlinks=True):  # noqa: PTH100
        visited.add(os.path.realpath(folder))
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith((".", "__MACOSX"))
            and os.path.realpath(os.path.join(folder, name)) not in visited  # noqa: PTH118
        ]
        found.extend(Path(folder, name) for name in names if not name.startswith("."))
    return sorted(found)


def find_audio(root: Path) -> list[Path]:
    """Return every recording below a folder, sorted; the extension's capitals do not matter."""
    return [path for path in find_files(root) if path.suffix.lower() in AUDIO_SUFFIXES]


def checked_root(root: str | os.PathLike[str] | None, card: CorpusCard) -> Path:
    """Return the folder of a published corpus.

    Raises:
        CorpusError: If none was given, or it is not there; the message says where to get the corpus.
    """
    if root is None:
        raise CorpusError(f"{card.name} needs its folder (root, --root DIR); {card.title} is at {card.url}")
    folder = checked_place(root)
    if not is_object(folder) and not folder.is_dir():  # at a URL, what is found in it tells
        raise CorpusError(f"no folder at {folder}; give the folder of {card.title}, which is at {card.url}")
    return folder


def checked_place(root: str | os.PathLike[str]) -> Path:
    """Name the folder or file of a corpus, absolute.

    Raises:
        CorpusError: If nothing here knows the URL's scheme.
    """
    try:
        return place(root) if is_url(root) else Path(root)
    except PlaceError as error:
        raise CorpusError(str(error)) from error


@contextmanager
def reading(where: Path) -> Iterator[None]:
    """Turn what goes wrong at a URL into a line; files are left to who reads them.

    Raises:
        CorpusError: In its stead.
    """
    try:
        yield
    except OSError as error:
        if not is_object(where):
            raise
        raise CorpusError(f"{where} cannot be read: {cause_of(error)}") from error


def is_file(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        CorpusError: If a URL does not answer.
    """
    if not is_object(path):
        return path.is_file()
    with reading(path):
        found = status_of(path)
        return found is not None and not found.is_folder


def read_bytes(path: Path) -> bytes:
    """Read a file that lies beside the recordings.

    Raises:
        CorpusError: If a URL does not answer.
        OSError: If a file cannot be read.
    """
    with reading(path):
        return read_object(path) if is_object(path) else path.read_bytes()


def named_utterances(
    recordings: Sequence[Path], root: Path, card: CorpusCard, parse: Callable[[Path], Utterance | None]
) -> list[Utterance]:
    """Read a corpus whose file names tell everything.

    Files with names of another form are left out and reported. Where an utterance is there more than
    once, it is kept once and that is reported.

    Args:
        recordings: The audio files under the folder.
        root: The corpus's folder, for the messages.
        card: Its facts, for the messages.
        parse: Path to utterance; None for a name of another form.

    Returns:
        The utterances, sorted by id.

    Raises:
        CorpusError: If there is no recording of the corpus, or one id has two different recordings.
        LabelError: What `parse` raises for an unmapped code.
    """
    copies: dict[str, list[Utterance]] = defaultdict(list)
    odd: list[Path] = []
    for path in recordings:
        utterance = parse(path)
        if utterance is None:
            odd.append(path)
        else:
            copies[utterance.utterance_id].append(utterance)
    if not copies:
        named = (
            f"none of the {len(recordings)} audio files is" if recordings else "no audio file is there, none"
        )
        raise CorpusError(
            f"{root}: {named} named as in {card.title} ({card.example_file}); the corpus is at {card.url}"
        )
    report_odd(card.name, root, odd)
    return _without_copies(card.name, root, copies)


def report_odd(name: str, root: Path, odd: Sequence[Path]) -> None:
    """Say which recordings were left out because their names do not tell what they are."""
    if odd:
        shown = examples([relative(path, root) for path in odd])
        warn(f"{name}: left out {len(odd)} audio files whose names the corpus does not use: {shown}")


def check_count(name: str, root: Path, n_found: int, n_published: int) -> None:
    """Say when there are fewer utterances, or more, than were published.

    Raises:
        CorpusError: If there are none.
    """
    if n_found == 0:
        raise CorpusError(f"{name}: none of the {n_published} published utterances is under {root}")
    if n_found != n_published:
        warn(f"{name}: {n_found} utterances are under {root}, {n_published} were published")


def check_choice(setting: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that a setting does not know.

    Raises:
        CorpusError: Naming the choices.
    """
    if value not in choices:
        raise CorpusError(f"{setting} is {value!r}; known are {', '.join(choices)}")


def _without_copies(name: str, root: Path, copies: dict[str, list[Utterance]]) -> list[Utterance]:
    """Keep one file per id: lossless before lossy, then the one least deep.

    RAVDESS and TESS are widely passed on as archives that hold every file twice, once in a nested
    folder; CREMA-D's own repository holds MP3 beside WAV.
    """
    kept, left_out = [], []
    for utterance_id in sorted(copies):
        first, *others = sorted(copies[utterance_id], key=_preference)
        for other in others:
            if _is_other_recording(first, other):
                raise CorpusError(
                    f"{name}: {utterance_id} has two different recordings, {first.audio} and {other.audio}; "
                    "move the wrong one away"
                )
            left_out.append(relative(checked_place(str(other.audio)), root))
        kept.append(first)
    if left_out:
        warn(f"{name}: left out {len(left_out)} second copies of utterances: {examples(left_out)}")
    return kept


def _preference(utterance: Utterance) -> tuple[bool, int, str]:
    path = PurePath(str(utterance.audio))
    return path.suffix.lower() not in LOSSLESS_SUFFIXES, len(path.parts), str(path)


def _is_other_recording(first: Utterance, other: Utterance) -> bool:
    """Compare files of one format by content; the same name in another format is taken for a conversion."""
    one, two = checked_place(str(first.audio)), checked_place(str(other.audio))
    if one.suffix.lower() != two.suffix.lower():
        return False
    if is_object(one):
        return read_bytes(one) != read_bytes(two)
    return not filecmp.cmp(one, two, shallow=False)


def _find_objects(root: Path) -> list[Path]:
    with reading(root):
        found = [each.name for each in found_below(root)]
    if not found:
        raise CorpusError(f"nothing is at {root}: check the name")
    return [root / name for name in found if not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    """Whether a name below a root, or a folder on the way to it, is the operating system's."""
    *folders, file = name.split("/")
    return file.startswith(".") or any(folder.startswith((".", "__MACOSX")) for folder in folders)


def relative(path: Path, root: Path) -> str:
    """Name a file below a root, with slashes."""
    if is_object(path):
        return str(path).removeprefix(str(root).rstrip("/") + "/")
    return path.relative_to(os.path.abspath(root)).as_posix()  # noqa: PTH100
