"""Voxels that hold no measurement: padding, blank sections, masks; told from their values.

Which voxels of a box are empty depends on the box and `REACH` pixels around it alone, never on how a volume is cut up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_niiv.geometry import Sampling
from napari_niiv.volume import averaged

Values = tuple[float, ...]
"""Values that stand for "nothing was measured here"."""

# pixels: edge of the smallest square of one value within a slice that counts as empty; smaller ones are dark tissue
_SQUARE = 5
# pixels from such a square on within which all voxels of its value belong to it: tips of corners
_TIP = _SQUARE // 2
# pixels around a voxel that decide whether it is empty
REACH = 2 * (_SQUARE // 2) + _TIP


def empty_setting(text: str) -> Values | None:
    """What a person writes: "auto" (None: they are found), "none", or values with commas between them.

    Raises
    ------
    ValueError
        If it is nothing of these; says what it should be.
    """
    word = text.strip().lower()
    if word in ("auto", "none"):
        return None if word == "auto" else ()
    try:
        values = tuple(float(part) for part in word.replace(";", ",").split(",") if part.strip())
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError("should be auto, none, or the values of empty voxels, such as 0 or 0,255")
    return tuple(sorted(set(values)))


def empty_words(values: Values | None) -> str:
    """A setting as `empty_setting` reads it."""
    return "auto" if values is None else ", ".join(f"{value:g}" for value in values) or "none"


@dataclass(frozen=True)
class EmptyVoxels:
    """Which voxels of a volume hold no measurement; NaN and infinite ones never do.

    Attributes
    ----------
    regions : tuple of float
        Values that count as empty in and beside squares of a slice that have them throughout: tissue may have them too,
        here and there.
    outliers : tuple of float
        Values that count wherever they are, as they lie far outside of what is measured.
    share : float
        About which part of the volume is empty, 0 … 1.
    usual : (float, float)
        On coarser levels, what lies beyond is a mixture of an outlier and tissue, and as empty.
    """

    regions: Values = ()
    outliers: Values = ()
    share: float = 0.0
    usual: tuple[float, float] = (-math.inf, math.inf)

    @property
    def values(self) -> Values:
        """All values that are taken for empty, in order."""
        return tuple(sorted(self.regions + self.outliers))

    @property
    def margin(self) -> int:
        """Pixels that must be read around a box, along y and x, to know what of it is empty."""
        return REACH if self.regions else 0

    @property
    def words(self) -> str:
        """What a person is told, such as "12 % of this volume is empty (0); kept out"; nothing if nothing is empty."""
        if not self.share:
            return ""
        percent = "Less than 1" if self.share < 0.01 else f"{100 * self.share:.0f}"
        named = ", ".join(f"{value:g}" for value in self.values) or "not a number"
        return f"{percent} % of this volume is empty ({named}); kept out"

    def possible(self, dtype: DTypeLike) -> bool:
        """Whether voxels of this type can be empty at all."""
        return np.dtype(dtype).kind == "f" or bool(self.values)

    def same(self, voxels: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which voxels have one of the values or are no numbers, wherever they lie; None if there are none."""
        return self._found(voxels, lambda same: same)

    def mask(self, box: NDArray[Any], mixed: bool = False) -> NDArray[np.bool_] | None:
        """Which voxels of a box are empty; None if none is.

        Parameters
        ----------
        box : array, shape (z, y, x)
            As they are in the source, with a margin: of the outermost `margin` pixels along y and x that are not at the
            border of the volume, too many may be called empty.
        mixed : bool
            Whether voxels are means of several, as on a coarser level.
        """
        found = self._found(box, _squares)
        if mixed and self.outliers:
            with np.errstate(invalid="ignore"):
                beyond = (box < self.usual[0]) | (box > self.usual[1])
            found = beyond if found is None else found | beyond
        return found if found is not None and found.any() else None

    def _found(
        self, voxels: NDArray[Any], inside: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
    ) -> NDArray[np.bool_] | None:
        found: NDArray[np.bool_] | None = None
        if voxels.dtype.kind == "f":
            finite = np.isfinite(voxels)
            found = None if finite.all() else ~finite
        for value in self.values:
            same = equal(voxels, value)
            if same is None or not same.any():
                continue
            if value in self.regions:
                same = inside(same)
            found = same if found is None else found | same
        return found


NOTHING_EMPTY = EmptyVoxels()


def equal(voxels: NDArray[Any], value: float) -> NDArray[np.bool_] | None:
    """Which voxels have a value; None if their type cannot hold it, or is that of masks."""
    if voxels.dtype.kind == "b":
        return None
    if voxels.dtype.kind in "iu":
        limits = np.iinfo(voxels.dtype)
        if not value.is_integer() or not limits.min <= value <= limits.max:
            return None
        return np.asarray(voxels == int(value))
    with np.errstate(over="ignore"):
        return np.asarray(voxels == voxels.dtype.type(value))


