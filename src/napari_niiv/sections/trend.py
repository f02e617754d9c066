"""What changes slowly from section to section, told from what jumps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# sections on either side that the trend is drawn through
_REACH = 12
# sections on either side whose median leaves single outliers out
_OUTLIERS = 2


def trend(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slow part of a series: a line through the neighbourhood of each value, after a median of five.

    A straight series is its own trend, to its ends, and so nearly is one that bends over many values; one or two that
    stand out do not move it. A step becomes a ramp over the neighbourhood: what is far from it stays where it is.

    Parameters
    ----------
    values : array, shape (n,)
        NaN where there is none.

    Returns
    -------
    array, shape (n,)
    """
    places = np.arange(len(values), dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values))
    steady = _median(np.interp(places, places[known], values[known]))
    out = np.empty(len(values))
    for i in range(len(values)):
        lo, hi = max(0, i - _REACH), min(len(values), i + _REACH + 1)
        x, y = places[lo:hi] - i, steady[lo:hi]
        weights = (1 - (np.abs(x) / (_REACH + 1)) ** 3) ** 3
        mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
        variance = np.average((x - mean_x) ** 2, weights=weights)
        slope = np.average((x - mean_x) * (y - mean_y), weights=weights) / variance if variance else 0.0
        out[i] = mean_y - slope * mean_x
    return out


def neighbours_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of two values before and two after each, without itself; NaN where fewer than two are known."""
    out = np.full(len(values), np.nan)
    for i in range(len(values)):
        around = np.concatenate([values[max(0, i - 2) : i], values[i + 1 : i + 3]])
        around = around[np.isfinite(around)]
        if len(around) >= 2:
            out[i] = np.median(around)
    return out


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running median of a straight part is that part, also at its ends: fewer values there, still centred."""
    last = len(values) - 1
    reach = [min(_OUTLIERS, i, last - i) for i in range(len(values))]
    out = np.array([np.median(values[i - r : i + r + 1]) for i, r in enumerate(reach)])
    if len(values) >= 3:  # the ends have no middle: as their neighbours would have it
        for end, step in ((0, 1), (last, -1)):
            line = 2 * out[end + step] - out[end + 2 * step]
            out[end] = np.median([values[end], out[end + step], line])
    return out
