"""Asking again, where `huggingface_hub` asks once.

It repeats the listing of files, the preparation of an upload, and uploads and downloads that break off. What
it sends once (facts about a repository, making one, the check of the card, the commit) is repeated here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ser_transfer.hub.answers import status_of

Result = TypeVar("Result")

WAITS_SECONDS = (1.0, 2.0, 4.0)
LONGEST_WAIT_SECONDS = 60.0  # a pause that the Hub asks for; it counts requests in windows of five minutes
_PASSING = (408, 429, 500, 502, 503, 504)
_BROKEN_OFF = ("RemoteProtocolError", "ReadError", "WriteError")  # httpx's, or httpx2's
_ASKED_AGAIN_ALREADY = re.compile(r"/preupload/|/tree/|\.git/info/lfs/")


def patiently(ask: Callable[[], Result]) -> Result:
    """Ask until the Hub answers, at most four times; as long apart as it says, else ever longer.

    No network is not waited for.

    Args:
        ask: May be called again after it failed half way.
    """
    for wait in WAITS_SECONDS:
        try:
            return ask()
        except Exception as error:
            seconds = _pause_seconds(error, wait)
            if seconds is None:
                raise
        time.sleep(seconds)
    return ask()


def _pause_seconds(error: Any, wait: float) -> float | None:
    """Say how long to wait before asking again; None where that helps nobody."""
    if isinstance(error, json.JSONDecodeError):
        return wait  # a proxy's page about its own trouble, where huggingface_hub did not look at the status
    status = status_of(error)
    if status is None and type(error).__name__ not in _BROKEN_OFF:
        return None
    if status is not None and status not in _PASSING:
        return None
    request = error.request if status is None else error.response.request
    if _ASKED_AGAIN_ALREADY.search(str(request.url)):
        return None
    seconds = wait if status is None else _asked_for(error.response.headers, wait)
    return seconds if seconds <= LONGEST_WAIT_SECONDS else None


def _asked_for(headers: Mapping[str, str], wait: float) -> float:
    """Read how long the Hub wants to be left alone."""
    window = re.search(r"r=0\s*;\s*t=(\d+)", headers.get("ratelimit", ""))
    seconds = window[1] if window else headers.get("retry-after", "")
    return float(seconds) + 1 if seconds.isdigit() else wait
