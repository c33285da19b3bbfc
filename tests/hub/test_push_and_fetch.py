"""Pushes and fetches by the real client, in fresh processes, against a Hub on localhost."""

import os
import signal

import pytest
from hub.client import BEGIN, asked, contents, run, written
from hub.server import DROP, DROP_AFTER

CARD = b"---\ntags:\n- audio\n---\n# A model\n"


@pytest.fixture
def first(tmp_path):
    """A folder with small and large files, one of them in a folder with a name that needs quoting."""
    return written(
        tmp_path / "first",
        {
            "config.json": b'{"format": 2, "kind": "frozen", "encoder": {}}',
            "README.md": CARD,
            "head.safetensors": os.urandom(200_000),
            "old.txt": b"in the first only",
            "plots/\u00e9 100 %.svg": b"<svg/>",
            "empty.txt": b"",
        },
    )


@pytest.fixture
def second(first, tmp_path):
    """What follows it: a file is gone, one is new, one is another."""
    kept = {name: content for name, content in contents(first).items() if name != "old.txt"}
    return written(
        tmp_path / "second", {**kept, "head.safetensors": os.urandom(200_000), "new.skops": b"\0new"}
    )


def as_bytes(read):
    return {name: bytes.fromhex(content) for name, content in read.items()}


def test_each_revision_comes_back_bit_for_bit_with_an_empty_cache_and_then_without_a_network(
    hub_server, first, second, tmp_path
):
    pushed = run(
        hub_server,
        f"""
from huggingface_hub import HfApi
urls = [push_folder({str(first)!r}, "ada/tone", message="The first")]
HfApi().create_tag("ada/tone", tag="v1")
HfApi().create_branch("ada/tone", branch="old")
for title in ("The second", "the same"):
    urls.append(push_folder({str(second)!r}, "ada/tone", message=title, exist_ok=True))
print(json.dumps(urls))
""",
        tmp_path / "pusher",
    )
    repository = hub_server.repositories["ada/tone"]
    assert [commit.title for commit in repository.commits] == ["initial commit", "The first", "The second"]
    assert ".gitattributes" in repository.at("main").files
    assert repository.files() == contents(second)
    oids = [commit.oid for commit in repository.commits]
    endpoint = hub_server.endpoint
    assert pushed == [f"{endpoint}/ada/tone/commit/{oids[i]}" for i in (1, 2, 2)]

    fetched = run(
        hub_server,
        f"""
from huggingface_hub import constants
revisions = (None, "main", "v1", "old", {oids[1]!r})
found = [read(fetch("ada/tone", revision=each, patterns=["*"])) for each in revisions]
constants.ENDPOINT = "http://127.0.0.1:9"  # nobody listens there
found += [read(fetch("ada/tone", revision=each, patterns=["*"])) for each in revisions]
lines = [line(fetch, name, revision=revision, patterns=["*"], instead="or a folder") for name, revision in
    (("ada/tone", "v2"), ("ada/other", None))]
print(json.dumps([found, lines, waits]))
""",
        tmp_path / "fetcher",
    )
    found, lines, waits = fetched
    expected = [contents(second)] * 2 + [contents(first)] * 3
    assert [as_bytes(each) for each in found] == expected * 2
    assert lines[0].startswith(
        "ada/tone is no folder, the local Hub cache has no whole copy of it at revision"
    )
    assert "the Hub cannot be reached (ConnectError)" in lines[1]
    assert lines[1].endswith("or a folder")
    assert waits == [], "no network should be said at once"
    assert all(request.token is None for request in hub_server.requests if "/storage/" in request.path)


def test_a_push_that_breaks_off_leaves_the_commit_before_it(hub_server, first, second, tmp_path):
    # In the upload, before the commit, and after the commit but before the answer.
    upload, commit = r"PUT /storage/", r"POST .*/commit/main"
    hub_server.plant("ada/tone", contents(first))
    before = hub_server.repositories["ada/tone"].at("main").oid
    script = f"""
print(json.dumps([
    line(push_folder, {str(second)!r}, "ada/tone", message="The second", exist_ok=True),
    read(fetch("ada/tone", patterns=["*"])),
]))
"""
    for trouble in (upload, commit):
        hub_server.fail_next(trouble, DROP, times=99)
        said, found = run(hub_server, script, tmp_path / "home")
        assert said.startswith("the Hub cannot be reached ("), said
        assert "\n" not in said
        assert as_bytes(found) == contents(first)
        assert hub_server.repositories["ada/tone"].at("main").oid == before
        hub_server.troubles.clear()
    hub_server.fail_next(commit, DROP_AFTER)
    said, found = run(hub_server, script, tmp_path / "home")
    repository = hub_server.repositories["ada/tone"]
    assert said.endswith(f"/commit/{repository.at('main').oid}")
    assert [each.title for each in repository.commits].count("The second") == 1, "it was committed twice"
    assert as_bytes(found) == repository.files() == contents(second)


