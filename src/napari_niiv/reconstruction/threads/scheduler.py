"""The newest request wins, and its picture comes in passes: interpolated on one thread, restored on another."""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from napari_niiv.errors import NiivError, ReconstructionError
from napari_niiv.reconstruction.allocator import trim
from napari_niiv.reconstruction.views.reconstructor import Reconstructor, Superseded
from napari_niiv.reconstruction.views.request import AXES, Quality, SliceRequest, SliceResponse

_LOG = logging.getLogger(__name__)
PASSES: tuple[Quality, ...] = ("placeholder", "fast", "refined")
FAIR_SECONDS = 0.25  # during a drag, let a fast picture finish at least this often
IDLE_SECONDS = 0.15  # quiet time before a picture is refined
FIRST_PIECE_SECONDS, PIECE_SECONDS = (
    0.08,
    0.4,
)  # after which a picture of many pieces appears, and how often then
AHEAD_FIRST, AHEAD = 1, 4  # next slices encoded before and after refining, in the direction of scrolling
TRIM_EVERY = 100  # requests


@dataclass(frozen=True)
class Job:
    """A request with the generation it belongs to and who answers it."""

    generation: int
    reconstructor: Reconstructor
    request: SliceRequest


@dataclass(frozen=True)
class Answer:
    """What the scheduler delivers: a picture, or the reason why there is none.

    Attributes
    ----------
    generation : int
    response : SliceResponse or None
    error : NiivError or None
    final : bool
        Whether no better picture of this generation will follow.
    """

    generation: int
    response: SliceResponse | None
    error: NiivError | None = None
    final: bool = False


