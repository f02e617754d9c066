"""Units computed in this process."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch

from napari_niiv.export.plan import Unit
from napari_niiv.export.shards import Written
from napari_niiv.export.work import Work
from napari_niiv.interrupt import StopFlag

# seconds after which an engine tells that nothing is new, so that whoever listens can give up
HEARTBEAT = 0.5
MOST_AT_ONCE = 4


class Advance(NamedTuple):
    """What an engine has done since it told last.

    Attributes
    ----------
    voxels : int
        How many more are computed; 0 if only time went by.
    written : tuple of Unit and Written, or None
        The unit that is on the disk now, if one is, with the files of its shards.
    """

    voxels: int
    written: tuple[Unit, Written] | None = None


Engine = Callable[[Work, Iterable[Unit]], Generator[Advance, None, None]]
"""Computes the units of an export; closing what it gives stops it."""


def at_once(device: torch.device) -> int:
    """Units that a process works on at once: while a GPU restores one, others are read and compressed."""
    return 1 if device.type == "cpu" else MOST_AT_ONCE


def in_this_process(work: Work, units: Iterable[Unit]) -> Generator[Advance, None, None]:
    """Compute units, some of them at once on threads of their own.

    Closing the generator waits for what is being computed to give up, between two layers of the network.

    Yields
    ------
    Advance

    Raises
    ------
    NiivError, OSError
        As `Work`.
    """
    advances: queue.SimpleQueue[Advance | Future[None]] = queue.SimpleQueue()
    stop = StopFlag()

    def compute(unit: Unit) -> None:
        written = work(unit, lambda voxels: advances.put(Advance(voxels)), stop)
        advances.put(Advance(0, (unit, written)))

    waiting, running = iter(units), 0
    number = at_once(work.batch_budget.model.device)
    pool = ThreadPoolExecutor(number, "napari-niiv-export")

    def start() -> int:
        for unit in waiting:
            pool.submit(compute, unit).add_done_callback(advances.put)
            return 1
        return 0

    try:
        for _ in range(2 * number):  # as many wait, so that no thread waits for the journal
            running += start()
        while running:
            try:
                advance = advances.get(timeout=HEARTBEAT)
            except queue.Empty:
                advance = Advance(0)
            if isinstance(advance, Future):
                advance.result()
                running += start() - 1
            else:
                yield advance
    finally:
        stop.stop()
        pool.shutdown(cancel_futures=True)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch use a number of threads meanwhile; None changes nothing."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
