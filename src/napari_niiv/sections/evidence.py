"""Whether sections are displaced for sure: what is displaced goes there and back, what slants goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# pixels by which a section lies beside its neighbours, at the least
_LEAST_OFFSET = 2.0
# how far apart its neighbours may be, as a share of twice that
_APART = 0.4
# moved back, a section is as like its neighbours as others are, but for this share
_LIKE = 0.7
# sections on either side that tell what is usual
_AROUND = 5
# the sections that tell the most are counted: of a thousand sections a few look displaced by chance
_COUNTED = 3
# gain in correlation that they have together, at the least: 0.05 at the most in sound volumes
_LEAST_EVIDENCE = 0.08
# by how much steps turn back, of all sections together: never above 0 in sound volumes
_LEAST_TURNING = 0.05


def are_displaced(steps: NDArray[np.float64], gains: NDArray[np.float64], likeness: NDArray[np.float64]) -> bool:
    """Whether some sections lie beside both of their neighbours, which lie upon each other, or steps often turn back.

    Parameters
    ----------
    steps : array, shape (n, 2)
        From each section to the next, along y and x, in pixels.
    gains : array, shape (n,)
        By how much following a step raises the correlation of the two.
    likeness : array, shape (n,)
        That correlation, the step followed.
    """
    clearest = np.sort(evidence(steps, gains, likeness))[-_COUNTED:].sum()
    return bool(clearest >= _LEAST_EVIDENCE or turning(steps, gains) >= _LEAST_TURNING)


def evidence(
    steps: NDArray[np.float64], gains: NDArray[np.float64], likeness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The smaller gain of the steps to a section and from it, where the second undoes the first; else 0.

    Structure that moves with z goes on in the next step, or is another there, so that its steps do not undo each other.

    Returns
    -------
    array, shape (n - 1,)
        For each section but the first and the last.
    """
    to, back = steps[:-1], steps[1:]
    offset, apart = np.linalg.norm(back - to, axis=1) / 2, np.linalg.norm(back + to, axis=1) / 2
    alike = likeness >= _LIKE * _usual(likeness)
    beside = (offset >= _LEAST_OFFSET) & (apart <= _APART * offset) & alike[:-1] & alike[1:]
    return np.where(beside, np.minimum(gains[:-1], gains[1:]), 0.0)


def turning(steps: NDArray[np.float64], gains: NDArray[np.float64]) -> float:
    """How much steps turn back rather than go on: the cosines between each and the next, by their gains.

    Of sections that are displaced each by itself, steps turn back by and large, though they seldom undo each other.
    """
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    weighted = np.sqrt(gains)[:, None] * steps / np.maximum(lengths, 1e-9)
    return float(-(weighted[1:] * weighted[:-1]).sum())


def _usual(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median around each value, without itself."""
    out = values.copy()
    for i in range(len(values)):
        around = np.concatenate([values[max(0, i - _AROUND) : i], values[i + 1 : i + 1 + _AROUND]])
        if around.size:
            out[i] = np.median(around)
    return out
