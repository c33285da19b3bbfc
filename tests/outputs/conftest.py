"""One run of a small corpus on disk, trained once, and a machine whose cache is empty."""

import pytest
from tone_corpus import write_tones

import ser_transfer.embed
import ser_transfer.train


class Machine:
    """What tells one machine from another here: the cache of its user."""

    def __init__(self, monkeypatch, tmp_path):
        self._monkeypatch, self._tmp_path = monkeypatch, tmp_path
        self.move("one")

    def move(self, name):
        self.cache = self._tmp_path / f"machine-{name}"
        self._monkeypatch.setenv("SER_TRANSFER_CACHE", str(self.cache))

    @property
    def kept(self):
        """The files of outputs that are kept here, by name."""
        found = sorted(path for path in self.cache.glob("urls/outputs/*/*/**/*") if path.is_file())
        return {path.name: path for path in found}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return Machine(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def tones_at_hand(tmp_path_factory):
    """The corpus as flags, with its embeddings in a store."""
    folder = tmp_path_factory.mktemp("at-hand")
    write_tones(folder / "tones")
    corpus = [
        *("--corpus", "folder", "--root", str(folder / "tones")),
        *("--speaker-pattern", "(?P<speaker>p[0-9])_", "--store", str(folder / "store")),
    ]
    assert ser_transfer.embed.main([*corpus, "--encoder", "mfcc", "--n-workers", "1"]) == 0
    return corpus


@pytest.fixture(scope="session")
def train_into(tones_at_hand):
    def train(out, *flags):
        told = ["--encoder", "mfcc", "--head", "lda", "--split", "loso", "--no-plots"]
        told += ["--allow", "near-identical-audio"]
        return ser_transfer.train.main([*tones_at_hand, *told, "--out", str(out), *flags])

    return train


@pytest.fixture(scope="session")
def local_run(train_into, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train_into(folder) == 0
    return folder
