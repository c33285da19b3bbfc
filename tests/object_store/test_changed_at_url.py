"""What lies at a URL is fetched once to be decoded, and is what was listed, or refused."""

import io

import numpy as np
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem

from ser_transfer.audio import AudioError, audio_key, held, refuse_changed
from ser_transfer.encoders import load_encoder
from ser_transfer.encoders.pooled import Recording, encode_pooled
from ser_transfer.places import place


def wav(frequency):
    """A tone of one second."""
    file = io.BytesIO()
    tone = np.sin(2 * np.pi * frequency * np.arange(16_000) / 16_000)
    soundfile.write(file, 0.5 * tone, 16_000, format="WAV")
    return file.getvalue()


@pytest.fixture
def url(tmp_path):
    found = place(f"memory://{tmp_path.name}/clip.wav")
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_bytes(wav(440))
    return str(found)


def encoded(url, key):
    [pooled] = encode_pooled([Recording(key, url, content=key)], load_encoder("mfcc"), "mean", n_workers=1)
    return pooled


def test_an_object_that_was_replaced_after_it_was_listed_is_refused(url):
    key = audio_key(url)
    assert encoded(url, key).error is None
    place(url).write_bytes(wav(880))
    assert encoded(url, key).error.reason == "changed"


def test_an_object_is_fetched_once_to_be_decoded_and_compared(url, monkeypatch):
    key, fetched = audio_key(url), []
    original = MemoryFileSystem.cat_file

    def cat_file(self, path, *arguments, **options):
        fetched.append(path)
        return original(self, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    assert encoded(url, key).error is None
    assert len(fetched) == 1


def test_what_is_held_is_compared_and_bytes_of_no_url_are_not(url):
    with pytest.raises(AudioError, match="changed"):
        refuse_changed(held(url), "0" * 32)
    refuse_changed(wav(440), "0" * 32)
    assert held("clips/one.wav") == "clips/one.wav"
