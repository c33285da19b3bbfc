"""Self-contained HTML pages: one file that opens from disk, with its figures and sounds inside.

Importing this imports nothing heavy.
"""

from ser_transfer.pages.elements import PageError
from ser_transfer.pages.page import Page

__all__ = ["Page", "PageError"]
