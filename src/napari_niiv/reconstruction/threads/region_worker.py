"""The thread behind a 3-D view: one reconstruction at a time, the newest wins."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import NiivError, ReconstructionError
from napari_niiv.reconstruction.region import RegionEvent, RegionPlaceholder, RegionPlan
from napari_niiv.reconstruction.views.reconstructor import Superseded

_LOG = logging.getLogger(__name__)
_TEXTURES = (np.uint8, np.uint16, np.float32)  # what a GPU takes as it is
_PATIENCE = 30.0  # seconds that the end of the program waits for the thread

Stale = Callable[[], bool]
Start = Callable[[Stale], Iterator[RegionEvent]]


@dataclass(frozen=True, eq=False)
class Step:
    """How far a reconstruction is, or why there is none.

    Attributes
    ----------
    generation : int
        Of the reconstruction, as `RegionWorker.submit` returned it.
    plan : RegionPlan or None
    array : array or None
        The same one at every step of a generation: the worker goes on to write blocks on it.
    done : int
        Blocks restored; 0 when the interpolation has just appeared.
    seconds : float
        Since then.
    notice : str
        What the user should know.
    error : NiivError or None
    """

    generation: int
    plan: RegionPlan | None = None
    array: NDArray[Any] | None = None
    done: int = 0
    seconds: float = 0.0
    notice: str = ""
    error: NiivError | None = None


class RegionWorker:
    """Runs reconstructions of regions on one thread and tells every step to a callback on that thread.

    Parameters
    ----------
    deliver : callable
        Takes a `Step`.
    """

    def __init__(self, deliver: Callable[[Step], None]) -> None:
        self._deliver = deliver
        self._changed = threading.Condition()
        self._pending: Start | None = None
        self._generation = 0
        self._closed = False
        # a daemon, or the interpreter would wait for the whole volume; yet one that ended in torch would abort
        self._thread = threading.Thread(target=self._run, name="napari-niiv volume", daemon=True)
        self._thread.start()
        atexit.register(self._finish)

    @property
    def generation(self) -> int:
        """The newest generation."""
        return self._generation

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, start: Start) -> int:
        """Begin a reconstruction in the place of the one that runs. Returns its generation.

        Parameters
        ----------
        start : callable
            Given a function that says whether to stop, returns the events of `reconstruct_region`; called on the
            thread.
        """
        with self._changed:
            self._generation += 1
            self._pending = start
            self._changed.notify()
            return self._generation

    def cancel(self) -> None:
        """Stop what runs; nothing of it is told any more."""
        with self._changed:
            self._generation += 1
            self._pending = None

    def close(self) -> None:
        """Stop the thread, soon."""
        with self._changed:
            self._closed = True
            self._generation += 1
            self._pending = None
            self._changed.notify()

    def _finish(self) -> None:
        self.close()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while (job := self._take()) is not None:
            generation, start = job
            del job
            try:
                self._reconstruct(generation, start)
            except Superseded:
                pass
            except NiivError as error:
                self._tell(Step(generation, error=error))
            except Exception as problem:  # a defect must not kill the thread
                _LOG.exception("The reconstruction of a volume failed")
                sentence = f"The 3-D reconstruction failed unexpectedly ({problem!r}); please report it."
                self._tell(Step(generation, error=ReconstructionError(sentence)))
            del start
        atexit.unregister(self._finish)

    def _take(self) -> tuple[int, Start] | None:
        with self._changed:
            while self._pending is None and not self._closed:
                self._changed.wait()
            start, self._pending = self._pending, None
            return None if self._closed or start is None else (self._generation, start)

    def _reconstruct(self, generation: int, start: Start) -> None:
        plan: RegionPlan | None = None
        array: NDArray[Any] = np.empty(0)
        began = 0.0
        for event in start(lambda: generation != self._generation):
            if isinstance(event, RegionPlan):
                plan = event
                continue
            if isinstance(event, RegionPlaceholder):
                began, array = time.perf_counter(), _as_texture(event.array)
                step = Step(generation, plan, array)
            else:
                array[event.place] = event.array
                seconds = time.perf_counter() - began
                step = Step(generation, plan, array, event.done, seconds, event.notice)
            self._tell(step)

    def _tell(self, step: Step) -> None:
        if step.generation != self._generation:
            return
        try:
            self._deliver(step)
        except Exception:  # whoever listened may be gone, such as a closed window
            _LOG.debug("A step could not be delivered", exc_info=True)


def _as_texture(array: NDArray[Any]) -> NDArray[Any]:
    """In a type that napari hands to the GPU without converting it on the GUI thread."""
    return (
        array if array.dtype in _TEXTURES else array.astype(np.uint8 if array.dtype == bool else np.float32)
    )
