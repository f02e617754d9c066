"""Which values of a volume stand for "nothing was measured here", told from pictures of parts of its slices.

Two kinds are looked for: values far outside of all others, wherever they are; and values of which whole regions consist
that touch the border of a picture, or fill it, with sharp edges. Background that was clipped, whose edges are gradual,
saturated tissue, and labels are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.empty_voxels import equal, opened

PERCENTILES = (0.1, 99.9)
_MOST_VALUES = 4
_SAMPLED = 1 << 18  # voxels, of all pictures, among which outliers are looked for
# part of the voxels that have the value of outliers, at least; and voxels between them and the rest, for each of them
_LEAST_SHARE, _MOST_BETWEEN = 2e-4, 0.05
_MOST_PICTURES = 5  # that are looked at closely
_RUN = 16  # pixels along the border of a picture that are equal where padding touches it
_LEAST_AREA = 64  # pixels of a region
# of a region's pixels, those that tissue hides from the border both along y and along x
_MOST_ENCLOSED = 0.1
# of the pixels beside a region, those below and those above its value; where both are many, nothing was clipped there
_STRADDLING = 0.1
# times the difference of neighbours by which the pixels beside a region differ from it, at least
_SHARP = 1.5
# of neighbouring pixels, those that are equal: more in labels and masks, which are no measurement
_MOST_EQUAL = 0.9


@dataclass
class _Evidence:
    """What the regions of one value are like in all pictures."""

    area: int = 0
    enclosed: int = 0
    beside: list[NDArray[np.float64]] = field(default_factory=list)


def find_empty(pictures: Sequence[NDArray[Any]], edge: int) -> tuple[float, ...]:
    """The values that stand for no measurement, in order; none of most volumes.

    Parameters
    ----------
    pictures : sequence of array, shape (1, rows, columns)
        Parts of slices, some of them at the borders of the volume.
    edge : int
        Pixels, odd: of the smallest squares of one value that count as a region.
    """
    outliers = _outliers(_thinned(pictures))
    return tuple(sorted({*outliers, *_regions([picture[0] for picture in pictures], outliers, edge)}))


def _thinned(pictures: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Some voxels of all pictures, those that are numbers."""
    step = max(1, sum(picture.size for picture in pictures) // _SAMPLED)
    step += step % 2 == 0  # odd: not always the same columns
    sample = np.concatenate([picture.ravel()[::step] for picture in pictures]).astype(np.float64)
    return sample[np.isfinite(sample)]


def _outliers(sample: NDArray[np.float64]) -> list[float]:
    found: list[float] = []
    while sample.size and len(found) < _MOST_VALUES:
        extremes = float(sample.min()), float(sample.max())
        counts = [int((sample == value).sum()) for value in extremes]
        if max(counts) < max(_LEAST_SHARE * sample.size, 4):
            break
        rest = sample[(sample != extremes[0]) & (sample != extremes[1])]
        if not rest.size:
            break
        low, high = (float(v) for v in np.percentile(rest, PERCENTILES))
        for value, count in zip(extremes, counts, strict=True):
            nearest = low if value < low else high
            far = abs(value - nearest) > high - low > 0 and not low <= value <= high
            middle = value / 2 + nearest / 2
            between = int(((rest < middle) if value < low else (rest > middle)).sum())
            if far and count >= max(_LEAST_SHARE * sample.size, 4) and between <= _MOST_BETWEEN * count:
                found.append(value)
                sample = sample[sample != value]
                break
        else:
            break
    return found


def _regions(pictures: Sequence[NDArray[Any]], known: Sequence[float], edge: int) -> list[float]:
    varied = [picture for picture in pictures if not _constant(picture)]
    filled = {float(p.flat[0]) for p in pictures if _constant(p) and np.isfinite(p.flat[0])} - {*known}
    touching: dict[float, list[NDArray[Any]]] = {}
    for picture in varied:
        for value in _along_border(picture).difference(known):
            touching.setdefault(value, []).append(picture)
    candidates = sorted(touching, key=lambda value: len(touching[value]), reverse=True)[:_MOST_VALUES]
    candidates += sorted(filled - {*candidates})[:_MOST_VALUES]
    if not candidates:
        return []
    texture = _texture(_few(varied), (*known, *candidates))
    if texture is None:
        return []
    found = []
    for value in candidates:
        evidence = _evidence(_few(touching.get(value, varied)), value, edge)
        if (evidence.area == 0 and value in filled) or _is_padding(evidence, value, texture):
            found.append(value)
    return found


def _few(pictures: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
    return pictures[:: -(-len(pictures) // _MOST_PICTURES) or 1]


def _constant(picture: NDArray[Any]) -> bool:
    first = picture.flat[0]
    return bool(picture.flat[-1] == first and (picture == first).all())


def _along_border(picture: NDArray[Any]) -> set[float]:
    """Values of which a whole stretch of the border consists."""
    found: set[float] = set()
    for line in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        length = min(_RUN, len(line))
        changed = line[1:] != line[:-1]
        if len(line) - np.count_nonzero(changed) < length:
            continue  # as in nearly all of tissue
        changes = np.concatenate([[0], np.cumsum(changed)])
        starts = np.flatnonzero(changes[length - 1 :] == changes[: len(changes) - length + 1])
        found |= {float(value) for value in np.unique(line[starts])[: 2 * _MOST_VALUES] if np.isfinite(value)}
    return found


def _texture(pictures: Sequence[NDArray[Any]], left_out: Sequence[float]) -> float | None:
    """Mean difference of neighbours along x that have none of these values; None where most are equal."""
    differences = []
    for picture in pictures:
        values = picture.astype(np.float64)
        for value in left_out:
            values[values == value] = np.nan
        with np.errstate(invalid="ignore"):
            steps = np.abs(np.diff(values, axis=1))
        differences.append(steps[np.isfinite(steps)])
    known = np.concatenate(differences) if differences else np.empty(0)
    if not known.size or (known == 0).mean() > _MOST_EQUAL:
        return None
    return float(known.mean())


def _evidence(pictures: Sequence[NDArray[Any]], value: float, edge: int) -> _Evidence:
    evidence = _Evidence()
    for picture in pictures:
        same = equal(picture, value)
        if same is None or not same.any():
            continue
        region = opened(same, edge)
        if (area := int(region.sum())) < min(_LEAST_AREA, picture.size // 16):
            continue
        evidence.area += area
        evidence.enclosed += area - int(_seen_from_border(region).sum())
        around = region.copy()
        around[1:] |= region[:-1]
        around[:-1] |= region[1:]
        around[:, 1:] |= region[:, :-1]
        around[:, :-1] |= region[:, 1:]
        beside = picture[around & ~same].astype(np.float64)
        evidence.beside.append(beside[np.isfinite(beside)])
    return evidence


def _seen_from_border(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a region from which a straight line within it leads to the border of the picture."""
    seen = np.zeros_like(region)
    for axis in (0, 1):
        for turn in (slice(None), slice(None, None, -1)):
            index = (turn, slice(None)) if axis == 0 else (slice(None), turn)
            seen[index] |= np.logical_and.accumulate(region[index], axis=axis)
    return seen


def _is_padding(evidence: _Evidence, value: float, texture: float) -> bool:
    if not evidence.area or evidence.enclosed > _MOST_ENCLOSED * evidence.area:
        return False
    beside = np.concatenate(evidence.beside)
    if not beside.size:
        return True
    below = float((beside < value).mean())
    return min(below, 1 - below) >= _STRADDLING or float(np.median(np.abs(beside - value))) >= _SHARP * texture
