from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from napari_niiv.training import budget as module
from napari_niiv.training.budget import Budget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is set by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_minutes(clock) -> None:
    budget = Budget(2.0, None)
    assert budget.timed
    assert (budget.elapsed, budget.fraction, budget.remaining) == (0, 0, 120)
    clock.now += 30
    budget.steps = 10**6
    assert (budget.elapsed, budget.fraction, budget.remaining) == (30, 0.25, 90)
    clock.now += 3000
    assert (budget.fraction, budget.remaining) == (1, 0)


def test_steps(clock) -> None:
    budget = Budget(None, 200)
    assert not budget.timed
    clock.now += 10
    assert (budget.fraction, budget.remaining) == (0, math.inf)
    budget.steps = 50
    assert (budget.elapsed, budget.fraction, budget.remaining) == (10, 0.25, 30)
    budget.steps = 200
    assert (budget.fraction, budget.remaining) == (1, 0)
    budget.steps = 201
    assert budget.fraction == 1


def test_whichever_ends_first(clock) -> None:
    budget = Budget(1.0, 100)
    clock.now += 15
    budget.steps = 10
    assert (budget.fraction, budget.remaining) == (0.25, 45)
    budget.steps = 50
    assert (budget.fraction, budget.remaining) == (0.5, 15)
    clock.now += 45
    assert (budget.fraction, budget.remaining) == (1, 0)


def test_an_interrupted_training_goes_on(clock) -> None:
    budget = Budget(1.0, 100, seconds=30, done=20)
    assert (budget.steps, budget.elapsed, budget.fraction) == (20, 30, 0.5)
    clock.now += 15
    assert (budget.elapsed, budget.fraction, budget.remaining) == (45, 0.75, 15)


def test_a_part_in_steps() -> None:
    assert Budget(None, 200).work(0.25) == 50
    assert Budget(5.0, 200).work(1) == 200
    assert Budget(5.0, None).work(0.25) == math.inf
