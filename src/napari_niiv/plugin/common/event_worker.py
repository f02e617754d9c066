"""The thread of a long work, such as a training: its events come to the GUI thread as Qt signals."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_niiv.errors import NiivError, unexpected
from napari_niiv.plugin.common.words import WINDOW_WORDS

_LOG = logging.getLogger(__name__)
_NICENESS = 10
_PATIENCE = 30.0  # seconds that the end of the program waits for the thread


class EventWorker(QObject):
    """Runs one generator of events on a thread of its own.

    Parameters
    ----------
    parent : QObject
        With it this object goes; the work then stops.
    start : callable
        Begins the work; called on the thread, as it imports torch.
    what : str
        The work's name in messages, such as "training".
    """

    told = Signal(object)  # an event
    ended = Signal(str)  # what went wrong in one sentence, or nothing; the thread does no more work

    def __init__(self, parent: QObject, start: Callable[[], Generator[Any, None, None]], what: str) -> None:
        super().__init__(parent)
        self._start, self._what = start, what
        self._stopping = threading.Event()
        # a daemon, or the interpreter would wait for the whole work; yet one that ended in torch would abort
        self._thread = threading.Thread(target=self._run, name=f"napari-niiv {what}", daemon=True)
        stopping = self._stopping
        self.destroyed.connect(lambda: stopping.set())

    def begin(self) -> None:
        """Start the thread."""
        atexit.register(self._finish)
        self._thread.start()

    def stop(self) -> None:
        """Have the work closed after its next event; `ended` tells when that is done."""
        self._stopping.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _finish(self) -> None:
        self._stopping.set()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        _step_back()
        problem = ""
        try:
            self._work()
        except NiivError as error:
            problem = error.in_words(WINDOW_WORDS)
        except Exception as error:  # never a widget that works for ever
            _LOG.exception("The %s failed", self._what)
            problem = unexpected(f"The {self._what}", error)
        with contextlib.suppress(RuntimeError):  # the window closed meanwhile
            self.ended.emit(problem)
        atexit.unregister(self._finish)

    def _work(self) -> None:
        events = self._start()
        try:
            while not self._stopping.is_set() and (event := next(events, None)) is not None:
                try:
                    self.told.emit(event)
                except RuntimeError:  # the window closed meanwhile
                    break
        finally:
            events.close()


def _step_back() -> None:
    """Leave the processor to the viewer: a lower priority for this thread and those that it starts."""
    if sys.platform.startswith("linux"):  # elsewhere this would concern the whole program
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