def _squares(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The squares of a mask (..., y, x) and their tips, and no smaller things; outside counts as set."""
    near = opened(same, _SQUARE)
    for axis in (-2, -1):
        near = _window(near, axis, 2 * _TIP + 1, False)
    return near & same


def opened(same: NDArray[np.bool_], edge: int) -> NDArray[np.bool_]:
    """The union of all squares of a mask (..., y, x) with this odd edge, centred inside; outside counts as set."""
    for axis in (-2, -1):
        same = _window(same, axis, edge, True)
    for axis in (-2, -1):
        same = _window(same, axis, edge, False)
    return same


def _window(mask: NDArray[np.bool_], axis: int, edge: int, every: bool) -> NDArray[np.bool_]:
    """Whether every, or any, pixel of the windows along an axis is set."""
    combine, half, size = (np.logical_and if every else np.logical_or), edge // 2, mask.shape[axis]
    out = mask.copy()
    for offset in range(1, min(half, size - 1) + 1):
        ahead, behind = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        ahead[axis], behind[axis] = slice(offset, None), slice(None, -offset)
        first, last = tuple(ahead), tuple(behind)
        combine(out[last], mask[first], out=out[last])
        combine(out[first], mask[last], out=out[first])
    return out


@dataclass(frozen=True, eq=False)
class EmptyPart:
    """The empty voxels of a box, and what the source has there.

    Attributes
    ----------
    mask : array of bool, shape (z, y, x)
    values : array, shape (z, y, x)
        Of the source; they mean nothing where nothing is empty.
    """

    mask: NDArray[np.bool_]
    values: NDArray[Any]

    def put_back(self, picture: NDArray[Any], places: tuple[Sampling, Sampling, Sampling]) -> None:
        """Give the samples whose nearest voxel is empty what the source has there.

        Parameters
        ----------
        picture : array, shape (z, y, x)
            Changed in place; integers get the nearest that they can hold, and 0 for NaN.
        places : tuple of Sampling
            Where its samples lie along z, y, x, in voxels of the box.
        """
        nearest = np.ix_(*(nearest_voxels(place, size) for place, size in zip(places, self.mask.shape, strict=True)))
        where = self.mask[nearest]
        if where.any():
            picture[where] = _as_type(self.values[nearest][where], picture.dtype)

    def inside(self, place: tuple[slice, slice, slice]) -> EmptyPart | None:
        """A part of it; None if nothing is empty there."""
        mask = self.mask[place]
        return EmptyPart(mask, self.values[place]) if mask.any() else None

    def coarsened(self, downsample: int) -> EmptyPart:
        """Of a box averaged over `downsample` x `downsample` pixels of y and x: empty where most pixels are."""
        if downsample == 1:
            return self
        kind = self.values.dtype
        lowest = -np.inf if kind.kind == "f" else np.iinfo(kind).min
        stand_in = np.where(self.mask, self.values, kind.type(lowest))
        for axis in (1, 2):
            stand_in = np.maximum.reduceat(stand_in, np.arange(0, stand_in.shape[axis], downsample), axis=axis)
        return EmptyPart(averaged(self.mask, downsample) > 0.5, stand_in)


def intact_means(box: NDArray[Any], mask: NDArray[np.bool_], downsample: int) -> NDArray[np.floating]:
    """A box averaged as `averaged` does, over the voxels that are not empty; 0 where all are."""
    if downsample == 1:
        return averaged(box, 1)
    share = 1 - averaged(mask, downsample)
    sums = averaged(np.where(mask, box.dtype.type(0), box), downsample)
    return np.asarray(np.divide(sums, share, out=np.zeros_like(sums), where=share > 0))


def intact_part(box: NDArray[Any], empty: EmptyVoxels) -> NDArray[Any]:
    """A part of a box (z, y, x) without empty voxels, as large as lines taken off its sides in y and x leave it."""
    mask = empty.mask(box)
    if mask is None:
        return box
    holes = np.asarray(mask.any(0))
    rows, columns = list(range(holes.shape[0])), list(range(holes.shape[1]))
    while rows and columns:
        part = np.asarray(holes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], dtype=np.float32)
        if not part.any():
            break
        shares = [part[0].mean(), part[-1].mean(), part[:, 0].mean(), part[:, -1].mean()]
        worst = int(np.argmax(shares))
        (rows if worst < 2 else columns).pop(0 if worst % 2 == 0 else -1)
    return box[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows and columns else box[:, :0, :0]


def nearest_voxels(place: Sampling, size: int) -> NDArray[np.intp]:
    """The voxel nearest to each position on an axis of `size` voxels."""
    # samples half-way between two voxels take the same one however the axis is cut up
    positions = place.start + place.step * np.arange(place.count) + 0.5 + 1e-6
    return np.asarray(np.floor(positions).clip(0, size - 1), dtype=np.intp)


def _as_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind not in "iu" or values.dtype == dtype:
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    limits = np.iinfo(dtype)
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0)
    top = limits.max if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    return np.asarray(np.clip(wide, limits.min, top).astype(dtype))
