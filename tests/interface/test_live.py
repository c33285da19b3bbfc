"""The microphone's stream: what is heard of it, what is left out, and the tab in a real browser."""

import struct

import numpy as np
import pytest
from page_helpers import Pitched, tone

from ser_transfer.interface import InterfaceError
from ser_transfer.interface.stream import LiveStream, piece_of_wav

BROWSER_RATE = 48_000


def wav_of_a_stream(samples: np.ndarray, rate: int = BROWSER_RATE, n_channels: int = 1) -> bytes:
    """What Chromium's recorder sends: a header that leaves the length open, then 16-bit samples."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 0xFFFFFFF7, b"WAVE", b"fmt ", 16, 1, n_channels, rate),
        *(2 * n_channels * rate, 2 * n_channels, 16, b"data", 0xFFFFFFD3),
    )
    return header + (32768 * samples).round().clip(-32768, 32767).astype("<i2").tobytes()


def browser_tone(hertz: float, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(seconds * BROWSER_RATE) / BROWSER_RATE)).astype("f4")


def listened(stream: LiveStream, pieces, seconds_between: float = 0.5, busy_seconds: float = 0.0):
    """Give a stream pieces as they would arrive, each read `busy_seconds` after its arrival."""
    for number, piece in enumerate(pieces, 1):
        arrived = 100 + number * seconds_between
        stream.hear(piece, BROWSER_RATE, arrived)
        stream.read(arrived, lambda arrived=arrived: arrived + busy_seconds)
    return stream.moments


def test_a_piece_of_a_stream_is_read_whatever_its_header_declares():
    samples = browser_tone(440, 0.5)
    piece, rate = piece_of_wav(wav_of_a_stream(samples))
    assert rate == BROWSER_RATE
    assert piece == pytest.approx(samples, abs=1 / 32768)


def test_channels_of_a_piece_are_averaged():
    left, right = browser_tone(440, 0.1), np.zeros(4800, np.float32)
    piece, _ = piece_of_wav(wav_of_a_stream(np.stack([left, right], axis=1), n_channels=2))
    assert piece == pytest.approx(left / 2, abs=1 / 32768)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"hello, this is no sound at all, and long enough for a header",
        wav_of_a_stream(browser_tone(440, 0.1))[:30],
        wav_of_a_stream(browser_tone(440, 0.1), rate=0),
        wav_of_a_stream(browser_tone(440, 0.1), n_channels=0),
    ],
)
def test_what_is_no_piece_is_refused(data):
    with pytest.raises(InterfaceError, match="try another browser"):
        piece_of_wav(data)


def test_a_reading_hears_the_last_two_seconds_at_the_models_rate():
    model = Pitched()
    moments = listened(LiveStream(model), [browser_tone(100, 0.5)] * 6)
    assert model.lengths == [8_000, 16_000, 24_000, 32_000, 32_000, 32_000]
    assert [model.classes[int(each.probabilities.argmax())] for each in moments] == ["sadness"] * 6


def test_the_reading_follows_the_voice_within_the_window():
    stream = LiveStream(Pitched())
    moments = listened(stream, [browser_tone(100, 0.5)] * 4 + [browser_tone(400, 0.5)] * 4)
    assert moments[3].probabilities[1] < 0.2
    assert moments[7].probabilities[1] > 0.9


def test_quiet_is_no_emotion():
    model = Pitched()
    rng = np.random.default_rng(0)
    hiss = rng.normal(0, 10 ** (-60 / 20), 24_000).astype(np.float32)
    moments = listened(LiveStream(model), [hiss] * 4)
    assert [each.probabilities for each in moments] == [None] * 4
    assert model.lengths == []


def test_too_little_for_the_model_is_waited_for():
    model = Pitched()
    model.min_seconds = 1.0
    moments = listened(LiveStream(model), [browser_tone(400, 0.5)] * 3)
    assert [each.probabilities is None for each in moments] == [True, False, False]


def test_latency_is_from_the_arrival_to_the_reading():
    moments = listened(LiveStream(Pitched()), [browser_tone(400, 0.5)] * 2, busy_seconds=0.123)
    assert [each.latency_ms for each in moments] == pytest.approx([123, 123])


def test_nothing_is_left_out_while_the_model_keeps_up():
    stream = LiveStream(Pitched())
    listened(stream, [browser_tone(400, 0.5)] * 20)
    assert stream.skipped_seconds == 0.0


def test_what_a_slow_model_misses_is_counted_and_no_window_grows():
    """Pieces of 0.5 s come through only every 1.5 s: two of three were overtaken."""
    model = Pitched()
    stream = LiveStream(model)
    listened(stream, [browser_tone(400, 0.5)] * 10, seconds_between=1.5)
    assert stream.skipped_seconds == pytest.approx(8 * 1.0)
    assert max(model.lengths) == 32_000


def test_what_the_page_does_not_send_while_the_stream_opens_was_not_left_out_by_the_model():
    stream = LiveStream(Pitched())
    for arrived in (100.0, 103.0, 103.5):
        stream.hear(browser_tone(400, 0.5), BROWSER_RATE, arrived)
    assert stream.elapsed == pytest.approx(1.5)
    assert stream.skipped_seconds == 0.0


def test_only_half_a_minute_is_remembered():
    stream = LiveStream(Pitched())
    moments = listened(stream, [browser_tone(400, 0.5)] * 90)
    assert stream.elapsed == pytest.approx(45)
    assert moments[0].at == pytest.approx(14, abs=0.5)
    assert len(stream.recent) == 2 * BROWSER_RATE


def test_another_model_forgets_the_readings_of_the_first():
    stream = LiveStream(Pitched())
    listened(stream, [browser_tone(400, 0.5)] * 3)
    stream.use(stream.model)
    assert len(stream.moments) == 3
    stream.use(Pitched(contrary=True))
    assert not stream.moments


def test_short_pieces_make_no_more_readings():
    stream = LiveStream(Pitched())
    due = []
    for number in range(1, 21):
        stream.hear(browser_tone(400, 0.1), BROWSER_RATE, 100 + 0.1 * number)
        due.append(stream.is_due)
        if stream.is_due:
            stream.read(100 + 0.1 * number, lambda: 0.0)
    assert 4 <= sum(due) <= 7


def test_the_microphone_gives_readings_that_follow_it(address, open_page):
    """The fake microphone hears a tone of 400 Hz, which the model calls anger."""
    page = open_page(address)
    pieces = []
    page.on("request", lambda sent: sent.url.endswith("/upload") and pieces.append(sent.url))
    page.get_by_role("tab", name="Live").click()
    page.wait_for_timeout(1000)  # until Gradio has loaded its recorder; pressed sooner, it has none
    page.locator("#live-audio").get_by_role("button", name="Record").click()
    meter = page.locator("#live-now").get_by_role("meter", name="anger")
    meter.wait_for()
    assert page.locator("#live-now .answer").inner_text().startswith("anger")
    assert float(meter.get_attribute("aria-valuenow")) > 90
    first = page.locator("#live-chart [role=img]").get_attribute("aria-label")
    page.wait_for_function(
        "(first) => document.querySelector('#live-chart [role=img]').ariaLabel !== first", arg=first
    )
    assert page.locator("#live-now [data-figure=latency]").inner_text().endswith(" ms")
    pieces.clear()
    page.wait_for_timeout(3000)
    assert len(pieces) <= 10, "a piece every half second, not one every 0.1 s, which is Gradio's own habit"
    page.get_by_label("contrary").check()
    page.locator("#live-now section[aria-label='Newest reading'] h3", has_text="contrary").wait_for()
    page.locator("#live-now .answer", has_text="sadness").wait_for()
    page.locator("#live-audio").get_by_role("button", name="Stop").filter(visible=True).click()


def test_the_stand_in_hears_what_its_docstring_says():
    assert Pitched().probabilities_of_waveforms([tone(100, 1.0), tone(400, 1.0)])[:, 1] == pytest.approx(
        [1 / (1 + np.exp(2)), 1 / (1 + np.exp(-4))], abs=0.01
    )
