"""What dask would print: the user is told in our own sentences."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

_TALKATIVE = ("distributed", "distributed.client", "tornado", "tornado.application")
# tell of jobs that were not taken, and connections that broke
_STRAY = ("asyncio", "tornado.application")
# tells of what a worker had that was killed
_LEAKED = "ignore::UserWarning:multiprocessing.resource_tracker"


@contextmanager
def without_dask_logs() -> Iterator[list[str]]:
    """Drop what distributed and tornado log and warn of in this process; gives dask-jobqueue's errors, as they come."""
    errors: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and any(map(_is_of_jobqueue, traceback.walk_tb(error.__traceback__))):
            errors.append(str(error))
        return False

    handlers = drop_dask_logs()
    strays = [logging.getLogger(name) for name in _STRAY]
    for stray in strays:
        stray.addFilter(collect)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield errors
    finally:
        for stray in strays:
            stray.removeFilter(collect)
        for handler in handlers:
            handler.removeFilter(_drop)


def drop_dask_logs() -> set[logging.Handler]:
    """Drop what distributed and tornado log from now on; gives the handlers that have the filter."""
    handlers = {handler for name in _TALKATIVE for handler in logging.getLogger(name).handlers}
    for handler in handlers:
        handler.addFilter(_drop)
    return handlers


def _is_of_jobqueue(step: tuple[FrameType, int]) -> bool:
    return str(step[0].f_globals.get("__name__")).startswith("dask_jobqueue")


def _drop(record: logging.LogRecord) -> bool:
    return False


def start_tracker() -> None:
    """Start Python's own process that tidies up after others, such that it does not tell of workers that died.

    It may run already, as whatever makes a lock for processes starts it.
    """
    sys.warnoptions.append(_LEAKED)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(_LEAKED)


@contextmanager
def children_without_ctrl_c() -> Iterator[None]:
    """Threads and processes that are started meanwhile, and theirs, do not get a Ctrl-C; it comes here afterwards.

    A terminal sends it to all processes of a program, and each of dask's would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    start_tracker()  # later, it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
