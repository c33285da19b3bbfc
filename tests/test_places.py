"""A place: a path of this machine, or a URL, by the same calls."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ser_transfer.places import PlaceError, explaining, is_url, place


@pytest.mark.parametrize("text", ["cache/embeddings", "/data/x.wav", r"C:\corpora", "a:b", "./s3:/x"])
def test_a_path_stays_a_path(text: str) -> None:
    assert not is_url(text)
    assert isinstance(place(text), Path)
    assert str(place(text)) == str(Path(text))


def test_a_url_has_the_calls_of_a_path() -> None:
    folder = place("memory://test_places/store")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.txt").write_text("1", encoding="utf-8")
    assert is_url(str(folder))
    assert [path.name for path in folder.iterdir()] == ["one.txt"]
    assert (folder / "one.txt").read_text(encoding="utf-8") == "1"


def test_an_unknown_scheme_is_refused_with_what_is_known() -> None:
    with pytest.raises(PlaceError, match=r"nowhere://.*s3://"):
        place("nowhere://bucket/store")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "it is not there"),
        (PermissionError(errno.EACCES, "Access Denied"), "credentials or permissions"),
        (OSError(errno.EIO, "Reduce your request rate"), "Reduce your request rate"),
    ],
)
def test_an_error_names_the_place_and_what_to_do(error: OSError, told: str) -> None:
    with pytest.raises(PlaceError, match=told) as found, explaining("s3://bucket/store"):
        raise error
    assert "s3://bucket/store" in str(found.value)
    assert "\n" not in str(found.value)


def test_an_error_of_the_code_passes() -> None:
    with pytest.raises(ZeroDivisionError), explaining("s3://bucket"):
        raise ZeroDivisionError
