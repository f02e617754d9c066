"""A volume as it is once its sections are repaired, read only where it is indexed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import Key, LazyArray
from napari_niiv.pieces import Bounds, stored_boxes
from napari_niiv.sections.config import SectionsConfig
from napari_niiv.sections.find import find_blank, find_sections
from napari_niiv.sections.repairs import Index, Repairs, SectionRepairs
from napari_niiv.volume import Volume, as_announced, picked


class RepairedArray(LazyArray):
    """An array whose sections are repaired as they are read; of its last three axes only z, y, x are touched.

    Intensities are changed first, then sections are moved, then gaps are bridged. What is moved in from outside of a
    section is its nearest edge. Whatever part is indexed, a voxel has the same value.

    Parameters
    ----------
    source : array-like
        As it was measured.
    repairs : Repairs
    lateral : int
        Pixels of the full resolution that one of its pixels covers: shifts are rounded to its pixels.
    """

    def __init__(self, source: Any, repairs: Repairs, lateral: int = 1) -> None:
        chunks = getattr(source, "chunks", None)
        super().__init__(
            source.shape,
            np.dtype(source.dtype).newbyteorder("="),
            chunks and [max(c) if isinstance(c, tuple) else c for c in chunks],
        )
        self.source, self.repairs, self._lateral = source, repairs, lateral

    def at_leading(self, index: Index) -> Any:
        """The 3-D array at a T and C index; the source itself where nothing is repaired there."""
        source, repairs = picked(self.source, index), self.repairs.at(index)
        return RepairedArray(source, repairs, self._lateral) if repairs else source

    def with_source(self, source: Any) -> RepairedArray:
        """The same repairs of another array of the same voxels."""
        return RepairedArray(source, self.repairs, self._lateral)

    def stored_boxes(self, most: int) -> list[Bounds]:
        """Boxes of the chunks that the source has, as far as it tells."""
        return stored_boxes(self.source, most)

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        return normalize_token(self.source), repr(self.repairs), self._lateral

    def _read(self, key: Key) -> Any:
        *leading, z, y, x = (part if isinstance(part, slice) else slice(part, part + 1, 1) for part in key)
        indices = [range(*part.indices(n)) for part, n in zip(leading, self.shape, strict=False)]
        out = np.empty([len(i) for i in indices] + [len(range(p.start, p.stop, p.step)) for p in (z, y, x)], self.dtype)
        for place in np.ndindex(out.shape[:-3]):
            index = tuple(values[i] for values, i in zip(indices, place, strict=True))
            out[place] = self._sections(index, z, y, x)
        return out[tuple(slice(None) if isinstance(part, slice) else 0 for part in key)]

    def _sections(self, index: Index, z: slice, y: slice, x: slice) -> NDArray[Any]:
        repairs = self.repairs[index]
        if not repairs:
            return self._stored(index, z, y, x)
        wanted = range(z.start, z.stop, z.step)
        supports = {k: _support(k, repairs.bridged) for k in wanted}
        needed = sorted({section for pair in supports.values() for section, _ in pair})
        measured = self._measured(index, needed, y, x, repairs)
        out = np.empty((len(wanted), *next(iter(measured.values())).shape), self.dtype)
        for i, k in enumerate(wanted):
            pair = supports[k]
            out[i] = measured[k] if len(pair) == 1 else _mean([(measured[s], w) for s, w in pair], self.dtype)
        return out

    def _measured(
        self, index: Index, sections: Sequence[int], y: slice, x: slice, repairs: SectionRepairs
    ) -> dict[int, NDArray[Any]]:
        """Sections that are not bridged, each in its brightness and its place."""
        moves = {k: self._move(k, repairs) for k in sections}
        lo = [min(move[axis] for move in moves.values()) for axis in (0, 1)]
        hi = [max(move[axis] for move in moves.values()) for axis in (0, 1)]
        rows, columns = (
            _reach(part, size, low, high) for part, size, low, high in zip((y, x), self.shape[-2:], lo, hi, strict=True)
        )
        out: dict[int, NDArray[Any]] = {}
        for run in _pieces(sections):
            block = self._stored(index, slice(run[0], run[-1] + 1), rows, columns)
            for section, values in zip(range(run[0], run[-1] + 1), block, strict=True):
                if section not in moves:
                    continue
                dy, dx = moves[section]
                part = _taken(_taken(values, 0, y, rows, dy, self.shape[-2]), 1, x, columns, dx, self.shape[-1])
                level = repairs.levels[section] if repairs.levels else (1.0, 0.0)
                out[section] = part if level == (1.0, 0.0) else _mean([(part, level[0])], self.dtype, level[1])
        return out

    def _stored(self, index: Index, *box: slice) -> NDArray[Any]:
        lengths = [len(range(*part.indices(n))) for part, n in zip(box, self.shape[-3:], strict=True)]
        return as_announced(np.asarray(self.source[(*index, *box)]), lengths, self.dtype, "the volume")

    def _move(self, section: int, repairs: SectionRepairs) -> tuple[int, int]:
        if not repairs.shifts:
            return 0, 0
        dy, dx = repairs.shifts[section]
        return round(dy / self._lateral), round(dx / self._lateral)


def repaired(volume: Volume, repairs: Repairs) -> Volume:
    """A volume with its sections repaired, lazily; repairs that were made of it before are undone.

    Its pyramid is repaired too, as far as its levels keep the sections apart; those that do not are left out.

    Parameters
    ----------
    volume : Volume
    repairs : Repairs
        None of them leaves all sections as they were measured.

    Raises
    ------
    VolumeError
        If the repairs are of a volume of another shape.
    """
    if not repairs.fits(volume.shape):
        raise VolumeError(f"The repairs are not of {volume.name!r}, whose shape is {volume.shape}; look for them anew.")
    volume = as_measured(volume)
    if not repairs:
        return replace(volume, repairs=repairs)
    whole = [level for level in volume.levels()[1:] if level.axial == 1]
    pyramid = tuple(RepairedArray(level.array, repairs, level.lateral) for level in whole)
    return replace(volume, array=RepairedArray(volume.array, repairs), pyramid=pyramid, repairs=repairs)


def as_measured(volume: Volume) -> Volume:
    """A volume without what was repaired of it; levels of the pyramid that were left out stay so."""
    pyramid = tuple(_measured_array(array) for array in volume.pyramid)
    return replace(volume, array=_measured_array(volume.array), pyramid=pyramid, repairs=None)


def repair_sections(
    volume: Volume,
    *,
    bridge: bool = True,
    bridge_damaged: bool = False,
    align: bool = False,
    even_brightness: bool = False,
) -> Volume:
    """Look for damaged sections of a volume and repair them, lazily.

    `reconstruct`, `reconstruct_slice`, `export` and `train` bridge blank sections by themselves, unless they are given
    what this function returns.

    Parameters
    ----------
    volume : Volume
        With T and C axes: blank sections are those of each index, displacements are common to the channels of a time.
    bridge : bool
        Interpolate blank sections between their neighbours, up to three side by side.
    bridge_damaged : bool
        Interpolate sections that repeat the one before, or are unlike their neighbours, as well.
    align : bool
        Move sections that are displaced against their neighbours back, by whole pixels; slow drift stays.
    even_brightness : bool
        Give each section the brightness and contrast that its neighbours have.

    Returns
    -------
    Volume
        Its ``repairs`` tell what is done; its voxels are computed when they are indexed. With all four switches off,
        the volume as it was measured, which nothing bridges any more.

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    config = SectionsConfig(bridge=bridge, bridge_damaged=bridge_damaged, align=align, even_brightness=even_brightness)
    volume = as_measured(volume)
    if not (bridge or bridge_damaged or align or even_brightness):
        return repaired(volume, Repairs())
    found = find_sections(volume) if bridge_damaged or align or even_brightness else find_blank(volume)
    return repaired(volume, found.repairs(config))


