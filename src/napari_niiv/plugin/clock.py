"""Time in words; no Qt."""

from __future__ import annotations

import math


def time_left(seconds: float) -> str:
    """As a clock shows it, such as "3:07 left"; empty if it cannot be said."""
    if not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"
