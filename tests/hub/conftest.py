"""The Hub of these tests."""

from hub.server import hub_server

__all__ = ["hub_server"]