def bridged(volume: Volume) -> Volume:
    """A volume whose blank sections are bridged; one of which it was said what to repair stays as it is.

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    return volume if volume.repairs is not None else repair_sections(volume)


def _measured_array(array: Any) -> Any:
    return array.source if isinstance(array, RepairedArray) else array


def _support(section: int, gaps: Sequence[int]) -> list[tuple[int, float]]:
    """The measured sections that a section is made of, and their weights."""
    if section not in gaps:
        return [(section, 1.0)]
    below = above = section
    while below in gaps:
        below -= 1
    while above in gaps:
        above += 1
    share = (section - below) / (above - below)
    return [(below, 1 - share), (above, share)]


def _pieces(sections: Sequence[int]) -> list[list[int]]:
    """Sections that are read at once: those between which no more than a few are missing."""
    out: list[list[int]] = []
    for section in sections:
        if out and section - out[-1][-1] <= 4:
            out[-1].append(section)
        else:
            out.append([section])
    return out


def _reach(part: slice, size: int, low: int, high: int) -> slice:
    """The pixels along an axis that shifts from `low` to `high` ask for."""
    if low == high == 0:
        return part
    last = part.stop - 1
    first, last = (min(max(i, 0), size - 1) for i in (part.start - high, last - low))
    return slice(first, last + 1)


def _taken(values: NDArray[Any], axis: int, part: slice, read: slice, move: int, size: int) -> NDArray[Any]:
    """A part along an axis of a section that is moved, from what was read of it."""
    if read == part and not move:
        return values
    pixels = np.clip(np.arange(part.start, part.stop, part.step) - move, 0, size - 1) - read.start
    return np.asarray(np.take(values, pixels, axis=axis))


def _mean(parts: Sequence[tuple[NDArray[Any], float]], dtype: np.dtype[Any], offset: float = 0.0) -> NDArray[Any]:
    """A weighted sum, in the type of the voxels."""
    wide = np.dtype(np.float64 if dtype.itemsize > 2 else np.float32)
    total = np.full(parts[0][0].shape, offset, wide)
    for values, weight in parts:
        total += values.astype(wide) * wide.type(weight)
    if dtype.kind == "b":
        return np.asarray(total >= 0.5)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        top = limits.max if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
        total = np.clip(np.rint(total), limits.min, top)
    return np.asarray(total.astype(dtype))
