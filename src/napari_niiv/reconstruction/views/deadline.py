"""When a picture made of many pieces is shown as far as it is."""

from __future__ import annotations

import time

_WORTH = 2.0  # a rest that takes less than this many times the patience is waited for: showing it costs a frame too


class Deadline:
    """How long to wait for all pieces of a picture; it begins when it is made.

    Parameters
    ----------
    seconds : float
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, time.perf_counter()

    def ends(self, done: int, total: int) -> bool:
        """Whether to leave the rest for later, when `done` of `total` pieces took the time since the beginning.

        Never before the first is done, so that asking again always leads further.
        """
        if not done:
            return False
        passed = time.perf_counter() - self._begun
        rest = passed * (total - done) / done
        return passed > self._seconds and rest > _WORTH * self._seconds
