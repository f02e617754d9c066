"""Ctrl-C during long work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


def until_interrupted(events: Iterator[T]) -> Iterator[T]:
    """The events of long work, until Ctrl-C.

    Python drops the exception of a Ctrl-C that comes while it runs a destructor or a library's callback; this raises
    it at the next event then.

    Raises
    ------
    KeyboardInterrupt
        At once where possible.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which has no signals
        yield from events
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        for event in events:
            if pressed:
                raise KeyboardInterrupt
            yield event
    finally:
        signal.signal(signal.SIGINT, before)
