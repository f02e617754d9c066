"""The thread of a 3-D view; `reconstruct_region` is a generator of the test."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from napari_niiv.errors import NiivError, VolumeError
from napari_niiv.interrupt import Interrupt
from napari_niiv.reconstruction.region import RegionBlock, RegionEvent, RegionPlaceholder, RegionPlan
from napari_niiv.reconstruction.threads.region_worker import RegionWorker, Step

TIMEOUT = 20.0  # until a test gives up; nothing waits for it when all is well
PLAN = RegionPlan((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (), 1.0, (0, 0, 0), 1)
CORNER = (slice(0, 1),) * 3


def region(interrupt: Interrupt, value: int = 7) -> Iterator[RegionEvent]:
    yield PLAN
    yield RegionPlaceholder(np.zeros((2, 2, 2), np.uint8))
    interrupt()
    yield RegionBlock(CORNER, np.full((1, 1, 1), value, np.uint8), 1)


class Desk:
    def __init__(self) -> None:
        self.steps: queue.Queue[Step] = queue.Queue()
        self.worker = RegionWorker(self.steps.put)

    def next(self) -> Step:
        return self.steps.get(timeout=TIMEOUT)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.worker.close(TIMEOUT)
    assert not desk.worker.alive


def test_the_steps_share_one_array(desk: Desk) -> None:
    generation = desk.worker.submit(region)
    first, second = desk.next(), desk.next()
    assert (first.generation, first.plan, first.done) == (generation, PLAN, 0)
    assert (second.generation, second.plan, second.done) == (generation, PLAN, 1)
    assert first.array is second.array
    assert second.array[0, 0, 0] == 7


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_newest_wins(desk: Desk, cancelled: bool) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(interrupt: Interrupt) -> Iterator[RegionEvent]:
        begun.set()
        assert go.wait(TIMEOUT)
        yield from region(interrupt, 1)

    desk.worker.submit(slow)
    assert begun.wait(TIMEOUT)
    if cancelled:
        desk.worker.cancel()
    generation = desk.worker.submit(region)
    go.set()
    assert [(step.generation, step.done) for step in (desk.next(), desk.next())] == [
        (generation, 0),
        (generation, 1),
    ]
    assert desk.steps.empty()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (VolumeError("The disk is gone."), "^The disk is gone.$"),
        (
            ZeroDivisionError("oh"),
            r"^The 3-D reconstruction failed unexpectedly \(ZeroDivisionError\('oh'\)\)",
        ),
        (SystemExit(3), r"^The 3-D reconstruction failed unexpectedly \(SystemExit\(3\)\)"),
    ],
)
def test_errors_are_steps_and_the_thread_goes_on(desk: Desk, error: BaseException, sentence: str) -> None:
    def broken(interrupt: Interrupt) -> Iterator[RegionEvent]:
        yield PLAN
        raise error

    desk.worker.submit(broken)
    with pytest.raises(NiivError, match=sentence):
        raise desk.next().error
    desk.worker.submit(region)
    assert desk.next().done == 0
