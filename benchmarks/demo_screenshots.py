"""Pictures of the page: every tab on a wide screen in light and dark, and on a phone, as PNG.

python benchmarks/demo_screenshots.py screenshots/ [--runs outputs/] [--corpus emodb --root DIR]

It starts the page with the shipped models, presses and speaks as a visitor would, and photographs what a real
Chromium shows. It needs Playwright's Python package (`pip install playwright`) and a chromium on the path.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ser_transfer.demo import DemoSettings, demo
from ser_transfer.interface.examples import Examples

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, PHONE = (1280, 900), (390, 844)  # CSS pixels
LOOKS = {"light": (WIDE, "light"), "dark": (WIDE, "dark"), "phone": (PHONE, "light")}
TABS = ("Listen", "Live", "Compare", "Corpus", "Batch")
LIVE_SECONDS = 12.0
PATIENCE = 300_000.0  # ms: on a busy machine everything takes long
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the PNGs are written")
    parser.add_argument("--runs", help="folder of finished runs, for the tab Compare")
    parser.add_argument("--corpus", help="name of a corpus, for the tab Corpus and the examples")
    parser.add_argument("--root", help="its folder")
    parser.add_argument("--looks", nargs="+", default=list(LOOKS), choices=list(LOOKS))
    parser.add_argument("--tabs", nargs="+", default=list(TABS), choices=list(TABS))
    given = parser.parse_args()
    page = demo(DemoSettings(runs=given.runs, corpus=given.corpus, root=given.root))
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        photograph(address, given.folder, given.looks, given.tabs)
    finally:
        page.close()


def photograph(address: str, folder: Path, looks: list[str], tabs: list[str]) -> None:
    """Write one PNG per look and tab."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no chromium on the path: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary, sync_playwright() as playwright:
        spoken = Path(temporary) / "spoken.wav"
        examples = Examples()  # which takes its files along when it goes
        shutil.copyfile(examples.all()[-1].make(), spoken)
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={spoken}"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for look in looks:
            opened = _opened(browser, address, look)
            for tab in tabs:
                opened.get_by_role("tab", name=tab).click()
                opened.wait_for_timeout(1500)
                _use(opened, tab)
                path = folder / f"{look}-{tab.lower()}.png"
                opened.screenshot(path=path, full_page=True)
                print(path, flush=True)
            opened.close()
        browser.close()


def _opened(browser: Browser, address: str, look: str) -> Page:
    (width, height), scheme = LOOKS[look]
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1)
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}?__theme={scheme}")
    page.get_by_role("tab", name="Listen").wait_for()
    return page


def _use(page: Page, tab: str) -> None:
    """Do what fills a tab."""
    if tab == "Listen":
        page.locator("#listen-explain input").check()
        page.locator("#listen-examples button").last.click()
        page.locator("#listen-listened .lane").first.wait_for()
        page.locator("#listen-timelines .segment").nth(1).click()
        page.wait_for_timeout(700)
    elif tab == "Live":
        page.locator("#live-audio").get_by_role("button", name="Record").click()
        page.locator("#live-now .bar").first.wait_for()
        page.wait_for_timeout(1000 * LIVE_SECONDS)
    page.wait_for_timeout(1000)


if __name__ == "__main__":
    main()
