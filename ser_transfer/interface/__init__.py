"""The page in the browser: `build_demo(models)` gives it, and importing this imports no gradio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ser_transfer.interface.limits import InterfaceError, Limits

if TYPE_CHECKING:
    from ser_transfer.interface.build import build_demo

__all__ = ["InterfaceError", "Limits", "build_demo"]


def __getattr__(name: str) -> Any:
    """Load what needs gradio at its first use."""
    if name != "build_demo":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ser_transfer.interface.build import build_demo

    return build_demo


def __dir__() -> list[str]:
    return sorted(__all__)
