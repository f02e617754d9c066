"""One worker thread, driven step by step: the stub stands still until the test lets it go on."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from napari_niiv.errors import VolumeError
from napari_niiv.geometry import Sampling
from napari_niiv.interrupt import Interrupt
from napari_niiv.reconstruction.threads import scheduler as module
from napari_niiv.reconstruction.threads.scheduler import Answer, Scheduler
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest, SliceResponse
from napari_niiv.volume import Volume

TIMEOUT = 20.0  # seconds until a test gives up; nothing waits for it when all is well


def request(index: int, zoom: float = 1.0) -> SliceRequest:
    return SliceRequest("xz", index, Sampling(0, zoom, 4), Sampling(0, zoom, 4))


@dataclass
class Stub:
    """A reconstructor whose passes wait for `go` where they are told to."""

    cached: set[str] = field(default_factory=set)
    stops: set[tuple[int, str]] = field(default_factory=set)
    fails: dict[str, BaseException] = field(default_factory=dict)
    inferred: bool = True
    heeds: bool = True  # calls `interrupt` when it goes on
    pieces: int = 1  # in which a fast picture comes
    ended: bool = False

    def __post_init__(self) -> None:
        self.volume = Volume(np.zeros((9, 100, 9), np.uint8))
        self.began: queue.Queue[tuple[int, str]] = queue.Queue()
        self.go = threading.Semaphore(0)
        self.calls: list[tuple[int, str]] = []
        self.forgotten: list[str] = []  # by which threads

    def is_cached(self, request: SliceRequest, quality: str) -> bool:
        if "is_cached" in self.fails:
            raise self.fails["is_cached"]
        return quality in self.cached

    def prepare(self, request: SliceRequest, interrupt: Interrupt) -> None:
        self.slice(request, "ahead", interrupt, 0)

    def slice(self, request: SliceRequest, quality: str, interrupt: Interrupt, time_limit: float) -> SliceResponse:
        step = (int(request.index), quality)
        self.calls.append(step)
        if step in self.stops:
            self.began.put(step)
            assert self.go.acquire(timeout=TIMEOUT)
            if self.heeds:
                interrupt()
        if quality in self.fails:
            raise self.fails[quality]
        image = np.zeros((4, 4))
        inferred = self.inferred and quality != "placeholder"
        complete = quality != "fast" or self.calls.count(step) >= self.pieces
        return SliceResponse(request, quality, image, 0.0, "cpu", 1, inferred, complete=complete)

    def forget(self) -> None:
        self.forgotten.append(threading.current_thread().name)

    def wait(self, index: int, quality: str) -> None:
        assert self.began.get(timeout=TIMEOUT) == (index, quality)


class Desk:
    """A scheduler and what it delivered."""

    def __init__(self) -> None:
        self.answers: queue.Queue[Answer] = queue.Queue()
        self.scheduler = Scheduler(self.answers.put)

    def next(self) -> tuple[int, str, bool]:
        answer = self.answers.get(timeout=TIMEOUT)
        assert answer.response is not None, answer.error
        return int(answer.response.request.index), answer.response.quality, answer.final

    def nothing_more(self) -> bool:
        """After the thread has come to rest: an own request goes through it last."""
        last = Stub(inferred=False)
        self.scheduler.submit(last, request(99))
        assert self.next() == (99, "placeholder", False)
        assert self.next() == (99, "fast", True)
        return self.answers.empty()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.001)
    monkeypatch.setattr(module, "FAIR_SECONDS", 1e9)
    desk = Desk()
    yield desk
    desk.scheduler.close(TIMEOUT)
    assert not desk.scheduler.alive


def test_a_picture_comes_in_passes(desk: Desk) -> None:
    generation = desk.scheduler.submit(Stub(), request(1))
    assert generation == desk.scheduler.generation == 1
    assert [desk.next() for _ in range(3)] == [
        (1, "placeholder", False),
        (1, "fast", False),
        (1, "refined", True),
    ]
    assert desk.nothing_more()


def test_where_nothing_is_inferred_the_second_pass_is_the_last(desk: Desk) -> None:
    desk.scheduler.submit(Stub(inferred=False), request(1))
    assert [desk.next(), desk.next()] == [(1, "placeholder", False), (1, "fast", True)]
    assert desk.nothing_more()


def test_the_newest_wins_and_what_waited_is_forgotten(desk: Desk) -> None:
    stub = Stub(stops={(1, "fast")})
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "fast")
    for index in (2, 3, 4):
        desk.scheduler.submit(stub, request(index))
    stub.go.release()
    assert desk.next() == (1, "placeholder", False)
    assert desk.next() == (4, "placeholder", False), "the superseded pass stopped, those between never began"
    assert desk.next() == (4, "fast", False)
    assert desk.next() == (4, "refined", True)
    assert {index for index, quality in stub.calls if quality != "ahead"} == {1, 4}
    assert desk.nothing_more()


@pytest.mark.parametrize(("fair", "index", "stopped"), [(0.0, 1, False), (1e9, 1, True), (0.0, 2, True)])
def test_a_superseded_picture_of_the_same_slice_is_shown_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, fair: float, index: int, stopped: bool
) -> None:
    monkeypatch.setattr(module, "FAIR_SECONDS", fair)
    stub = Stub(stops={(1, "fast")}, inferred=False)
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "fast")
    stub.stops.clear()
    desk.scheduler.submit(stub, request(index, zoom=0.5))
    stub.go.release()
    seen = [desk.next() for _ in range(3 if stopped else 4)]
    assert seen[0] == (1, "placeholder", False)
    assert seen[-1] == (index, "fast", True)
    # the interpolation waits for nothing, so it may overtake what is shown of the superseded one
    between = [(index, "placeholder", False)] if stopped else [(1, "fast", True), (1, "placeholder", False)]
    assert sorted(seen[1:-1]) == between
    assert desk.nothing_more()


def test_an_interpolation_does_not_wait_for_the_network(desk: Desk) -> None:
    stub = Stub(stops={(1, "fast")})
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "fast")
    assert desk.next()[:2] == (1, "placeholder")
    for index in (2, 3):
        desk.scheduler.submit(stub, request(index))
        assert desk.next()[:2] == (index, "placeholder"), "while the network is still at work"
    stub.go.release()
    assert [desk.next()[:2] for _ in range(2)] == [(3, "fast"), (3, "refined")]


def test_a_refinement_gives_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAIR_SECONDS", 0.0)
    stub = Stub(stops={(1, "refined")})
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "refined")
    stub.stops.clear()
    desk.scheduler.submit(stub, request(1, zoom=0.5))
    stub.go.release()
    seen = [desk.next() for _ in range(5)]
    assert [quality for _, quality, _ in seen] == ["placeholder", "fast", "placeholder", "fast", "refined"]
    assert desk.nothing_more()


def test_pictures_are_refined_only_when_idle(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 1e6)
    stub = Stub()
    for index in range(5):  # each comes while the thread waits for quiet
        desk.scheduler.submit(stub, request(index))
        assert [desk.next(), desk.next()] == [(index, "placeholder", False), (index, "fast", False)]
    assert "refined" not in {quality for _, quality in stub.calls}


@pytest.mark.parametrize("heeds", [True, False])
def test_what_is_cancelled_is_not_delivered(desk: Desk, heeds: bool) -> None:
    stub = Stub(stops={(1, "fast")}, heeds=heeds)
    desk.scheduler.submit(stub, request(1))
    assert desk.next() == (1, "placeholder", False)
    stub.wait(1, "fast")
    desk.scheduler.cancel()
    assert desk.scheduler.generation == 2
    desk.scheduler.submit(Stub(inferred=False), request(1, zoom=0.5))  # of the same slice
    stub.go.release()
    assert [desk.next(), desk.next()] == [(1, "placeholder", False), (1, "fast", True)]
    assert desk.nothing_more()


def test_cancelling_ends_the_wait_for_quiet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 1e6)
    stub = Stub()
    desk.scheduler.submit(stub, request(1))
    assert [desk.next()[1], desk.next()[1]] == ["placeholder", "fast"]
    desk.scheduler.cancel()
    assert desk.nothing_more()


@pytest.mark.parametrize("where", ["nothing", "placeholder", "fast"])
def test_close_ends_the_thread_and_delivers_no_more(where: str) -> None:
    desk, stub = Desk(), Stub(stops={(1, where)}, heeds=False)
    if where != "nothing":
        desk.scheduler.submit(stub, request(1))
        stub.wait(1, where)
    delivered = desk.answers.qsize()
    desk.scheduler.close()
    stub.go.release()
    desk.scheduler.close(TIMEOUT)
    assert not desk.scheduler.alive
    assert desk.answers.qsize() == delivered
    desk.scheduler.close(TIMEOUT)  # again, as Qt may


def test_close_from_its_own_thread_does_not_wait_for_itself() -> None:
    done = threading.Event()

    def deliver(answer: Answer) -> None:
        scheduler.close(TIMEOUT)
        done.set()

    scheduler = Scheduler(deliver)
    scheduler.submit(Stub(), request(1))
    assert done.wait(TIMEOUT)
    scheduler.close(TIMEOUT)
    assert not scheduler.alive


@pytest.mark.parametrize("quality", ["placeholder", "fast", "refined"])
def test_errors_are_delivered_and_final(desk: Desk, quality: str) -> None:
    problem = VolumeError("The disk is gone.")
    generation = desk.scheduler.submit(Stub(fails={quality: problem}), request(1))
    answer = desk.answers.get(timeout=TIMEOUT)
    while answer.response is not None:
        answer = desk.answers.get(timeout=TIMEOUT)
    assert (answer.generation, answer.error, answer.final) == (generation, problem, True)
    assert desk.nothing_more()


@pytest.mark.parametrize("defect", [ZeroDivisionError, SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("where", ["placeholder", "fast", "is_cached"])
def test_a_defect_does_not_kill_the_thread(desk: Desk, where: str, defect: type[BaseException]) -> None:
    desk.scheduler.submit(Stub(fails={where: defect("oh")}, inferred=False), request(1))
    answers = [desk.answers.get(timeout=TIMEOUT)]
    while not answers[-1].final:
        answers.append(desk.answers.get(timeout=TIMEOUT))
    if where == "is_cached":
        assert answers[-1].error is None
    else:
        assert f"failed unexpectedly ({defect.__name__}('oh'))" in str(answers[-1].error)
        assert isinstance(answers[-1].error.__cause__, defect)
    assert desk.nothing_more()


def test_what_was_cached_after_the_end_of_a_view_is_forgotten(desk: Desk) -> None:
    stub = Stub(stops={(1, "placeholder"), (1, "fast")}, inferred=False)
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "placeholder")
    stub.go.release()
    stub.wait(1, "fast")
    assert stub.forgotten == []
    stub.ended = True
    stub.go.release()
    assert [desk.next()[1] for _ in range(2)] == ["placeholder", "fast"]
    assert desk.nothing_more()
    assert stub.forgotten == ["napari-niiv"]


def test_a_listener_that_is_gone_does_not_kill_the_thread(desk: Desk) -> None:
    answers, desk.scheduler._deliver = desk.answers.put, lambda answer: 1 / 0
    stub = Stub(stops={(1, "refined")})
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "refined")
    desk.scheduler._deliver = answers
    stub.go.release()
    assert desk.next() == (1, "refined", True)
    assert desk.nothing_more()


def test_a_picture_of_many_pieces_appears_as_they_come(desk: Desk) -> None:
    desk.scheduler.submit(Stub(pieces=3), request(1))
    qualities = [desk.next()[1:] for _ in range(5)]
    assert qualities == [("placeholder", False), *[("fast", False)] * 3, ("refined", True)]
    assert desk.nothing_more()


def test_between_pieces_it_gives_way(desk: Desk) -> None:
    stub = Stub(pieces=1000, stops={(1, "fast")})
    desk.scheduler.submit(stub, request(1))
    stub.wait(1, "fast")
    stub.go.release()
    stub.wait(1, "fast")
    desk.scheduler.submit(Stub(inferred=False), request(2))
    stub.go.release()
    seen = [desk.next() for _ in range(4)]
    assert [answer[:2] for answer in seen] == [
        (1, "placeholder"),
        (1, "fast"),
        (2, "placeholder"),
        (2, "fast"),
    ]


@pytest.mark.parametrize(("first", "second", "ahead"), [(5, 8, [9, 10, 11, 12]), (8, 5, [4, 3, 2, 1]), (4, 1, [0])])
def test_the_next_slices_are_prepared_in_the_direction_of_scrolling(
    desk: Desk, first: int, second: int, ahead: list[int]
) -> None:
    stub = Stub()
    for index in (first, second):
        desk.scheduler.submit(stub, request(index))
        assert [desk.next()[1] for _ in range(3)] == ["placeholder", "fast", "refined"]
    assert desk.nothing_more()
    mine = stub.calls[3:]
    before = mine.index((second, "refined"))
    assert mine[:before] == [(second, "placeholder"), (second, "fast"), (ahead[0], "ahead")]
    assert mine[before + 1 :] == [(index, "ahead") for index in ahead]


@pytest.mark.parametrize("error", [VolumeError("gone"), SystemExit(3)])
def test_preparing_gives_way_and_its_errors_are_nobodys(desk: Desk, error: BaseException) -> None:
    stub = Stub(stops={(3, "ahead")}, fails={"ahead": error})
    desk.scheduler.submit(stub, request(1))
    assert [desk.next()[1] for _ in range(3)] == ["placeholder", "fast", "refined"]
    desk.scheduler.submit(stub, request(2))
    stub.wait(3, "ahead")
    desk.scheduler.submit(stub, request(7))
    stub.go.release()
    stub.stops.clear()
    stub.fails.clear()
    assert [desk.next()[:2] for _ in range(2)] == [(2, "placeholder"), (2, "fast")]
    assert [desk.next()[:2] for _ in range(3)] == [(7, "placeholder"), (7, "fast"), (7, "refined")]


@pytest.mark.parametrize(("cached", "passes"), [({"fast"}, ["fast", "refined"]), ({"fast", "refined"}, ["refined"])])
def test_zooming_begins_with_the_best_that_is_cached(desk: Desk, cached: set[str], passes: list[str]) -> None:
    desk.scheduler.submit(Stub(cached=cached), request(1))
    assert [desk.next()[1] for _ in passes] == passes
    assert desk.nothing_more()


def test_a_zoom_with_a_real_reconstructor(desk: Desk, small_model, texture) -> None:
    volume = Volume(texture((6, 20, 20)), voxel_size=(4.0, 1.0, 1.0))
    reconstructor = Reconstructor(volume, small_model())
    desk.scheduler.submit(reconstructor, request(3))
    assert [desk.next()[1] for _ in range(3)] == ["placeholder", "fast", "refined"]
    desk.scheduler.submit(reconstructor, request(3, zoom=0.5))
    assert desk.next() == (3, "refined", True)
    desk.scheduler.submit(reconstructor, request(99))
    assert "outside" in str(desk.answers.get(timeout=TIMEOUT).error)
    assert desk.nothing_more()


def test_a_program_that_ends_in_the_middle_of_a_picture_ends_cleanly():
    """A daemon thread inside torch would abort the process when the interpreter is torn down."""
    code = """
import threading
import numpy as np
from napari_niiv.models.niiv import Architecture, Niiv
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.threads.scheduler import Scheduler
from napari_niiv.reconstruction.single_slice import slice_request
from napari_niiv.volume import Volume

first = threading.Event()
volume = Volume(np.random.default_rng(0).integers(0, 255, (48, 64, 512), dtype=np.uint8), voxel_size=(4, 1, 1))
engine = Reconstructor(volume, Niiv(Architecture()).place("cpu"))
Scheduler(lambda answer: first.set()).submit(engine, slice_request(volume, "xz", 32))
assert first.wait(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_memory_is_given_back_now_and_then(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    given: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(module, "TRIM_EVERY", 2)
    monkeypatch.setattr(module, "trim", lambda: given.put(desk.scheduler.generation))
    for index in (1, 2):
        desk.scheduler.submit(Stub(), request(index))
        assert [desk.next()[2] for _ in range(3)] == [False, False, True]
    assert given.get(timeout=TIMEOUT) == 2
    assert given.empty()
