"""What the tests share: where the real corpora and weights lie, if they lie anywhere."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and weights; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real corpora and weights, and {SHARED} is not there (SER_TRANSFER_SHARED names it)")
    return SHARED
