"""The time left of an export, with a clock that the test sets."""

from __future__ import annotations

import numpy as np
import pytest

from napari_niiv.export.progress import ProgressMeter

BEAT = 0.5


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(seconds: list[float], done: int = 0) -> list[tuple[float, float, float]]:
    """Of every event of a stage whose blocks take so long: part done, seconds told, and seconds that it then took."""
    clock = Clock()
    meter = ProgressMeter("restore", done + 100 * len(seconds), done, clock)
    end = clock.now + sum(seconds)
    found = []
    for number, duration in enumerate(seconds, 1):
        finished = clock.now + duration
        while clock.now + BEAT < finished:
            clock.now += BEAT
            event = meter.advance(0)
            if number > 1:
                assert event.remaining is not None
                found.append((event.fraction, event.remaining, end - clock.now))
        clock.now = finished
        event = meter.advance(100)
        assert event.remaining is not None
        found.append((event.fraction, event.remaining, end - clock.now))
    return found


@pytest.mark.parametrize("blocks", [100, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_steady_and_near_the_truth(blocks: int, seed: int) -> None:
    """The first block takes ten times as long, the others between half and twice the mean."""
    seconds = 8 * np.random.default_rng(seed).lognormal(0, 0.3, blocks)
    seconds[0] *= 10
    after = [(left, truth) for part, left, truth in told(seconds.tolist()) if part >= 0.25]
    ratios = np.array([left / truth for left, truth in after[: len(after) * 2 // 3]])
    assert np.abs(ratios - 1).max() < 0.2
    times = np.array([left for left, _ in after])
    times = times[: np.searchsorted(-times, -60)]  # of the last minute, a block is more than a tenth
    rises = np.diff(times) > 0
    assert (times[1:][rises] / times[:-1][rises]).max(initial=1) < 1.15
    assert not (rises[1:] & rises[:-1]).any()  # never two after each other
    assert rises.sum() <= 8  # of thousands of events


def test_equal_blocks_count_down() -> None:
    events = told([10.0] * 20)
    assert all(left == pytest.approx(truth) for _, left, truth in events)


def test_what_an_earlier_run_has_done_tells_nothing_of_the_speed() -> None:
    _, left, truth = told([10.0] * 10, done=9000)[4]
    assert left == pytest.approx(truth)


def test_it_becomes_longer_when_the_work_becomes_slower() -> None:
    events = told([10.0] * 20 + [30.0] * 60)
    part, left, truth = events[-600]
    assert part > 0.8
    assert left == pytest.approx(truth, rel=0.2)


def test_a_block_that_does_not_come_is_noticed() -> None:
    clock = Clock()
    meter = ProgressMeter("restore", 1000, clock=clock)
    for _ in range(5):
        clock.now += 10
        before = meter.advance(100).remaining
    assert before == pytest.approx(50)
    clock.now += 200
    late = meter.advance(0).remaining
    assert late is not None
    assert late > 150
