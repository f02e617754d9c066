"""Units computed in this process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from napari_niiv.export.plan import Unit
from napari_niiv.export.work import Sizes, Work

HEARTBEAT = 0.5  # seconds after which a step says that nothing is new, so that whoever listens can give up
Step = tuple[int, tuple[Unit, Sizes] | None]
"""Voxels that are computed since the last step, and the unit that is on the disk now, if any, with its bytes."""


MOST_AT_ONCE = 4


class _Stopped(Exception):
    """The export was given up."""


def at_once(device: torch.device) -> int:
    """Units that a process works on at once: while a GPU restores one, others are read and compressed."""
    return 1 if device.type == "cpu" else MOST_AT_ONCE


def in_this_process(work: Work, units: Iterable[Unit]) -> Generator[Step, None, None]:
    """Compute units, some of them at once on threads of their own.

    Closing the generator waits for what is being computed to give up, between two layers of the network.

    Yields
    ------
    Step

    Raises
    ------
    NiivError, OSError
        As `Work`.
    """
    steps: queue.SimpleQueue[Step | Future[None]] = queue.SimpleQueue()
    stop = threading.Event()

    def interrupt() -> None:
        if stop.is_set():
            raise _Stopped

    def one(unit: Unit) -> None:
        sizes = work(unit, lambda voxels: steps.put((voxels, None)), interrupt)
        steps.put((0, (unit, sizes)))

    waiting, running = iter(units), 0
    number = at_once(work.batch_budget.model.device)
    pool = ThreadPoolExecutor(number, "napari-niiv-export")

    def start() -> int:
        for unit in waiting:
            pool.submit(one, unit).add_done_callback(steps.put)
            return 1
        return 0

    try:
        for _ in range(2 * number):  # as many wait, so that no thread waits for the journal
            running += start()
        while running:
            try:
                step = steps.get(timeout=HEARTBEAT)
            except queue.Empty:
                step = (0, None)
            if isinstance(step, Future):
                step.result()
                running += start() - 1
            else:
                yield step
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch use a number of threads meanwhile."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Engine = Callable[[Work, Iterable[Unit]], Generator[Step, None, None]]
