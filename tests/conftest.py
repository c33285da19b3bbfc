"""What the tests share: where the real corpora and weights lie, and a small corpus that always does."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

# Tests that run side by side have a core each: set before torch and NumPy start their threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from object_store import server as object_store
from tone_corpus import write_tones
from zero_crossings import ZeroCrossings

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and weights; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(
            f"needs the real corpora and weights, and {SHARED} is not there (SER_TRANSFER_SHARED names it)"
        )
    return SHARED


@pytest.fixture
def encoder() -> ZeroCrossings:
    return ZeroCrossings()


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A folder corpus of 24 clips: the emotion is the pitch, the speaker the loudness."""
    return write_tones(tmp_path / "tones")


@pytest.fixture
def corpus(tones: Path):
    from ser_transfer import load_corpus

    return load_corpus("folder", tones, speaker_pattern="(?P<speaker>p[0-9])_")


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server on localhost, for all tests of this process; `s3` is what a test wants."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    server = object_store.ObjectStoreServer()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """An empty bucket on an S3 server, at which ``s3://`` leads in this process and in those it starts."""
    import asyncio

    import botocore.retryhandler
    import s3fs.core

    for name, value in object_store.environment(s3_server.endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SER_TRANSFER_CACHE", str(tmp_path / "cache"))
    # Waits between attempts are a matter of seconds, and of no test.
    monkeypatch.setattr(botocore.retryhandler, "delay_exponential", lambda *args, **kwargs: 0.01)
    hasty = SimpleNamespace(**{**vars(asyncio), "sleep": lambda seconds: asyncio.sleep(min(seconds, 0.01))})
    monkeypatch.setattr(s3fs.core, "asyncio", hasty)
    bucket = f"bucket-{secrets.token_hex(4)}"
    object_store.make_bucket(bucket)
    found = object_store.S3(s3_server, bucket)
    found.calm()
    found.forget()
    yield found
    found.calm()


COMPILED = """
import numpy as np
from ser_transfer.encoders import load_encoder
noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
for name in ("seed180", "handcrafted"):
    load_encoder(name).encode([noise])
"""


def pytest_configure(config):
    """Let one process compile what librosa compiles at its first use.

    Numba keeps that beside librosa. In a fresh environment several test processes would write it at the same
    time, and what one reads while another writes ends in a segmentation fault (seen twice in one run).
    """
    if not hasattr(config, "workerinput") and getattr(config.option, "numprocesses", None):
        subprocess.run([sys.executable, "-c", COMPILED], check=True)
