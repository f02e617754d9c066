"""What all long work has in common to tell: frozen, so that threads can share it.

Trainings, exports and copies are generators of events. In all of them `elapsed` is the time in seconds since the work
began, `remaining` the time in seconds that it will still take, and `fraction` the part that is done, 0 … 1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """Something the user should know, in one sentence; the work goes on."""

    message: str
