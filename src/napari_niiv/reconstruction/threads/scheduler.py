"""The newest request wins, and its picture comes in passes: interpolated on one thread, restored on another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from napari_niiv.errors import NiivError
from napari_niiv.interrupt import Interrupted, interrupt_if
from napari_niiv.reconstruction.allocator import trim
from napari_niiv.reconstruction.planes import AXES
from napari_niiv.reconstruction.threads.newest import Job, NewestWins, failure
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import Quality, SliceRequest, SliceResponse

_LOG = logging.getLogger(__name__)
PASSES: tuple[Quality, ...] = ("placeholder", "fast", "refined")
FAIR_SECONDS = 0.25  # during a drag, let a fast picture finish at least this often
IDLE_SECONDS = 0.15  # quiet time before a picture is refined
# after which a picture of many pieces appears, and how often then
FIRST_PIECE_SECONDS, PIECE_SECONDS = 0.08, 0.4
AHEAD_FIRST, AHEAD = 1, 4  # next slices encoded before and after refining, in the direction of scrolling
TRIM_EVERY = 100  # requests
_NETWORK = "napari-niiv"


@dataclass(frozen=True)
class PictureJob(Job):
    """A request for a picture, and who answers it."""

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


class Scheduler(NewestWins[PictureJob, Answer]):
    """Runs requests on two threads and delivers answers, in passes, to a callback on these threads.

    Interpolations have a thread of their own: they come at once, however long the network still works on what is no
    longer wanted. The network begins when the interpolation of its request is over, so nothing is read twice.

    Parameters
    ----------
    deliver : callable
        Takes an `Answer`; called on either thread, for one request by one after the other.
    """

    def __init__(self, deliver: Callable[[Answer], None]) -> None:
        # the generation whose interpolation is over, and the passes that are to follow
        self._interpolated: tuple[int, tuple[Quality, ...]] = (0, ())
        self._delivered_at = 0.0
        self._served = 0  # generation of the last final picture
        self._jobs = 0  # that the network has met
        self._previous: PictureJob | None = None
        self._scrolling = 0
        super().__init__(deliver, {"napari-niiv interpolation": self._interpolate, _NETWORK: self._restore})

    def submit(self, reconstructor: Reconstructor, request: SliceRequest) -> int:
        """Ask for a picture; it replaces what waits. Returns its generation."""
        return self._submit(lambda generation: PictureJob(generation, reconstructor, request))

    def _interpolate(self, job: PictureJob) -> None:
        """The first thread: the placeholder of the newest request, unless something better is cached."""
        passes = _passes(job)
        if passes[0] == "placeholder":
            passes = passes[1:] if self._pass(job, "placeholder") else ()
        _forget_if_ended(job)
        with self._changed:
            self._interpolated = (job.generation, passes)
            self._changed.notify_all()

    def _restore(self, job: PictureJob) -> None:
        """The second thread: the other passes and, around them, the next slices."""
        direction, passes = self._direction(job), self._following(job)
        for quality in passes:
            if quality == "refined" and quality != passes[0]:
                if not self._idle(job):
                    break
                self._prepare(job, direction, AHEAD_FIRST)
            if not self._pass(job, quality):
                break
        if self._served == job.generation:
            self._prepare(job, direction, AHEAD)
        _forget_if_ended(job)
        self._jobs += 1
        if self._jobs % TRIM_EVERY == 0:
            trim()

    def _following(self, job: PictureJob) -> tuple[Quality, ...]:
        """The passes after the interpolation, when that is over; none if another request came meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._interpolated[0] == job.generation or not self.is_newest(job))
            generation, passes = self._interpolated
            return passes if generation == job.generation else ()

    def _direction(self, job: PictureJob) -> int:
        """Which way the user scrolls: 1, -1, or 0 if neither is known."""
        previous, self._previous = self._previous, job
        if previous is None or previous.reconstructor is not job.reconstructor:
            self._scrolling = 0
            return 0
        then, now = previous.request, job.request
        if (then.plane, then.leading) != (now.plane, now.leading):
            self._scrolling = 0
        elif then.index != now.index:
            self._scrolling = 1 if now.index > then.index else -1
        return self._scrolling

    def _prepare(self, job: PictureJob, direction: int, count: int) -> None:
        """While nothing is asked for, encode the slices that are likely to be asked for next."""
        size = job.reconstructor.volume.shape[AXES[job.request.plane][0] - 3] if direction else 0
        interrupt = interrupt_if(lambda: not self.is_newest(job))
        for step in range(1, count + 1):
            index = job.request.index + step * direction
            if not direction or not self.is_newest(job) or not 0 <= index <= size - 1:
                return
            try:
                job.reconstructor.prepare(replace(job.request, index=index), interrupt)
            except Interrupted:
                return
            except BaseException:  # if it is asked for, it will be reported
                _LOG.debug("A slice could not be prepared", exc_info=True)
                return

    def _idle(self, job: PictureJob) -> bool:
        with self._changed:
            return not self._changed.wait_for(lambda: not self.is_newest(job), timeout=IDLE_SECONDS)

    def _overtaken(self, job: PictureJob, quality: Quality) -> bool:
        """Whether to give a pass up."""
        if self.is_cancelled(job):
            return True
        next_job = self._waiting.get(_NETWORK)
        if next_job is None or quality == "placeholder":
            return False  # a placeholder comes at once anyway; a fast scroll must not starve the view
        # a picture of the same slice still serves a zoom or pan, now and then
        same = next_job.request.place == job.request.place
        return quality == "refined" or not same or time.perf_counter() - self._delivered_at < FAIR_SECONDS

    def _pass(self, job: PictureJob, quality: Quality) -> bool:
        """Run one pass, in pieces if it takes long; says whether to go on to the next."""
        interrupt = interrupt_if(lambda: self._overtaken(job, quality))
        time_limit = FIRST_PIECE_SECONDS
        while not self._overtaken(job, quality):
            response: SliceResponse | None = None
            error: NiivError | None = None
            try:
                response = job.reconstructor.slice(job.request, quality, interrupt, time_limit)
            except Interrupted:
                return False
            except BaseException as problem:  # a defect must not kill the thread: the view stays usable
                error = failure("The reconstruction", problem)
            complete = response is None or response.complete
            # nothing better follows an interpolation that is the right answer
            best = quality == "refined" or (quality == "fast" and response is not None and not response.inferred)
            final = error is not None or (complete and best)
            if self.is_cancelled(job):
                return False
            self._answer(Answer(job.generation, response, error, final))
            if quality != "placeholder":
                self._delivered_at = time.perf_counter()
            if final and error is None:
                self._served = job.generation
            if complete:
                return not final
            time_limit = PIECE_SECONDS
        return False


def _forget_if_ended(job: PictureJob) -> None:
    """What was cached after the end of its view would stay, and with it the volume."""
    if job.reconstructor.ended:
        job.reconstructor.forget()


def _passes(job: PictureJob) -> tuple[Quality, ...]:
    """Begin with the best picture that needs the decoder alone, so that zooming does not flicker."""
    try:
        for first in (2, 1):
            if job.reconstructor.is_cached(job.request, PASSES[first]):
                return PASSES[first:]
    except BaseException:  # the placeholder's pass meets it again and reports it
        _LOG.debug("Whether a picture is cached is not known", exc_info=True)
    return PASSES
