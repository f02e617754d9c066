"""How much of a training is done and how long it will take."""

from __future__ import annotations

import time


class Budget:
    """Minutes or steps, whichever ends first; goes on where an interrupted training stopped.

    Parameters
    ----------
    minutes, steps
        Limits of the whole training.
    seconds, done : float, int
        Spent already.
    """

    def __init__(self, minutes: float | None, steps: int | None, seconds: float = 0.0, done: int = 0) -> None:
        self._minutes, self._steps = minutes, steps
        self._began = time.perf_counter() - seconds
        self.steps = done

    @property
    def timed(self) -> bool:
        """Whether the clock can end the training."""
        return self._minutes is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    @property
    def fraction(self) -> float:
        """Part that is spent, 0 … 1."""
        by_time = self.elapsed / (60 * self._minutes) if self._minutes else 0.0
        by_steps = self.steps / self._steps if self._steps else 0.0
        return min(max(by_time, by_steps), 1.0)

    @property
    def remaining(self) -> float:
        """Seconds left, as it looks now."""
        fraction = self.fraction
        left = 60 * self._minutes - self.elapsed if self._minutes else float("inf")
        if self._steps and fraction > 0:
            left = min(left, self.elapsed * (1 - fraction) / fraction)
        return max(left, 0.0)

    def work(self, fraction: float) -> float:
        """Steps in a part of the budget; infinite where only the clock counts."""
        return self._steps * fraction if self._steps else float("inf")
