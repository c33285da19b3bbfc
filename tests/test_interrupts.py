"""Ctrl-C, pressed in a terminal: all processes of a command get it, and none prints a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_transfer._interrupts import finishing
from ser_transfer.encoders import load_encoder
from ser_transfer.fill import part_of
from ser_transfer.store import EmbeddingStore, verify

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no process groups")
SPEAKERS = "(?P<speaker>p[0-9])_"


@pytest.fixture
def many(tones):
    """Enough recordings for several processes to be started."""
    for path in sorted(tones.rglob("*.wav")):
        for number in range(4):
            (path.parent / f"{path.stem}{number}.wav").write_bytes(path.read_bytes() + bytes([number, 1]))
    return tones


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A folder on the path of the commands, by which every process of theirs decodes slowly."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import importlib.abc, sys\n"
        "class Slowed(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name != 'ser_transfer.encoders.pooled':\n"
        "            return None\n"
        "        sys.meta_path.remove(self)\n"
        "        import importlib.util\n"
        "        spec = importlib.util.find_spec(name)\n"
        "        run = spec.loader.exec_module\n"
        "        def exec_module(module):\n"
        "            run(module)\n"
        "            decode = module._decode\n"
        "            def decoded(*given):\n"
        "                import time\n"
        "                time.sleep(0.1)\n"
        "                return decode(*given)\n"
        "            module._decode = decoded\n"
        "        spec.loader.exec_module = exec_module\n"
        "        return spec\n"
        "sys.meta_path.insert(0, Slowed())\n"
    )
    root = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), root]))


class Terminal:
    """A command in a terminal of its own, and all that it shows."""

    def __init__(self, *words):
        self._ours, theirs = os.openpty()
        os.set_blocking(self._ours, False)
        self.process = subprocess.Popen(
            [sys.executable, "-m", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def look(self):
        try:
            self.shown += os.read(self._ours, 1 << 16).decode(errors="replace")
        except OSError:  # nothing new, or it has ended
            time.sleep(0.01)

    def wait_for(self, seen):
        deadline = time.monotonic() + 300
        while not seen():
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < deadline, self.shown
            self.look()

    def press(self):
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self):
        deadline = time.monotonic() + 300
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            self.look()
        for _ in range(10):
            self.look()
        return self.process.returncode

    def others(self):
        """Its processes that are still there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(int(folder.name))
        return found


def gone(terminal):
    deadline = time.monotonic() + 60
    while terminal.others() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not terminal.others()


@pytest.mark.parametrize(("n_workers", "n_pressed"), [(2, 1), (1, 2)])
def test_embed_keeps_what_it_had_done_and_says_how_to_go_on(n_workers, n_pressed, many, slow, tmp_path):
    store = EmbeddingStore(tmp_path / "store")
    flags = ["--corpus", "folder", "--root", many, "--store", store.root, "--encoder", "mfcc"]
    terminal = Terminal("ser_transfer.embed", *flags, "--n-workers", n_workers)
    terminal.wait_for(lambda: " 16/" in terminal.shown or " 32/" in terminal.shown)
    for _ in range(n_pressed):
        terminal.press()
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert (
        "interrupted; what was finished is kept. Go on with: python -m ser_transfer.embed" in terminal.shown
    )
    part = part_of(load_encoder("mfcc"))
    n_kept = len(store.keys(part))
    if n_pressed == 1:
        assert 16 <= n_kept < 120
    assert all(verify(stored.folder).is_sound for stored in store.parts())
    assert not list(store.root.glob("**/.*.tmp"))
    assert not Path("/proc").is_dir() or gone(terminal)


def test_predict_keeps_what_was_answered_and_says_how_to_go_on(many, slow, tmp_path):
    out = tmp_path / "r.csv"
    journal = tmp_path / "r.csv.journal"
    terminal = Terminal("ser_transfer", "predict", many, "--out", out, "--restart", "--n-workers", "1")
    terminal.wait_for(lambda: journal.is_file() and journal.read_bytes().count(b"\n") > 17)
    terminal.press()
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    said = " ".join(terminal.shown.split())
    assert f"Go on with: python -m ser_transfer.predict {many} --out {out} --n-workers 1" in said
    assert not out.exists()
    assert 17 < journal.read_bytes().count(b"\n") < 121


def test_a_command_that_is_still_importing_ends_without_a_traceback():
    code = (
        "import os, runpy, signal, sys, threading\n"
        "sys.argv = ['-m']\n"  # as Python has it while it looks for the module of -m
        "import ser_transfer\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "import time; time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (130, "interrupted before anything was done\n")


def test_importing_the_package_changes_no_signal():
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT); import ser_transfer; "
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def press():
    signal.raise_signal(signal.SIGINT)  # to this thread: the process of the tests may have others


@pytest.fixture
def _as_at_the_start():
    """Ctrl-C as Python has it, whatever other tests of this process made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_as_at_the_start")
def test_one_press_is_held_until_the_end_and_a_second_is_not():
    done = []

    def work(n_pressed):
        with finishing():
            for number in range(n_pressed):
                press()
                done.append(number)

    for n_pressed in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            work(n_pressed)
        assert done == [0], "the first is held back, and the second is raised where it comes"
        done.clear()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_as_at_the_start")
def test_an_error_within_is_told_and_not_hidden_by_the_press():
    def work():
        with finishing():
            press()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()
