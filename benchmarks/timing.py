"""What the benchmarks in a window share."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def timed(log: list[float], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that notes how many milliseconds each of its calls took."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            log.append(1e3 * (time.perf_counter() - began))

    return wrapper
