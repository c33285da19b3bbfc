"""What the recordings of a corpus are called in the store: by their content, and never by a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ser_transfer.audio import AudioError, audio_key
from ser_transfer.corpora.streamed import KEY

if TYPE_CHECKING:
    from datasets import Dataset

SOURCE_COLUMNS = ("audio", "start_seconds", "end_seconds")
ROWS_AT_A_TIME = 64


def audio_keys(corpus: Dataset) -> Iterator[str | AudioError]:
    """Name every recording of a corpus by its content and segment, or say why it cannot be read.

    Rows are read a few at a time: a dataset may hold the audio itself, more of it than memory.
    """
    for batch in corpus.select_columns(list(SOURCE_COLUMNS)).iter(batch_size=ROWS_AT_A_TIME):
        for source, start, end in zip(*(batch[name] for name in SOURCE_COLUMNS), strict=True):
            try:
                yield audio_key(source, start_seconds=start, end_seconds=end)
            except AudioError as error:
                yield error


def keys_by_id(corpus: Dataset) -> dict[str, str]:
    """Name every recording of a corpus by its content, per utterance id, in the corpus's order.

    Of a corpus that was streamed they are known without its audio.

    Raises:
        AudioError: If a recording cannot be read.
    """
    if KEY in corpus.column_names:
        return dict(zip(corpus["utterance_id"][:], corpus[KEY][:], strict=True))
    keys = {}
    for utterance_id, key in zip(corpus["utterance_id"][:], audio_keys(corpus), strict=True):
        if isinstance(key, AudioError):
            raise key
        keys[utterance_id] = key
    return keys
