from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from napari_niiv.interrupt import Interrupted, StopFlag, interrupt_if, never, until_interrupted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process there")


def interrupted_at_two(swallow: bool) -> Iterator[int]:
    for number in range(5):
        if number == 2:
            with contextlib.suppress(KeyboardInterrupt) if swallow else contextlib.nullcontext():
                signal.raise_signal(signal.SIGINT)
        yield number


@pytest.mark.parametrize("swallow", [False, True])
def test_an_interruption_counts_even_where_its_exception_is_swallowed(swallow: bool) -> None:
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        seen.extend(until_interrupted(interrupted_at_two(swallow)))
    assert seen == [0, 1]
    assert signal.getsignal(signal.SIGINT) is before


def test_work_that_is_not_interrupted_comes_to_its_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert list(until_interrupted(iter("abc"))) == ["a", "b", "c"]
    assert signal.getsignal(signal.SIGINT) is before


def test_in_a_thread_of_its_own() -> None:
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.extend(until_interrupted(iter("abc"))))
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