class Scheduler:
    """Runs requests on two threads and delivers answers, in passes, to a callback on these threads.

    Interpolations have a thread of their own: they come at once, however long the network still works on what is no
    longer wanted. The network begins when the interpolation of its request is over, so nothing is read twice.

    Parameters
    ----------
    deliver : callable
        Takes an `Answer`; called on either thread, for one request by one after the other.
    """

    def __init__(self, deliver: Callable[[Answer], None]) -> None:
        self._deliver = deliver
        self._changed = threading.Condition()
        self._pending: Job | None = None  # for the network
        self._first: Job | None = None  # for the interpolation
        self._begun: tuple[int, tuple[Quality, ...]] = (
            0,
            (),
        )  # whose interpolation is over, and what is to follow
        self._generation = 0
        self._forgotten = 0  # the last generation that was cancelled
        self._closed = False
        self._delivered = 0.0
        self._served = 0  # whose final picture was delivered
        self._before: Job | None = None
        self._scrolling = 0
        self._threads = [
            threading.Thread(target=self._interpolate, name="napari-niiv interpolation", daemon=True),
            threading.Thread(target=self._run, name="napari-niiv", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        # a thread that still computes when the interpreter ends would abort the process
        atexit.register(self._finish)

    @property
    def generation(self) -> int:
        """The newest generation."""
        return self._generation

    def submit(self, reconstructor: Reconstructor, request: SliceRequest) -> int:
        """Ask for a picture; it replaces what waits. Returns its generation."""
        with self._changed:
            self._generation += 1
            self._pending = self._first = Job(self._generation, reconstructor, request)
            self._changed.notify_all()
            return self._generation

    def cancel(self) -> None:
        """Forget what waits and stop what runs; its answers are no longer delivered."""
        with self._changed:
            self._forgotten = self._generation
            self._generation += 1
            self._pending = self._first = None
            self._changed.notify_all()

    def close(self, wait: float = 0.0) -> None:
        """Stop the threads; give them `wait` seconds to end."""
        with self._changed:
            self._closed = True
            self._generation += 1
            self._pending = self._first = None
            self._changed.notify_all()
        end = time.monotonic() + wait
        for thread in self._threads:
            if wait and threading.current_thread() is not thread:
                thread.join(max(0.0, end - time.monotonic()))

    @property
    def alive(self) -> bool:
        """Whether a thread still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def _finish(self) -> None:
        self.close(wait=30)

    def _run(self) -> None:
        for count in itertools.count(1):
            if (job := self._take()) is None:
                break
            direction = self._direction(job)
            passes = self._following(job)
            for quality in passes:
                if quality == "refined" and quality != passes[0]:
                    if not self._idle(job):
                        break
                    self._prepare(job, direction, AHEAD_FIRST)
                if not self._pass(job, quality):
                    break
            if self._served == job.generation:
                self._prepare(job, direction, AHEAD)
            if count % TRIM_EVERY == 0:
                trim()
        atexit.unregister(self._finish)

    def _interpolate(self) -> None:
        """The first thread: the placeholder of the newest request, unless something better is held."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._first is not None or self._closed)
                job, self._first = self._first, None
            if job is None:
                return
            passes = _passes(job)
            if passes[0] == "placeholder":
                passes = passes[1:] if self._pass(job, "placeholder") else ()
            with self._changed:
                self._begun = (job.generation, passes)
                self._changed.notify_all()

    def _take(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending is not None or self._closed)
            job, self._pending = self._pending, None
            return None if self._closed else job

    def _following(self, job: Job) -> tuple[Quality, ...]:
        """The passes after the interpolation, when that is over; none if another request came meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._begun[0] == job.generation or self._newer(job))
            return self._begun[1] if self._begun[0] == job.generation else ()

    def _direction(self, job: Job) -> int:
        """Which way the user scrolls: 1, -1, or 0 if that cannot be said."""
        before, self._before = self._before, job
        if before is None or before.reconstructor is not job.reconstructor:
            self._scrolling = 0
            return 0
        then, now = before.request, job.request
        if (then.plane, then.leading) != (now.plane, now.leading):
            self._scrolling = 0
        elif then.index != now.index:
            self._scrolling = 1 if now.index > then.index else -1
        return self._scrolling

    def _prepare(self, job: Job, direction: int, count: int) -> None:
        """While nothing is asked for, encode the slices that are likely to be asked for next."""
        size = job.reconstructor.volume.shape[AXES[job.request.plane][0] - 3] if direction else 0
        for step in range(1, count + 1):
            index = job.request.index + step * direction
            if not direction or self._newer(job) or not 0 <= index <= size - 1:
                return
            try:
                job.reconstructor.prepare(replace(job.request, index=index), lambda: self._newer(job))
            except Superseded:
                return
            except Exception:  # if it is asked for, it will be reported
                _LOG.debug("A slice could not be prepared", exc_info=True)
                return

    def _idle(self, job: Job) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._newer(job), timeout=IDLE_SECONDS)
            return not self._newer(job)

    def _newer(self, job: Job) -> bool:
        return self._closed or job.generation != self._generation

    def _unwanted(self, job: Job) -> bool:
        return self._closed or job.generation <= self._forgotten

    def _pass(self, job: Job, quality: Quality) -> bool:
        """Run one pass, in pieces if it takes long; says whether to go on to the next."""

        def stale() -> bool:
            if self._unwanted(job):
                return True
            pending = self._pending
            if pending is None or quality == "placeholder":
                return False  # a placeholder comes at once anyway; a fast scroll must not starve the view
            # superseded: a picture of the same slice still serves a zoom or pan, now and then
            same = pending.request.place == job.request.place
            return quality == "refined" or not same or time.perf_counter() - self._delivered < FAIR_SECONDS

        patience = FIRST_PIECE_SECONDS
        while not stale():
            response: SliceResponse | None = None
            error: NiivError | None = None
            try:
                response = job.reconstructor.slice(job.request, quality, stale, patience)
            except Superseded:
                return False
            except NiivError as problem:
                error = problem
            except Exception as problem:  # a defect must not kill the thread: the view stays usable
                _LOG.exception("The reconstruction of %s failed", job.request)
                error = ReconstructionError(
                    f"The reconstruction failed unexpectedly ({problem!r}); please report it."
                )
                error.__cause__ = problem
            complete = response is None or response.complete
            # nothing better follows an interpolation that is the right answer
            final = error is not None or (
                complete and (quality == "refined" or (quality == "fast" and not _inferred(response)))
            )
            if self._unwanted(job):
                return False
            try:
                self._deliver(Answer(job.generation, response, error, final))
            except Exception:  # whoever listened may be gone, such as a closed window
                _LOG.exception("A picture could not be delivered")
            if quality != "placeholder":
                self._delivered = time.perf_counter()
            if final and error is None:
                self._served = job.generation
            if complete:
                return not final
            patience = PIECE_SECONDS
        return False


def _passes(job: Job) -> tuple[Quality, ...]:
    """Begin with the best picture that needs the decoder alone, so that zooming does not flicker."""
    try:
        for first in (2, 1):
            if job.reconstructor.holds(job.request, PASSES[first]):
                return PASSES[first:]
    except Exception:  # the placeholder's pass meets it again and reports it
        _LOG.debug("Whether a picture is held cannot be said", exc_info=True)
    return PASSES


def _inferred(response: SliceResponse | None) -> bool:
    return response is not None and response.inferred
