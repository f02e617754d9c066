"""Callbacks that are connected to events together, and disconnected together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Connections:
    """Connects callbacks to events of napari, psygnal or Qt, and remembers them."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Callable[..., Any]]] = []

    def connect(self, callback: Callable[..., Any], *events: Any, **options: Any) -> None:
        """Connect a callback to events; `options`, such as `position`, go to the events' own `connect`."""
        for event in events:
            event.connect(callback, **options)
            self._pairs.append((event, callback))

    def disconnect(self) -> None:
        """Disconnect all callbacks from all events."""
        pairs, self._pairs = self._pairs, []
        for event, callback in pairs:
            event.disconnect(callback)