def test_a_client_that_is_killed_leaves_the_commit_before_it_and_sends_nothing_twice(
    hub_server, first, second, tmp_path
):
    hub_server.plant("ada/tone", contents(first))
    push = f"""
push_folder({str(second)!r}, "ada/tone", message="The second", exist_ok=True)
print(json.dumps("done"))
"""
    for place in (r"PUT /storage/", r"POST .*/commit/main"):
        held = hub_server.hold_next(place)
        client = hub_server.start(BEGIN + push, tmp_path / "home")
        assert held.reached.wait(120), client.communicate(timeout=1)
        client.send_signal(signal.SIGKILL)
        client.communicate(timeout=60)
        held.released.set()
        assert hub_server.repositories["ada/tone"].files() == contents(first)
    n_uploads = len(asked(hub_server, "PUT", "/storage/"))
    assert run(hub_server, push, tmp_path / "home") == "done"
    assert hub_server.repositories["ada/tone"].files() == contents(second)
    assert len(asked(hub_server, "PUT", "/storage/")) == n_uploads


def test_a_hub_that_is_busy_or_out_of_order_is_asked_again(hub_server, first, tmp_path):
    of_pushing = [
        ("POST /api/repos/create", 429, {"retry_after": "3"}),
        ("GET /api/models/ada/tone$", 503, {}),
        ("POST /api/validate-yaml", 503, {}),
        ("POST .*/preupload/", 502, {}),
        ("POST .*/lfs/objects/batch", 500, {}),
        ("PUT /storage/", 503, {}),
        ("POST .*/commit/main", 429, {"ratelimit": '"api";r=0;t=5'}),
    ]
    of_fetching = [
        ("GET /api/models/ada/tone$", 429, {"retry_after": "7"}),
        ("GET .*/tree/", 504, {}),
        ("HEAD .*/resolve/.*/config.json", 503, {}),
        ("GET .*/resolve/.*/README.md", 500, {}),
        ("GET /storage/", 503, {}),
    ]
    for pattern, status, headers in of_pushing:
        hub_server.fail_next(pattern, status, **headers)
    push = f"""
push_folder({str(first)!r}, "ada/tone", message="The first", exist_ok=True)
print(json.dumps(waits))
"""
    waits = run(hub_server, push, tmp_path / "home")
    assert [each.times for each in hub_server.troubles] == [0] * len(of_pushing)
    assert len(waits) == len(of_pushing)
    assert {4.0, 6.0} <= set(waits), "the Hub said how long to wait"
    hub_server.troubles.clear()
    for pattern, status, headers in of_fetching:
        hub_server.fail_next(pattern, status, **headers)
    hub_server.fail_next("GET /api/models/ada/later", 429, retry_after="300")
    hub_server.fail_next("GET /api/models/ada/broken", 503, times=99)
    fetch = """
found = read(fetch("ada/tone", patterns=["*"]))
waited = list(waits)
lines = [line(fetch, f"ada/{name}", patterns=["*"]) for name in ("later", "broken")]
print(json.dumps([found, waited, lines, waits[len(waited):]]))
"""
    found, waits, lines, waits_for_nothing = run(hub_server, fetch, tmp_path / "home")
    assert as_bytes(found) == contents(first)
    assert 8.0 in waits
    assert [each.times for each in hub_server.troubles[: len(of_fetching)]] == [0] * len(of_fetching)
    assert lines[0] == "the Hub asks for a pause (HTTP 429, too many requests): try ada/later later"
    assert lines[1].startswith("the Hub is out of order (HTTP 503): try ada/broken later")
    assert waits_for_nothing == [1.0, 2.0, 4.0]
