from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from napari_niiv.interrupt import Interrupted, StopFlag, Stopped, interrupt_if, never, run_until_stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process there")


def interrupted_at_two(swallow: bool, signal_number: int) -> Iterator[int]:
    for number in range(5):
        if number == 2:
            with contextlib.suppress(KeyboardInterrupt) if swallow else contextlib.nullcontext():
                signal.raise_signal(signal_number)
        yield number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallow", [False, True])
def test_an_interruption_counts_even_where_its_exception_is_swallowed(swallow: bool, number: signal.Signals) -> None:
    seen: list[int] = []
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="two are left") as stop:
        run_until_stopped(interrupted_at_two(swallow, number), seen.extend, lambda: "two are left")
    assert seen == [0, 1]
    assert stop.value.status == 128 + number
    assert signal.getsignal(number) is before


def test_a_second_interruption_does_not_disturb_what_the_first_one_stopped() -> None:
    closed = []

    def work() -> Iterator[int]:
        try:
            yield 0
            signal.raise_signal(signal.SIGINT)
            yield 1
        finally:
            signal.raise_signal(signal.SIGINT)
            closed.append(True)

    def show(events: Iterator[int]) -> None:
        next(events)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped) as stop:
        run_until_stopped(work(), show, str)
    assert (closed, stop.value.number) == ([True], signal.SIGTERM)


def test_work_that_is_not_interrupted_comes_to_its_end() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []
    run_until_stopped((letter for letter in "abc"), seen.extend, str)
    assert seen == ["a", "b", "c"]
    assert signal.getsignal(signal.SIGINT) is before


def test_in_a_thread_of_its_own() -> None:
    seen: list[str] = []
    thread = threading.Thread(target=lambda: run_until_stopped((letter for letter in "abc"), seen.extend, str))
    thread.start()
    thread.join()
    assert seen == ["a", "b", "c"]


def test_work_stops_at_its_next_call_once_the_flag_is_up():
    flag = StopFlag()
    flag()
    assert not flag.stopping
    thread = threading.Thread(target=flag.stop)
    thread.start()
    thread.join()
    with pytest.raises(Interrupted):
        flag()
    assert flag.stopping


def test_work_stops_when_it_is_no_longer_wanted():
    wanted = [True]
    interrupt = interrupt_if(lambda: not wanted)
    interrupt()
    never()
    wanted.clear()
    with pytest.raises(Interrupted):
        interrupt()
