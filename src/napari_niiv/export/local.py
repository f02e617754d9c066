"""Units computed in this process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from napari_niiv.export.plan import Unit
from napari_niiv.export.work import Work

Step = tuple[int, tuple[Unit, int] | None]
"""Voxels that are computed since the last step, and the unit that is on the disk now, if any, with its bytes."""


class _Stopped(Exception):
    """The export was given up."""


def in_this_process(work: Work, units: Iterable[Unit]) -> Generator[Step, None, None]:
    """Compute units; while a GPU restores one, others are read and compressed by further threads.

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
        size = work(unit, lambda voxels: steps.put((voxels, None)), interrupt)
        steps.put((0, (unit, size)))

    waiting, running = iter(units), 0
    number = 1 if work.workspace.model.device.type == "cpu" else 4
    pool = ThreadPoolExecutor(number, "napari-niiv-export")

    def start() -> int:
        for unit in waiting:
            pool.submit(one, unit).add_done_callback(steps.put)
            return 1
        return 0

    try:
        for _ in range(number):
            running += start()
        while running:
            step = steps.get()
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
