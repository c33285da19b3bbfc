"""A run of a small corpus with its model, trained once, and the Hub on localhost."""

import pytest
from hub.server import hub_server  # noqa: F401 -- a fixture
from tone_corpus import write_tones

import ser_transfer.embed
import ser_transfer.train


@pytest.fixture(scope="session")
def tones_once(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("corpus") / "tones")


@pytest.fixture(scope="session")
def trained_once(tones_once, tmp_path_factory):
    """Give the function that trains a run with a head, once per head."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = [
        *("--corpus", "folder", "--root", str(tones_once), "--speaker-pattern", "(?P<speaker>p[0-9])_"),
        *("--encoder", "mfcc", "--store", str(folder / "store")),
    ]

    def trained(head="lda", split="loso"):
        run = folder / f"{head}-{split}"
        if not run.is_dir():
            ser_transfer.embed.main([*corpus, "--n-workers", "1"])
            told = [*corpus, "--allow", "near-identical-audio", "--head", head, "--split", split]
            assert ser_transfer.train.main([*told, "--out", str(run), "--no-plots"]) == 0
        return run

    return trained


@pytest.fixture
def run(trained_once):
    """A run whose speakers, p1 to p4, are people of an unpublished corpus."""
    return trained_once()
