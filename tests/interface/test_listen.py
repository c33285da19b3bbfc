"""The tab Listen, in a real browser: what a visitor gives, and what the page then says."""

import shutil
import time

import numpy as np
import pytest
from page_helpers import Pitched, bars_of, serve, upload

from ser_transfer.interface import Limits
from ser_transfer.model import MFCC_MODEL, EmotionModel


def says(page, words: str) -> None:
    page.locator("#listen-readings").get_by_text(words).first.wait_for()


def test_the_bars_of_an_upload_are_the_models_probabilities(address, open_page, write_tones):
    clip = write_tones((230, 1.0))
    page = open_page(address)
    upload(page, clip)
    for name, model in (("pitched", Pitched()), ("contrary", Pitched(contrary=True))):
        (expected,) = 100 * model.predict_proba([str(clip)])
        assert bars_of(page, name) == pytest.approx(
            dict(zip(model.classes, expected, strict=True)), abs=0.051
        )
    says(page, "The models disagree: anger (1 of 2), sadness (1 of 2).")
    assert page.locator('section[aria-label="contrary"] .badge').inner_text() == "handcrafted baseline"
    assert page.locator('section[aria-label="pitched"] .badge').count() == 0


def test_what_is_drawn_has_words_for_those_who_do_not_see_it(address, open_page, write_tones):
    page = open_page(address)
    upload(page, write_tones((220, 1.0)))
    image = page.locator("#listen-tracks img")
    image.wait_for()
    # The tone is 220 Hz: the F0 that is told comes from another method than the model's.
    assert "Mel spectrogram of 1.0 s. F0 2" in image.get_attribute("alt")
    assert "median 220 Hz" in image.get_attribute("alt")
    assert page.locator("#listen-segments").count() == 0, "a second is too short for a timeline"


def test_a_segment_that_is_pressed_is_played_and_nothing_else(address, open_page, write_tones):
    page = open_page(address)
    upload(page, write_tones((100, 4.0), (400, 4.0)))
    segments = page.get_by_role("group", name="Segments, by pitched").get_by_role("button")
    segments.first.wait_for()
    assert [segments.nth(each).get_attribute("data-emotion") for each in range(segments.count())] == [
        "sadness",
        "anger",
    ]
    second = segments.nth(1)
    start, end = (float(second.get_attribute(name)) for name in ("data-start", "data-end"))
    assert start == pytest.approx(4.0, abs=0.5)
    assert end == pytest.approx(8.0)
    second.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#listen-tracks audio').currentTime > 4.5")
    assert page.locator("#listen-tracks audio").get_attribute("data-stretch").startswith(f"{start:g}-")
    first = segments.nth(0)
    first.click()
    page.wait_for_function(
        "(end) => { const a = document.querySelector('#listen-tracks audio');"
        " return a.paused && a.currentTime >= end }",
        arg=float(first.get_attribute("data-end")),
    )
    stopped = page.locator("#listen-tracks audio").evaluate("audio => audio.currentTime")
    assert stopped < 6, "it stops where the segment ends"


def test_what_comes_late_is_not_shown_with_the_next_recording(open_page, write_tones):
    class Slow(Pitched):
        def timeline(self, *arguments, **settings):
            time.sleep(2.0)
            return super().timeline(*arguments, **settings)

    server = serve(Slow())
    try:
        page = open_page(next(server))
        upload(page, write_tones((230, 8.0)))
        page.locator("#listen-timelines .waiting").wait_for(state="attached")
        page.locator("#listen-audio").get_by_label("Clear").click()
        page.locator("#listen-readings .empty").wait_for()
        upload(page, write_tones((230, 1.0), name="short.wav"))
        says(page, "One model answers: anger.")
        page.wait_for_timeout(3000)
        assert page.locator("#listen-timelines .lane").count() == 0
    finally:
        server.close()


def test_what_the_models_listened_to_can_be_switched_on_and_off(address, open_page, write_tones):
    page = open_page(address)
    upload(page, write_tones((230, 1.0)))
    says(page, "disagree")
    assert page.locator("#listen-listened .lane").count() == 0
    switch = page.get_by_label("Show what the models listened to")
    switch.check()
    page.locator("#listen-listened svg[role=img]").nth(1).wait_for()
    label = page.locator("#listen-listened svg").first.get_attribute("aria-label")
    assert label.startswith("pitched: drop in the probability of anger")
    switch.uncheck()
    page.locator("#listen-listened .lane").first.wait_for(state="detached")


def test_a_broken_file_is_named_and_the_page_goes_on(address, open_page, write_tones, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(write_tones((230, 1.0)).read_bytes()[:3000])
    page = open_page(address)
    upload(page, broken)
    message = page.locator("#listen-readings [role=alert]")
    message.wait_for()
    assert message.inner_text().startswith("broken.wav: truncated: ")
    page.locator("#listen-audio").get_by_label("Clear").click()
    message.wait_for(state="detached")
    upload(page, write_tones((230, 1.0)))
    says(page, "disagree")


def test_a_file_over_the_limit_is_refused_and_the_page_goes_on(address, open_page, write_tones):
    page = open_page(address)
    upload(page, write_tones((230, 40.0), name="large.wav"))  # 1.28 MB, and the page takes 1
    page.get_by_text("exceed").first.wait_for()
    page.reload()
    upload(page, write_tones((230, 1.0)))
    says(page, "disagree")


def test_a_recording_over_the_limit_is_refused(address, open_page, write_tones, tmp_path):
    import soundfile

    samples, rate = soundfile.read(write_tones((230, 21.0)))
    long = tmp_path / "long.flac"
    soundfile.write(long, samples, rate)
    page = open_page(address)
    upload(page, long)
    says(page, "long.flac: longer than the 20 s that this page takes")


def test_what_the_microphone_records_is_read(address, open_page):
    """The fake microphone hears a tone of 400 Hz, which the model calls anger."""
    page = open_page(address)
    audio = page.locator("#listen-audio")
    audio.get_by_label("Record audio").click()
    audio.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2000)
    audio.get_by_role("button", name="Stop").filter(visible=True).click()
    assert bars_of(page, "pitched")["anger"] > 90


def test_an_example_is_read_when_its_button_is_pressed(address, open_page):
    page = open_page(address)
    page.locator("#listen-examples").get_by_role("button", name="Anger").focus()
    page.keyboard.press("Enter")
    assert sum(bars_of(page, "pitched").values()) == pytest.approx(100, abs=0.2)


def test_the_shipped_models_answer_a_real_clip(open_page, shared, tmp_path):
    clip = tmp_path / "clip.wav"
    shutil.copyfile(shared / "corpora/emodb_2s/wav/14a02Tb.wav", clip)
    model, baseline = EmotionModel.from_pretrained(), EmotionModel.from_pretrained(MFCC_MODEL)
    server = serve(model, baseline=baseline, limits=Limits())
    try:
        page = open_page(next(server))
        upload(page, clip)
        for each in (model, baseline):
            read = bars_of(page, each.name)
            assert list(read) == list(each.classes)
            (expected,) = 100 * each.predict_proba([str(clip)])
            assert np.array(list(read.values())) == pytest.approx(expected, abs=0.051)
    finally:
        server.close()
