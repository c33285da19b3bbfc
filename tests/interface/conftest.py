"""What the tests of the page share: stand-in models, a server, a real Chromium with a fake microphone."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_helpers import RATE, Pitched, serve, tone

from ser_transfer.interface import Limits

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 90_000.0  # ms, for a busy machine; on an idle one nothing takes a second
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)


@pytest.fixture
def write_tones(tmp_path: Path) -> Callable[..., Path]:
    """Writes a WAV of tones one behind the other, each given as (Hz, seconds)."""

    def write(*tones: tuple[float, float], name: str = "tones.wav") -> Path:
        path = tmp_path / name
        soundfile.write(path, np.concatenate([tone(*each) for each in tones]), RATE)
        return path

    return write


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A page with two models that never agree, the second the baseline; of 20 s and 1 MB at most."""
    limits = Limits(max_seconds=20, max_megabytes=1, max_explained_seconds=10)
    yield from serve(Pitched(), baseline=Pitched("contrary", contrary=True), limits=limits)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A real Chromium whose microphone hears a tone of 400 Hz, over and over."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser, and none of {', '.join(CHROMIUM_NAMES)} is on the path")
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    soundfile.write(heard, tone(400, 5), RATE)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=path, args=[*FLAGS, f"--use-file-for-fake-audio-capture={heard}"]
        )
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Opens pages, and checks in the end that they asked no other host for anything and met no error."""
    pages, foreign, errors = [], [], []

    def open_one(address: str, *, width: int = 1280, scheme: str = "light"):
        page = browser.new_page(viewport={"width": width, "height": 850})
        page.set_default_timeout(PATIENCE)
        schemes = (address, "data:", "blob:", address.replace("http", "ws", 1))
        page.on("request", lambda sent: foreign.extend([sent.url] * (not sent.url.startswith(schemes))))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}?__theme={scheme}")
        page.get_by_role("tab", name="Listen").wait_for()
        page.wait_for_function(
            f"document.body.classList.contains('dark') === {str(scheme == 'dark').lower()}"
        )
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert not foreign
    assert not errors
