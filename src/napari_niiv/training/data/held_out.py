"""Which slices of a volume are held out to judge by: evenly spread, and not blank where others are not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from napari_niiv.errors import TrainingError
from napari_niiv.normalization import Normalization
from napari_niiv.volume import Volume

EMPTY_DEVIATION = 0.02
"""Standard deviation of normalised intensities up to which voxels count as blank: there is nothing to be seen in them.
"""
# one slice in sixteen, at most eight
_SHARE, _MOST = 16, 8
_LOOKED_AT = 32  # slices, in search of one that is not blank, for each that is held out
_PIECE, _PIECES = 128, 3  # pixels; pieces along each edge of a slice that is looked at


def held_out_slices(volume: Volume, normalization: Normalization) -> tuple[int, ...]:
    """Slices that are for validation only.

    The volume is cut along z into as many parts as there are to be slices. Each gives the slice nearest to its middle
    that has structure and was measured, not bridged; a part without any gives none, and a volume without any its blank
    middles. Where one slice alone has structure, it is left to be learnt from.

    Parameters
    ----------
    volume : Volume
        3-D; a few pieces are read of one slice of each part, and of more where it is blank.
    normalization : Normalization
        Its own.

    Raises
    ------
    TrainingError
        If it has fewer than three slices.
    VolumeError
        If it cannot be read.
    """
    depth = volume.shape[0]
    if depth < 3:
        raise TrainingError(
            f"{volume.name!r} has {depth} slice(s); training needs at least three, one of them to judge by."
        )
    count = min(max(depth // _SHARE, 1), _MOST)
    invented = volume.repairs[()].bridged if volume.repairs is not None else ()
    middles = [int((i + 0.5) * depth / count) for i in range(count)]
    found: list[int] = []
    for number, middle in enumerate(middles):
        part = range(number * depth // count, (number + 1) * depth // count)
        measured = (z for z in _outwards(middle, part) if z not in invented)
        near = itertools.islice(measured, _LOOKED_AT)
        structured = (z for z in near if _has_structure(volume, normalization, z))
        found += itertools.islice(structured, 1)
    if len(found) == 1 and found[0] not in middles:
        others = itertools.islice(_outwards(found[0], range(depth)), 1, _LOOKED_AT)
        if not any(_has_structure(volume, normalization, z) for z in others):
            return tuple(middles)
    return tuple(found or middles)


def _outwards(middle: int, part: range) -> Iterator[int]:
    """The numbers of a part, those nearest to a middle first."""
    return iter(sorted(part, key=lambda z: (abs(z - middle), z)))


def _has_structure(volume: Volume, normalization: Normalization, z: int) -> bool:
    """Whether something is to be seen in pieces of a slice, of those voxels that are not empty."""
    for y, x in itertools.product(*(_pieces(size) for size in volume.shape[1:])):
        voxels = volume.read_raw(slice(z, z + 1), y, x)
        empty = normalization.empty.same(voxels)
        values = normalization.apply(voxels if empty is None else voxels[~empty])
        if values.size and float(values.std()) > EMPTY_DEVIATION:
            return True
    return False


def _pieces(size: int) -> list[slice]:
    """Pieces spread evenly along an edge of a slice."""
    count = min(_PIECES, -(-size // _PIECE))
    starts = np.linspace(0, max(size - _PIECE, 0), count).astype(int)
    return [slice(int(first), min(int(first) + _PIECE, size)) for first in starts]
