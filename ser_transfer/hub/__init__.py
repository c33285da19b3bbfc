"""The Hugging Face Hub: a repository fetched, a folder pushed, and what is refused.

Importing this imports nothing heavy.
"""

from ser_transfer.hub.answers import HubError, UnreachableError, in_one_line
from ser_transfer.hub.download import fetch
from ser_transfer.hub.from_url import fetch_from_url
from ser_transfer.hub.patience import patiently
from ser_transfer.hub.safety import check_safe
from ser_transfer.hub.upload import push_folder

__all__ = [
    "HubError",
    "UnreachableError",
    "check_safe",
    "fetch",
    "fetch_from_url",
    "in_one_line",
    "patiently",
    "push_folder",
]
