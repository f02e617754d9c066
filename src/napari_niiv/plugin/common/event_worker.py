"""The thread of a long work, such as a training: its events come to the GUI thread as Qt signals."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_niiv.errors import NiivError
from napari_niiv.interrupt import StopFlag
from napari_niiv.plugin.common.background import sentence_of
from napari_niiv.plugin.common.closing import ask_before_closing
from napari_niiv.plugin.common.connections import when_destroyed
from napari_niiv.plugin.common.gui_thread import on_gui_thread, prepare
from napari_niiv.reconstruction.allocator import trim

_LOG = logging.getLogger(__name__)
_NICENESS = 10
_JOIN_SECONDS = 30.0  # for which the end of the program waits for the thread


class EventWorker(QObject):
    """Runs one generator of events on a thread of its own.

    Signals: `received` brings each event; `stopping` tells that the work was asked to stop; `ended` that the thread
    does no more, with the sentence of what went wrong, or nothing. While it runs, the user who closes napari is asked.

    Parameters
    ----------
    parent : QObject
        With it this object goes; the work then stops.
    start : callable
        Begins the work; called on the thread, as it imports torch.
    what : str
        The work's name in messages, such as "training".
    keeps : str
        What is kept of it when it is stopped, a sentence.
    left : callable, optional
        Says what was kept; called on the thread once the work is closed before its end.

    Attributes
    ----------
    kept : str
        What `left` said.
    """

    received = Signal(object)
    stopping = Signal()
    ended = Signal(str)

    def __init__(
        self,
        parent: QObject,
        start: Callable[[], Generator[Any, None, None]],
        what: str,
        keeps: str = "",
        left: Callable[[], str] = lambda: "",
    ) -> None:
        super().__init__(parent)
        prepare()
        self._start, self.what, self.keeps, self._left = start, what, keeps, left
        self.kept = ""
        self._stop_flag = flag = StopFlag()
        # a daemon, or the interpreter would wait for the whole work; yet one that ended in torch would abort
        self._thread = threading.Thread(target=self._run, name=f"napari-niiv {what}", daemon=True)
        when_destroyed(self, lambda: flag.stop())
        ask_before_closing(self, parent)  # hears of the end before those who may delete this

    def begin(self) -> None:
        """Start the thread that does the work."""
        atexit.register(self._stop_and_join)
        self._thread.start()

    def stop(self) -> None:
        """Have the work closed after its next event; `ended` tells when that is done."""
        self._stop_flag.stop()
        self.stopping.emit()

    @property
    def alive(self) -> bool:
        """Whether the thread that does the work runs."""
        return self._thread.is_alive()

    def _stop_and_join(self) -> None:
        self._stop_flag.stop()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        lower_priority()
        problem = ""
        try:
            self._work()
        except BaseException as error:  # never a widget that works for ever
            if not isinstance(error, NiivError):
                _LOG.exception("The %s failed", self.what)
            problem = sentence_of(error, f"The {self.what}")
        on_gui_thread(partial(self._tell, "ended", problem))
        atexit.unregister(self._stop_and_join)
        trim()

    def _work(self) -> None:
        events = self._start()
        try:
            while not self._stop_flag.stopping and (event := next(events, None)) is not None:
                on_gui_thread(partial(self._tell, "received", event))
        finally:
            events.close()
        if self._stop_flag.stopping:
            self.kept = self._left()

    def _tell(self, signal: str, what: Any) -> None:
        """Emit a signal, on the GUI thread."""
        with contextlib.suppress(RuntimeError):  # the window closed meanwhile
            getattr(self, signal).emit(what)


def lower_priority() -> None:
    """Leave the processor to the viewer: a lower priority for this thread and those that it starts."""
    if sys.platform.startswith("linux"):  # elsewhere this would concern the whole program
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
