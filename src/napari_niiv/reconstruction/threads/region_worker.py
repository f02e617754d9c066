"""The thread behind a 3-D view: one reconstruction of a region at a time, the newest wins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import NiivError
from napari_niiv.interrupt import Interrupt, Interrupted, interrupt_if
from napari_niiv.reconstruction.allocator import trim
from napari_niiv.reconstruction.region import RegionEvent, RegionPlaceholder, RegionPlan
from napari_niiv.reconstruction.threads.newest import Job, NewestWins, failure

_TEXTURES = (np.uint8, np.uint16, np.float32)  # what a GPU takes as it is

Start = Callable[[Interrupt], Iterator[RegionEvent]]
"""Begins a reconstruction that the interrupt stops: `reconstruct_region` with all its other arguments."""


@dataclass(frozen=True, eq=False)
class Step:
    """How far the reconstruction of a region is, or why there is none.

    Attributes
    ----------
    generation : int
        Of the reconstruction, as `RegionWorker.submit` returned it.
    plan : RegionPlan or None
        None where there is an error.
    array : array or None
        The same one at every step of a generation: the worker goes on to write blocks on it.
    done : int
        Blocks restored; 0 when the interpolation has just appeared.
    seconds : float
        Since the interpolation appeared.
    notice : str
        What the user should know.
    middle : float
        About the median of what is measured, as a share of the range of the volume's intensities.
    error : NiivError or None
    """

    generation: int
    plan: RegionPlan | None = None
    array: NDArray[Any] | None = None
    done: int = 0
    seconds: float = 0.0
    notice: str = ""
    middle: float = 0.5
    error: NiivError | None = None


@dataclass(frozen=True)
class _RegionJob(Job):
    start: Start


class RegionWorker(NewestWins[_RegionJob, Step]):
    """Runs reconstructions of regions on one thread and delivers every step on that thread.

    Parameters
    ----------
    deliver : callable
        Takes a `Step`.
    """

    def __init__(self, deliver: Callable[[Step], None]) -> None:
        super().__init__(deliver, {"napari-niiv volume": self._reconstruct})

    def submit(self, start: Start) -> int:
        """Begin a reconstruction in the place of the one that runs. Returns its generation.

        Parameters
        ----------
        start : callable
            Given an `Interrupt`, returns the events of `reconstruct_region`; called on the thread.
        """
        return self._submit(lambda generation: _RegionJob(generation, start))

    def _reconstruct(self, job: _RegionJob) -> None:
        try:
            for step in self._steps(job):
                self._step(job, step)
        except Interrupted:
            pass
        except BaseException as error:  # also a source's SystemExit: the thread goes on
            self._step(job, Step(job.generation, error=failure("The 3-D reconstruction", error)))
        trim()

    def _step(self, job: _RegionJob, step: Step) -> None:
        if self.is_newest(job):
            self._answer(step)

    def _steps(self, job: _RegionJob) -> Iterator[Step]:
        plan: RegionPlan | None = None
        array: NDArray[Any] = np.empty(0)
        began, middle = 0.0, 0.5
        for event in job.start(interrupt_if(lambda: not self.is_newest(job))):
            if isinstance(event, RegionPlan):
                plan = event
            elif isinstance(event, RegionPlaceholder):
                began, array, middle = time.perf_counter(), _as_texture(event.array), event.middle
                yield Step(job.generation, plan, array, middle=middle)
            else:
                array[event.place] = event.array
                seconds = time.perf_counter() - began
                yield Step(job.generation, plan, array, event.done, seconds, event.notice, middle)


def _as_texture(array: NDArray[Any]) -> NDArray[Any]:
    """In a type that napari hands to the GPU without converting it on the GUI thread."""
    if array.dtype in _TEXTURES:
        return array
    return array.astype(np.uint8 if array.dtype == bool else np.float32)
