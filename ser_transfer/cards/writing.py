"""Words that others chose, written into Markdown so that they stay words.

Titles, corpora, sentences and settings come from users and from files. Whatever they hold, a card shows it as
text on one line: no markup, no HTML, no new cell or heading, no letters that turn the line around.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ser_transfer.tables import markdown_table

MAX_CHARACTERS = 160  # of one name: beyond, a table cannot be read
JOINERS = "\u200c\u200d"  # of Persian, Indic scripts and emoji: invisible, and part of the word

# As entities, which no dialect of Markdown reads as markup, in a table or out of it. The backslash and the
# dollar open formulas on the Hub.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;", "`": "&#96;", "$": "&#36;"}
_MARKUP = "*[]~#"


def plain(text: object, limit: int = MAX_CHARACTERS) -> str:
    """Bring what anyone may have written to one line of printable text, cut where it is too long."""
    kept = []
    for character in str(text):
        category = unicodedata.category(character)
        if category == "Cf" and character not in JOINERS:
            continue  # turns the line around, or hides
        kept.append(" " if category in ("Cc", "Cs", "Zl", "Zp") else character)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def escaped(text: object, limit: int = MAX_CHARACTERS) -> str:
    """Write text of any origin into a line or a cell of Markdown."""
    line = plain(text, limit)
    written = []
    for place, character in enumerate(line):
        before, after = line[max(place - 1, 0) : place], line[place + 1 : place + 2]
        inside = before.isalnum() and after.isalnum()
        if character == "&" and after == " ":  # begins no entity: authors & authors
            written.append(character)
        elif character in _ENTITIES:
            written.append(_ENTITIES[character])
        elif character in _MARKUP or (character == "_" and not inside):  # logistic_regression is one word
            written.append(f"\\{character}")
        else:
            written.append(character)
    return "".join(written)


def listed(words: Sequence[str]) -> str:
    """Join escaped words as a sentence does: a, b and c."""
    names = [escaped(word) for word in words]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out cells that are escaped already as a Markdown table."""
    return markdown_table([header, *rows])


def fenced(lines: Sequence[str]) -> str:
    """Show lines as they are, in a block that nothing in them can end."""
    shown = [line.replace("`", "'").rstrip() for line in lines]
    return "\n".join(["```text", *shown, "```"])


def number(value: float | None) -> str:
    """Write a score, as all tables of ours do."""
    return "n/a" if value is None else f"{value:.3f}"


def interval(ends: Sequence[float] | None) -> str:
    """Write an interval."""
    return "n/a" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def duration(seconds: float) -> str:
    """Write a time so that it can be pictured."""
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds:.1f} s ({seconds / size:.1f} {unit})"
    return f"{seconds:.1f} s"
