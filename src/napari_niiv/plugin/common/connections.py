"""Callbacks that are connected to events together, and disconnected together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject

_waiting: set[Callable[[], None]] = set()


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


def when_destroyed(qt_object: QObject, action: Callable[[], Any]) -> None:
    """Do something once Qt has destroyed an object.

    What is done is held here until then. If the object alone held it, Python's garbage collector could take both apart
    together, and Qt, destroying the object, would call a function that is empty by then: the process would crash.
    """

    def act() -> None:
        _waiting.discard(act)
        action()

    _waiting.add(act)
    qt_object.destroyed.connect(act)
