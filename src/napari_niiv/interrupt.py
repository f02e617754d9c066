"""Asking long work to stop: one way for all of it.

Functions that take long are given an `Interrupt`, a function that they call often and that raises `Interrupted` once
nobody wants the result any more. Generators of events are closed, which has the same effect inside.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

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


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or the signal by which systems and batch queues end a process.

    Parameters
    ----------
    message : str
        What is left of the work, for the user.
    number : int
        Of the signal.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(*([message] if message else []))
        self.number = int(number)

    @property
    def status(self) -> int:
        """The exit status by which shells know such an end."""
        return 128 + self.number


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


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Have Ctrl-C and SIGTERM raise `Stopped` as long as the block lasts; of threads, the main one alone has signals.

    Python drops an exception that comes while it runs a destructor or a library's callback; the function that the block
    gets raises it again.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise Stopped(number=number)

    def check() -> None:
        if received:
            raise Stopped(number=received[0])

    with _handled_by(receive):
        yield check


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def run_until_stopped(
    events: Generator[T, None, None], show: Callable[[Iterator[T]], None], left: Callable[[], str]
) -> None:
    """Show the events of long work until it is finished; Ctrl-C and SIGTERM close it.

    Parameters
    ----------
    events : generator
    show : callable
        Goes through them.
    left : callable
        Says what is left of work that was closed.

    Raises
    ------
    Stopped
        With that message, once the work is closed: a second Ctrl-C does not disturb that.
    """
    try:
        with stoppable() as check:
            show(_checked(events, check))
    except KeyboardInterrupt as stop:
        with _handled_by(signal.SIG_IGN):
            events.close()
            raise Stopped(left(), getattr(stop, "number", signal.SIGINT)) from None


def _checked(events: Iterator[T], check: Callable[[], None]) -> Iterator[T]:
    for event in events:
        check()
        yield event
