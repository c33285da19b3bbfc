"""The page as an API, called with Gradio's own client."""

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from page_helpers import Pitched

NAMES = ["/predict", "/timeline"]


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False, analytics_enabled=False)


def test_it_offers_the_named_endpoints_and_hides_the_pages_own(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert set(NAMES) <= set(offered)
    assert not [name for name in offered if "read" in name or "listen" in name or "stream" in name]


def test_predict_gives_every_models_probabilities(client, write_tones):
    clip = write_tones((230, 1.0))
    told = client.predict(handle_file(clip), api_name="/predict")
    assert told["seconds"] == 1.0
    assert told["agree"] is False
    for row, model in zip(told["readings"], (Pitched(), Pitched(contrary=True)), strict=True):
        prediction = model.predict(str(clip))
        assert row["emotion"] == prediction.emotion
        assert row["probabilities"] == pytest.approx(dict(prediction.probabilities))
    assert [row["baseline"] for row in told["readings"]] == [False, True]


def test_timeline_gives_the_segments_of_one_model(client, write_tones):
    clip = write_tones((100, 4.0), (400, 4.0))
    told = client.predict(handle_file(clip), api_name="/timeline")
    expected = Pitched().timeline(str(clip))
    assert told["model"] == "pitched"
    assert [(each["start"], each["end"], each["emotion"]) for each in told["segments"]] == [
        (each.start_seconds, each.end_seconds, each.emotion) for each in expected.segments
    ]
    contrary = client.predict(handle_file(clip), "contrary", api_name="/timeline")
    assert contrary["segments"][0]["emotion"] != told["segments"][0]["emotion"]


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_file_is_answered_with_what_is_wrong(client, tmp_path, name):
    broken = tmp_path / "notes.wav"
    broken.write_text("this is no sound")
    arguments = (handle_file(broken), *(["pitched"] if name == "/timeline" else []))
    with pytest.raises(AppError, match=r"notes\.wav: (mislabelled|unreadable): "):
        client.predict(*arguments, api_name=name)


def test_a_recording_over_the_limit_is_refused(client, write_tones):
    with pytest.raises(AppError, match="longer than the 20 s"):
        client.predict(handle_file(write_tones((200, 21.0))), api_name="/predict")


def test_an_upload_over_the_limit_is_refused(client, write_tones):
    with pytest.raises(Exception, match=r"1000000 bytes|413"):
        client.predict(handle_file(write_tones((200, 40.0))), api_name="/predict")


def test_no_file_and_no_such_model_are_said(client, write_tones):
    with pytest.raises(AppError, match="no recording"):
        client.predict(None, api_name="/predict")
    with pytest.raises(AppError, match="no model 'x'"):
        client.predict(handle_file(write_tones((200, 1.0))), "x", api_name="/timeline")


def test_a_file_of_the_server_is_no_upload(address):
    """Whoever names a file that lies on the server, and was not uploaded, gets no reading of it.

    Asked without Gradio's client, which would upload the file by itself.
    """
    call = f"{address}gradio_api/call/predict"
    given = {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]}
    event = httpx.post(call, json=given).json()["event_id"]
    answer = httpx.get(f"{call}/{event}", timeout=60).text
    assert answer.startswith("event: error")
    assert "passwd" not in answer
