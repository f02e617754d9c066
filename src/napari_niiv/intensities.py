"""What intensities a volume has, and which of its voxels hold none; told from a few million voxels spread over it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.empty_voxels import NOTHING_EMPTY, EmptyVoxels, Values
from napari_niiv.errors import ConstantVolumeError
from napari_niiv.find_empty import PERCENTILES, find_empty
from napari_niiv.pieces import Bounds, scattered, stored
from napari_niiv.volume import Volume

_SAMPLE_SLICES, _SAMPLE_VOXELS, _FEWER_VOXELS = 24, 4_000_000, 1_000_000
_LARGE = 1 << 28  # voxels from which on whole slices are too much to read
_PIECE = 256  # pixels: edge of the pieces of slices that are looked at in a large volume
_PIECES, _MOST_PIECES = 64, 1024  # with structure in them; at all
_STEP = 4  # pixels: of which it is told what lies far outside
_FEW = 8  # constant pieces among which padding is looked for
_MEDIAN_VOXELS = 1 << 18  # of which the median is taken: it need not be exact


@dataclass(frozen=True)
class Intensities:
    """The range of a volume's intensities.

    Attributes
    ----------
    low, high : float
        Percentiles 0.1 and 99.9 of the voxels that are not empty.
    empty : EmptyVoxels
    middle : float
        About the median, as a share of the range.
    """

    low: float
    high: float
    empty: EmptyVoxels = NOTHING_EMPTY
    middle: float = 0.5


def intensities_of(volume: Volume, box: Bounds | None = None) -> Intensities:
    """Percentiles 0.1 and 99.9 of a 3-D volume, from at most a few million voxels spread over it.

    Those are of up to 24 xy slices; of a volume of more than 2^28 voxels, of pieces of slices, leaving out pieces that
    are constant, so that the cost does not grow with the volume. Where all of that is constant, more is looked at: all
    slices; of a larger volume, what it holds by its coarsest level and its chunks, and the box. Voxels that hold no
    measurement are left out: NaN and infinite ones, and those of the values that the volume names as `empty`, or which
    are found in what is read.

    Parameters
    ----------
    volume : Volume
    box : tuple of (int, int), optional
        Along z, y and x: the part that is wanted of it.

    Raises
    ------
    ConstantVolumeError
        If the voxels looked at are constant, or all empty.
    VolumeError
        If the volume cannot be read.
    """
    sample = _pieces(volume, box) if math.prod(volume.shape) > _LARGE else _slices(volume)
    if volume.empty is not None:
        return _measured(volume, sample, volume.empty)
    found = find_empty([*sample.pieces, *sample.beside, *sample.constant[:_FEW]], 5 if sample.whole else 3)
    try:
        return _measured(volume, sample, found)
    except ConstantVolumeError:
        if not found:
            raise
        return _measured(volume, sample, ())  # of two values only, as masks are


def _measured(volume: Volume, sample: _Sample, values: Values) -> Intensities:
    """The same, where voxels of these values are empty."""
    if not values:
        return _range(volume, sample, NOTHING_EMPTY)
    some = _Sample([piece[:, ::_STEP, ::_STEP] for piece in sample.pieces], [], [], False)
    rough = _range(volume, some, EmptyVoxels(outliers=values))  # wherever they are
    width = rough.high - rough.low
    low, high = rough.low - width, rough.high + width
    outliers = tuple(value for value in values if not low <= value <= high)
    usual = (
        low if any(value < low for value in outliers) else -math.inf,
        high if any(value > high for value in outliers) else math.inf,
    )
    regions = tuple(value for value in values if value not in outliers)
    if sample.whole:  # tissue that is as dark counts
        return _range(volume, sample, EmptyVoxels(regions, outliers, usual=usual))
    found = _range(volume, sample, EmptyVoxels(outliers=values))
    return replace(found, empty=EmptyVoxels(regions, outliers, found.empty.share, usual))


def _range(volume: Volume, sample: _Sample, empty: EmptyVoxels) -> Intensities:
    intact, total = _intact(sample, empty)
    if not intact.size:
        values = [f"{value:g}" for value in empty.values] + ["NaN"] * (volume.dtype.kind == "f")
        raise ConstantVolumeError(
            f"{volume.name!r} is empty: it holds nothing but {' and '.join(values)} (every voxel looked at), so there "
            "is nothing to reconstruct; choose a volume with intensities in it.",
            empty.values[0] if empty.values else 0.0,
        )
    # looking for what is empty takes time too: the percentiles of fewer voxels make up for it
    step = 1 + intact.size // _FEWER_VOXELS if empty.values else 1
    # float64: numpy has no percentiles of masks, and rounds those of float16
    low, high = (float(v) for v in np.percentile(intact[::step].astype(np.float64), PERCENTILES))
    if low == high:  # sparse data: nearly all of it background
        low, high = float(intact.min()), float(intact.max())
    if low == high:
        raise ConstantVolumeError(
            f"{volume.name!r} is constant (every voxel looked at is {low:g}), so there is nothing to "
            "reconstruct; choose a volume with structure in it.",
            low,
        )
    if intact.size == total and not empty.values:
        return Intensities(low, high)
    middle = (float(np.median(intact[:: 1 + intact.size // _MEDIAN_VOXELS])) - low) / (high - low)
    return Intensities(low, high, replace(empty, share=1 - intact.size / total), middle)


@dataclass(frozen=True)
class _Sample:
    """Pieces of slices, (1, rows, columns), that a volume is judged by.

    Attributes
    ----------
    pieces : list of array
        Of which the percentiles are.
    constant : list of array
        Those that are left out.
    beside : list of array
        At the borders of the volume, where padding is to be looked for.
    whole : bool
        Whether no pixels are skipped in the pieces.
    """

    pieces: list[NDArray[Any]]
    constant: list[NDArray[Any]]
    beside: list[NDArray[Any]]
    whole: bool


def _slices(volume: Volume) -> _Sample:
    """Evenly spread slices, thinned out."""
    depth, height, width = volume.shape
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, _SAMPLE_SLICES)).round().astype(int))
    stride = max(1, int(np.sqrt(len(chosen) * height * width / _SAMPLE_VOXELS)))
    pieces = [volume.read_raw(slice(z, z + 1), step=stride) for z in chosen]
    if (len(chosen) < depth or stride > 1) and all(_same(piece, pieces[0]) for piece in pieces):
        others = (volume.read_raw(slice(z, z + 1)) for z in range(depth))  # sparse: all of it
        pieces += list(islice((piece for piece in others if not _same(piece, pieces[0])), _SAMPLE_SLICES))
    return _Sample(pieces, [], [], stride == 1)


def _same(piece: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether a piece consists of the value with which another begins."""
    first = other.flat[0]
    return bool((piece == first).all() or (first != first and np.isnan(piece).all()))


