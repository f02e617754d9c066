"""What a training tells whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingStep:
    """Progress, about once a second.

    Attributes
    ----------
    stage : int
        1 (2-D) or 2 (with context slices).
    step : int
        Optimisation steps done in this stage.
    fraction : float
        Part of the stage's budget that is spent, 0 … 1.
    loss : float
        Mean loss since the last event.
    elapsed : float
        Seconds since the stage began.
    """

    stage: int
    step: int
    fraction: float
    loss: float
    elapsed: float
