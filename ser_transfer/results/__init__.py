"""What was said of many recordings: found, kept as it comes, and written as one table, or a timeline each."""

from ser_transfer.results.asking import Answering, ask_model, ask_words, usable
from ser_transfer.results.files import AUDIO_EXTENSIONS, find_recordings
from ser_transfer.results.journal import Journal, ResultsError, printable, write_whole
from ser_transfer.results.table import BASELINE, MODEL, TEXT, ResultTable, check_table, write_table
from ser_transfer.results.timelines import (
    TIMELINE,
    TimelineFormat,
    follow_into,
    followed,
    segments_table,
    timeline_paths,
)

__all__ = [
    "AUDIO_EXTENSIONS",
    "BASELINE",
    "MODEL",
    "TEXT",
    "TIMELINE",
    "Answering",
    "Journal",
    "ResultTable",
    "ResultsError",
    "TimelineFormat",
    "ask_model",
    "ask_words",
    "check_table",
    "find_recordings",
    "follow_into",
    "followed",
    "printable",
    "segments_table",
    "timeline_paths",
    "usable",
    "write_table",
    "write_whole",
]
