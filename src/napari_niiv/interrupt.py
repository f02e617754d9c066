"""Asking long work to stop: one way for all of it.

Functions that take long are given an `Interrupt`, a function that they call often and that raises `Interrupted` once
nobody wants the result any more. Generators of events are closed, which has the same effect inside.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

Interrupt = Callable[[], None]
"""Called often by work that takes long; raises `Interrupted` when the work is to stop."""


class Interrupted(Exception):
    """The work was asked to stop, and did."""


def never() -> None:
    """The `Interrupt` of work that nobody stops."""


def interrupt_if(unwanted: Callable[[], bool]) -> Interrupt:
    """An `Interrupt` that asks each time whether the work is still wanted.

    Parameters
    ----------
    unwanted : callable
        Says True when the work is to stop.
    """

    def interrupt() -> None:
        if unwanted():
            raise Interrupted

    return interrupt


class StopFlag:
    """An `Interrupt` that any thread can raise like a flag."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        """Raise `Interrupted` if the flag is up."""
        if self._event.is_set():
            raise Interrupted

    def stop(self) -> None:
        """Put the flag up: the work stops when it calls next."""
        self._event.set()

    @property
    def stopping(self) -> bool:
        """Whether the flag is up."""
        return self._event.is_set()


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
