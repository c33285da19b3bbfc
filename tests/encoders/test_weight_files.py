import hashlib
import http.server
import pickle
import threading

import pytest
import torch
from safetensors.torch import save_file

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.weight_files import (
    PublishedWeights,
    find_weights,
    read_safetensors,
    read_torch,
    read_weights,
)

CONTENT = b"weights" * 1000
READERS = {".pth": read_torch, ".safetensors": read_safetensors}


@pytest.fixture
def server(tmp_path):
    """A web server on this machine, and the requests that it has answered."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path / "served")

        def log_message(self, *arguments):
            requests.append(self.path)

    (tmp_path / "served").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", requests
        running.shutdown()
        thread.join()


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SER_TRANSFER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "served" / "net.pth").write_bytes(CONTENT)
    return PublishedWeights(f"{server[0]}/net.pth", hashlib.sha256(CONTENT).hexdigest())


def test_a_published_file_is_downloaded_once_and_then_found_in_the_cache(published, server, tmp_path):
    found = [find_weights(None, published) for _ in range(3)]
    assert set(found) == {tmp_path / "cache" / "weights" / "net.pth"}
    assert found[0].read_bytes() == CONTENT
    assert len(server[1]) == 1


def test_a_file_put_into_the_cache_by_hand_needs_no_network(published, server, tmp_path):
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    (tmp_path / "cache" / "weights" / "net.pth").write_bytes(CONTENT)
    find_weights(None, published)
    assert server[1] == []


def test_another_file_at_the_address_is_refused_and_leaves_nothing_behind(published, tmp_path):
    (tmp_path / "served" / "net.pth").write_bytes(CONTENT + b"!")
    with pytest.raises(EncoderError, match=r"is not the published file .* --weights"):
        find_weights(None, published)
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_refused(published):
    find_weights(None, published).write_bytes(CONTENT[:-1])
    with pytest.raises(EncoderError, match="remove it"):
        find_weights(None, published)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/net.pth", "{server}/absent.pth"])
def test_without_network_or_file_one_line_says_what_to_do(url, published, server, tmp_path):
    away = PublishedWeights(url.format(server=server[0]), published.sha256)
    with pytest.raises(
        EncoderError, match=r"cannot be downloaded .*: connect once, .* --weights FILE"
    ) as caught:
        find_weights(None, away)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_a_given_file_is_taken_whatever_it_holds(published, server, tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"mine")
    assert find_weights(str(tmp_path / "mine.pth"), published) == tmp_path / "mine.pth"
    assert server[1] == []


def test_a_given_file_that_is_not_there_is_refused(published, server, tmp_path):
    with pytest.raises(EncoderError, match="there is no file of weights"):
        find_weights(tmp_path / "nowhere.pth", published)
    assert server[1] == []


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.PTH"])
def test_tensors_come_back_as_they_were_saved(name, tmp_path):
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3)}
    save = torch.save if name.lower().endswith(".pth") else save_file
    save(tensors, tmp_path / name)
    torch.testing.assert_close(read_weights(tmp_path / name, READERS), tensors)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_a_damaged_file_is_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EncoderError, match=rf"{name} cannot be read .*: fetch the file again"):
        read_weights(tmp_path / name, READERS)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"a": Trap()}, tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap()))
    for name in ("w.pth", "plain.pth"):
        with pytest.raises(EncoderError, match=r"cannot be read .*more than tensors"):
            read_weights(tmp_path / name, READERS)
    assert not (tmp_path / "sprung").exists()


def test_a_file_of_another_kind_is_refused_with_the_kinds_that_are_known(tmp_path):
    torch.save([1], tmp_path / "w.pth")
    with pytest.raises(EncoderError, match="no state dict, but a list"):
        read_weights(tmp_path / "w.pth", READERS)
    with pytest.raises(EncoderError, match=r"w\.onnx .*: \.pth, \.safetensors"):
        read_weights(tmp_path / "w.onnx", READERS)