def _candidates(volume: Volume, found: list[NDArray[Any]], box: Bounds | None) -> Iterator[NDArray[Any]]:
    """Pieces of slices from all over a volume; while none is `found`, from where it is not empty, and from a box."""
    yield from scattered(volume, _PIECE, _MOST_PIECES)
    if not found:
        yield from stored(volume, _PIECE)
    if not found and box is not None:
        yield from scattered(volume, _PIECE, _MOST_PIECES, box)


def _pieces(volume: Volume, box: Bounds | None) -> _Sample:
    """Pieces of slices that are not constant, and the corners of some."""
    pieces: list[NDArray[Any]] = []
    constant: list[NDArray[Any]] = []
    for piece in _candidates(volume, pieces, box):
        if (piece == piece.flat[0]).all() or not np.isfinite(piece).any():
            constant.append(piece)  # padding, or beyond the specimen: says nothing of its intensities
            continue
        pieces.append(piece)
        if len(pieces) == _PIECES:
            break
    depth, height, width = volume.shape
    corners = [(z, y, x) for z, turned in ((0, 0), (depth // 2, 1), (depth - 1, 0)) for y, x in _opposite(turned)]
    beside = [volume.read_raw(slice(z, z + 1), _at_end(height, y), _at_end(width, x)) for z, y, x in corners]
    return _Sample(pieces or constant[-1:], constant if pieces else constant[:-1], beside, True)


def _opposite(turned: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two corners of a slice that lie across from each other: which end of y, which of x."""
    return (0, turned), (1, 1 - turned)


def _at_end(size: int, end: int) -> slice:
    """A piece's pixels at one end of an axis."""
    return slice(max(0, size - _PIECE), size) if end else slice(0, _PIECE)


def _intact(sample: _Sample, empty: EmptyVoxels) -> tuple[NDArray[Any], int]:
    """The voxels that are not empty, and how many voxels were looked at."""
    parts = []
    for piece in sample.pieces:
        mask = empty.mask(piece)
        parts.append(piece.ravel() if mask is None else piece[~mask])
    intact = np.concatenate(parts)
    left_out = sum(piece.size for piece in sample.constant if empty.same(piece) is not None)
    return intact, left_out + sum(piece.size for piece in sample.pieces)
