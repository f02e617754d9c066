"""Threads on which the newest request wins: what a view asks for is answered before what it asked for earlier."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from napari_niiv.errors import NiivError, ReconstructionError, unexpected
from napari_niiv.interrupt import Interrupted
from napari_niiv.reconstruction.allocator import trim

_LOG = logging.getLogger(__name__)
_AT_EXIT_SECONDS = 30.0  # that the end of the program waits for work to stop


@dataclass(frozen=True)
class Job:
    """A request and its generation: the number of the request, counted from 1 on."""

    generation: int


J = TypeVar("J", bound=Job)
A = TypeVar("A")


class NewestWins(Generic[J, A]):
    """Threads that each work on one request at a time, and next on the newest one.

    A request that a newer one overtakes before a thread was free is never begun there. Work asks `is_newest` and
    `is_cancelled` about its request, and gives up by raising `Interrupted`. Whatever else it raises ends that request,
    not the thread: also a source's SystemExit, which elsewhere would end the program.

    Parameters
    ----------
    deliver : callable
        Takes an answer; called on the threads.
    threads : mapping of str to callable
        For each thread its name, and the work that it does for every job.
    """

    def __init__(self, deliver: Callable[[A], None], threads: Mapping[str, Callable[[J], None]]) -> None:
        self._deliver = deliver
        self._changed = threading.Condition()
        self._waiting: dict[str, J] = {}  # what each thread is to do next
        self._generation = self._last_cancelled = 0
        self._closed = False
        self._running = len(threads)
        # daemons, or the interpreter would wait for whole volumes; yet one that ended in torch would abort the process
        self._threads = [
            threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
            for name, work in threads.items()
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close, _AT_EXIT_SECONDS)

    @property
    def generation(self) -> int:
        """Generation of the newest request; a cancellation counts as one."""
        return self._generation

    @property
    def alive(self) -> bool:
        """Whether a thread still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def cancel(self) -> None:
        """Forget what waits and stop what runs; its answers are no longer delivered."""
        with self._changed:
            self._last_cancelled = self._generation
            self._generation += 1
            self._waiting = {}
            self._changed.notify_all()

    def close(self, wait: float = 0.0) -> None:
        """Cancel everything and end the threads, giving them `wait` seconds."""
        with self._changed:
            self._closed = True
            self.cancel()
        end = time.monotonic() + wait
        for thread in self._threads:
            if wait and threading.current_thread() is not thread:
                thread.join(max(0.0, end - time.monotonic()))

    def is_newest(self, job: Job) -> bool:
        """Whether nothing else was asked for since, and nothing cancelled."""
        return job.generation == self._generation

    def is_cancelled(self, job: Job) -> bool:
        """Whether nobody wants the answer any more."""
        return job.generation <= self._last_cancelled

    def _submit(self, make: Callable[[int], J]) -> int:
        """Give all threads the job that `make` makes for its generation; returns the generation."""
        with self._changed:
            self._generation += 1
            self._waiting = dict.fromkeys((thread.name for thread in self._threads), make(self._generation))
            self._changed.notify_all()
            return self._generation

    def _answer(self, answer: A) -> None:
        try:
            self._deliver(answer)
        except BaseException:  # whoever listened may be gone, such as a closed window
            _LOG.exception("An answer could not be delivered")

    def _run(self, name: str, work: Callable[[J], None]) -> None:
        while (job := self._take(name)) is not None:
            try:
                work(job)
            except Interrupted:
                pass
            except BaseException:  # a defect must not kill the thread
                _LOG.exception("A job of the thread %r failed", name)
            del job  # what waits for the next one keeps no volume and no model
        with self._changed:
            self._running -= 1
            last = not self._running
        if last:
            atexit.unregister(self.close)
            trim()

    def _take(self, name: str) -> J | None:
        with self._changed:
            self._changed.wait_for(lambda: name in self._waiting or self._closed)
            return None if self._closed else self._waiting.pop(name)


def failure(what: str, error: BaseException) -> NiivError:
    """What the user is told of an error: itself where the user can mend it; a defect is logged and put in words.

    Parameters
    ----------
    what : str
        What failed, as `errors.unexpected` takes it.
    error : BaseException
    """
    if isinstance(error, NiivError):
        return error
    _LOG.error("%s failed", what, exc_info=error)
    sentence = ReconstructionError(unexpected(what, error))
    sentence.__cause__ = error
    return sentence
