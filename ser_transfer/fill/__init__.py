"""The recordings of a corpus through an encoder into the store: what is there is not computed again.

What is wanted and what is missing of it (`missing`), and what came of it (`report`), are the same whoever
encodes: the threads of this process (`writing`), or the actors of a cluster (`ser_transfer.clusters`).
"""

from ser_transfer.fill.filling import fill_store
from ser_transfer.fill.keys import ROWS_AT_A_TIME, SOURCE_COLUMNS, audio_keys, keys_by_id
from ser_transfer.fill.missing import Missing
from ser_transfer.fill.parts import frames_part_of, frames_parts_of, part_of
from ser_transfer.fill.report import FillReport
from ser_transfer.fill.writing import Encode, Encoded, Job, encode_here, write_recordings

__all__ = [
    "ROWS_AT_A_TIME",
    "SOURCE_COLUMNS",
    "Encode",
    "Encoded",
    "FillReport",
    "Job",
    "Missing",
    "audio_keys",
    "encode_here",
    "fill_store",
    "frames_part_of",
    "frames_parts_of",
    "keys_by_id",
    "part_of",
    "write_recordings",
]
