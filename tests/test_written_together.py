"""Files that take their places together, whoever is killed and whoever else is writing."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ser_transfer._files import written_together

WRITE = """
import sys
from ser_transfer._files import written_together
with written_together(sys.argv[1], last="last") as part:
    (part / "first").write_text("new")
    print("ready", flush=True)
    sys.stdin.readline()
    (part / "last").write_text("new")
"""


def writer(folder):
    started = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == "ready\n"
    return started


def write(folder, text):
    with written_together(folder, last="last") as part:
        (part / "first").write_text(text)
        (part / "last").write_text(text)


def texts(folder):
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be locked there")
def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_one_is_let_be(tmp_path):
    write(tmp_path, "old")
    killed, living = writer(tmp_path), writer(tmp_path)
    killed.kill()
    killed.communicate()
    assert len(list(tmp_path.glob(".part-*"))) == 2
    write(tmp_path, "between")
    assert len(list(tmp_path.glob(".part-*"))) == 1
    assert (tmp_path / "first").read_text() == (tmp_path / "last").read_text() == "between"
    living.communicate("\n")
    assert living.returncode == 0
    assert texts(tmp_path) == {"first": "new", "last": "new"}
    assert not list(tmp_path.glob(".part-*"))


def test_the_file_that_readers_look_for_never_stands_beside_those_of_another_writing(tmp_path, monkeypatch):
    write(tmp_path, "old")
    seen = []
    replace = type(tmp_path).replace

    def watched(path, target):
        seen.append((target.parent / "last").read_text() if (target.parent / "last").exists() else None)
        return replace(path, target)

    monkeypatch.setattr(type(tmp_path), "replace", watched)
    write(tmp_path, "new")
    assert len(seen) == 2
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first": "new", "last": "new"}
    assert seen == [None, None], "the old one goes first, the new one comes last"


def test_threads_that_write_one_folder_at_once_do_not_meet(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: write(tmp_path, str(n)), range(64)))
    assert not list(tmp_path.glob(".part-*"))
    assert set(texts(tmp_path)) == {"first", "last"}
