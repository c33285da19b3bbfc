"""The page as a whole: what it imports, where it listens, what it gives away, and that every tab opens."""

import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from gradio_client import Client, handle_file
from page_helpers import Pitched, serve

from ser_transfer.demo import DemoSettings, without_model_flag
from ser_transfer.interface import InterfaceError, build_demo

TABS = ("Listen", "Live", "Compare", "Corpus", "Batch")


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_the_interface_imports_no_gradio():
    code = "import sys, ser_transfer.interface, ser_transfer.demo; print('gradio' in sys.modules)"
    assert run_python(code) == "False\n"


def test_a_page_without_models_is_refused():
    with pytest.raises(InterfaceError, match="needs a model"):
        build_demo([])


def test_building_serves_nothing_and_tells_nobody():
    page = build_demo([Pitched()])
    assert not page.is_running
    assert not page.analytics_enabled


def test_it_listens_to_this_machine_only_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    page = build_demo([Pitched()])
    try:
        page.launch(quiet=True, prevent_thread_lock=True)
        assert page.server_name == "127.0.0.1"
        assert page.share_url is None
    finally:
        page.close(verbose=False)


def test_what_visitors_gave_is_deleted_when_it_is_old(monkeypatch, tmp_path, write_tones):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr("ser_transfer.interface.build.CACHE_SECONDS", (1, 1))
    server = serve(Pitched())
    try:
        client = Client(next(server), verbose=False, analytics_enabled=False)
        client.predict(handle_file(write_tones((230, 1.0))), api_name="/predict")
        for _ in range(60):
            if not list((tmp_path / "gradio").rglob("*.wav")):
                break
            time.sleep(0.5)
        assert not list((tmp_path / "gradio").rglob("*.wav"))
    finally:
        server.close()


@pytest.mark.parametrize("route", ["gradio_api/file=", "file=", "gradio_api/file/"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../../../etc/passwd", "pyproject.toml", __file__])
def test_it_serves_no_file_that_it_was_not_given(address, route, path):
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}{route}{path}")
    assert refused.value.code in (403, 404)


def test_names_behind_the_flag_and_without_one_are_the_models():
    assert without_model_flag(["--model", "a", "b", "--port", "1"]) == ["a", "b", "--port", "1"]
    assert without_model_flag(["--model=a", "--port=1"]) == ["a", "--port=1"]


def test_the_defaults_of_the_command_are_those_of_the_limits():
    settings = DemoSettings()
    assert (settings.host, settings.max_seconds, settings.max_megabytes) == ("127.0.0.1", 600, 100)


@pytest.mark.parametrize("width", [1280, 390])
def test_every_tab_opens_and_none_is_wider_than_the_screen(address, open_page, width):
    page = open_page(address, width=width)
    for name in TABS:
        page.get_by_role("tab", name=name, exact=True).click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        panel.wait_for()
        assert panel.inner_text().strip()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width, name


def test_the_tabs_can_be_walked_with_the_keyboard(address, open_page):
    page = open_page(address)
    page.get_by_role("tab", name="Live").focus()
    page.keyboard.press("Enter")
    page.locator("#live-audio").wait_for(state="visible")


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)", after WCAG 2."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_paper_in_light_and_dark(address, open_page, scheme):
    page = open_page(address, scheme=scheme)
    colour_of = "(each, name) => getComputedStyle(each)[name]"
    paper = luminance(page.locator("gradio-app").evaluate(colour_of, "backgroundColor"))
    assert (paper > 0.5) == (scheme == "light")
    for place in ("#masthead h1", "#masthead p", "[role=tab][aria-selected=true]", ".hint"):
        text = luminance(page.locator(place).first.evaluate(colour_of, "color"))
        contrast = (max(text, paper) + 0.05) / (min(text, paper) + 0.05)
        assert contrast >= 4.5, place
