"""When a picture made of many pieces is shown as far as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

P = TypeVar("P")
T = TypeVar("T")

# a rest that takes less than this many time limits is waited for: showing a picture costs a frame too
_SHORT_REST = 2.0


class Deadline:
    """How long to wait for all pieces of a picture; the time runs from when this is made.

    Parameters
    ----------
    seconds : float
        The time limit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, time.perf_counter()

    def reached(self, done: int, total: int) -> bool:
        """Whether to leave the rest for later, when `done` of `total` pieces took the time since the beginning.

        Never before the first is done, so that asking again always leads further.
        """
        if not done:
            return False
        passed = time.perf_counter() - self._begun
        rest = passed * (total - done) / done
        return passed > self._seconds and rest > _SHORT_REST * self._seconds

    def in_time(
        self, pieces: Collection[P], costly: Collection[P], make: Callable[[P], T]
    ) -> Iterator[tuple[P, T | None]]:
        """Each piece with what is made of it, or with None where that is costly and the deadline is reached.

        Parameters
        ----------
        pieces, costly : collection
            All pieces in their order, and those of them that take time.
        make : callable
        """
        done = 0
        for piece in pieces:
            if piece in costly and self.reached(done, len(costly)):
                yield piece, None
                continue
            yield piece, make(piece)
            done += piece in costly
