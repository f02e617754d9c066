"""The thread that trains: its events come to the GUI thread as Qt signals."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_niiv.errors import NiivError
from napari_niiv.plugin.training_output import StatePath

if TYPE_CHECKING:
    from napari_niiv.training.events import Event

_LOG = logging.getLogger(__name__)
_NICENESS = 10
_PATIENCE = 30.0  # seconds that the end of the program waits for the thread


class TrainingWorker(QObject):
    """Runs one training on a thread of its own.

    Parameters
    ----------
    parent : QObject
        With it this object goes; the training then stops.
    start : callable
        Begins the training; called on the thread, as it imports torch.
    """

    told = Signal(object)  # an event
    ended = Signal(str)  # what went wrong in one sentence, or nothing; the thread does no more work

    def __init__(self, parent: QObject, start: Callable[[], Generator[Event, None, None]]) -> None:
        super().__init__(parent)
        self._start = start
        self._stopping = threading.Event()
        # a daemon, or the interpreter would wait for the whole training; yet one that ended in torch would abort
        self._thread = threading.Thread(target=self._run, name="napari-niiv training", daemon=True)
        stopping = self._stopping
        self.destroyed.connect(lambda: stopping.set())

    def begin(self) -> None:
        """Start the thread."""
        atexit.register(self._finish)
        self._thread.start()

    def stop(self) -> None:
        """Have the training closed after its next event; `ended` tells when that is done."""
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
            self._train()
        except NiivError as error:
            problem = str(error)
        except Exception as error:  # never a widget that trains for ever
            _LOG.exception("The training failed")
            problem = f"The training failed unexpectedly ({error!r}); please report it."
        with contextlib.suppress(RuntimeError):  # the window closed meanwhile
            self.ended.emit(problem)
        atexit.unregister(self._finish)

    def _train(self) -> None:
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


def what_torch_knows() -> tuple[list[str], StatePath]:
    """The devices present, and where the state of an interrupted training lies."""
    from napari_niiv.device import available_devices
    from napari_niiv.training.state import state_path

    return available_devices(), state_path


@functools.cache  # once is enough
def warm_up() -> None:
    """Import what a training would, and have the garbage that leaves collected: 0.2 s that would hold the viewer up."""
    for name in ("napari_niiv.training.train", "torch._dynamo"):  # the latter at an optimiser's first step
        importlib.import_module(name)
    gc.collect()
