"""The server that the other tests stand on does to a client what it is told to, and counts it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from object_store.server import DROP_DOWNLOAD, DROP_UPLOAD, SLOW_DOWN, STORE_SHORT

from ser_transfer.places import place

CONTENT = bytes(range(256)) * 400


def test_an_object_comes_back_as_it_was_put_also_in_another_process(s3) -> None:
    place(f"{s3.url}/a/b.bin").write_bytes(CONTENT)
    assert s3.keys == ["a/b.bin"]
    assert s3.content("a/b.bin") == CONTENT
    code = f"""
from ser_transfer.places import place
assert place("{s3.url}/a/b.bin").read_bytes() == bytes(range(256)) * 400
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("what", [500, SLOW_DOWN, DROP_UPLOAD, 0.05])
def test_a_put_that_fails_once_is_tried_again(s3, what) -> None:
    trouble = s3.trouble(what, method="PUT", key="b.bin")
    place(f"{s3.url}/b.bin").write_bytes(CONTENT)
    assert trouble.n_met == 1
    assert s3.content("b.bin") == CONTENT


def test_an_upload_may_be_stored_short(s3) -> None:
    s3.trouble(STORE_SHORT, method="PUT")
    place(f"{s3.url}/b.bin").write_bytes(CONTENT)
    assert s3.content("b.bin") == CONTENT[: len(CONTENT) // 2]


def test_the_nth_request_of_a_kind_is_met_and_no_other(s3) -> None:
    trouble = s3.trouble(403, method="GET", key="two", nth=2)
    s3.put("one.txt", b"1")
    s3.put("two.txt", b"2")
    for _ in range(2):
        assert place(f"{s3.url}/one.txt").read_bytes() == b"1"
    fs = place(s3.url).fs  # type: ignore[attr-defined]
    assert fs.cat_file(f"{s3.bucket}/two.txt") == b"2"
    with pytest.raises(PermissionError):
        fs.cat_file(f"{s3.bucket}/two.txt")
    assert fs.cat_file(f"{s3.bucket}/two.txt") == b"2"
    assert (trouble.n_seen, trouble.n_met) == (3, 1)


def test_a_download_is_torn(s3) -> None:
    s3.put("b.bin", CONTENT)
    torn = s3.trouble(DROP_DOWNLOAD, method="GET", key="b.bin", times=100)
    with pytest.raises(Exception, match=r".") as found:
        place(f"{s3.url}/b.bin").fs.cat_file(f"{s3.bucket}/b.bin")  # type: ignore[attr-defined]
    assert not isinstance(found.value, AssertionError)
    assert torn.n_met >= 1
