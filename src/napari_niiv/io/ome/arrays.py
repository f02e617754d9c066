"""The arrays of an OME-Zarr that is written: how they are stored, and how a level is made of the finer one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.empty_voxels import EmptyVoxels
from napari_niiv.geometry import Shape

if TYPE_CHECKING:
    import zarr


def create_level(
    group: zarr.Group, level: int, axes: str, shape: tuple[int, ...], dtype: Any, chunk: Shape, shard: Shape
) -> zarr.Array[Any]:
    """Make the array of a level of an OME-Zarr image, without voxels.

    Parameters
    ----------
    group : zarr.Group
        The image.
    level : int
        0 for the finest.
    axes : str
        One letter for each axis of `shape`.
    shape : tuple of int
        T and C axes included.
    dtype : dtype
        Of the voxels.
    chunk, shard : tuple of int
        Voxels along z, y, x of a chunk, and of a shard (a file), which is whole chunks.
    """
    from zarr.codecs import BloscCodec, BloscShuffle

    shuffle = BloscShuffle.bitshuffle if np.dtype(dtype).itemsize > 1 else BloscShuffle.noshuffle
    ones = (1,) * (len(shape) - 3)
    return group.create_array(
        str(level),
        shape=shape,
        dtype=dtype,
        chunks=ones + chunk,
        shards=ones + shard,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle=shuffle),
        fill_value=0,
        dimension_names=list(axes),
    )


def halved(values: NDArray[Any], steps: Shape, empty: EmptyVoxels | None = None) -> NDArray[Any]:
    """Means over 2 voxels along the axes whose step is 2, at an odd end over fewer; integers are rounded.

    Empty voxels have no part in a mean, which is empty where most of them are.

    Parameters
    ----------
    values : array, shape (z, y, x)
    steps : tuple of int
        1 or 2 for each axis.
    empty : EmptyVoxels, optional
        Which voxels hold no measurement.
    """
    mask = None if empty is None else empty.mask(values)
    if mask is None or empty is None:
        return _halved(values, steps)
    kind = values.dtype
    part = _halved(mask.astype(np.float64), steps)
    means = _halved(np.where(mask, 0, values).astype(np.float64), steps) / np.maximum(1 - part, 1 / 8)
    means = (np.rint(means) if kind.kind in "iu" else means).astype(kind)
    lowest = kind.type(np.iinfo(kind).min if kind.kind in "iu" else -np.inf)
    stand_in = np.where(mask, values, lowest)
    for axis, step in enumerate(steps):
        stand_in = np.maximum.reduceat(stand_in, np.arange(0, stand_in.shape[axis], step), axis=axis)
    return np.where(part > 0.5, stand_in, means)


def _halved(values: NDArray[Any], steps: Shape) -> NDArray[Any]:
    kind = values.dtype
    wide: Any = np.float64
    if kind.itemsize <= 2 and kind.kind in "iub":  # eight of them fit
        wide = np.uint16 if kind.kind in "ub" and kind.itemsize == 1 else np.int32
    sums = values
    for axis in (2, 1, 0):  # the last first: what is read with gaps is then narrow still
        if steps[axis] == 2:
            sums = _pairs(sums, axis, wide)
    count = math.prod(steps)
    if kind.kind == "b":
        return np.asarray(2 * sums.astype(wide) >= count)
    if kind.kind not in "iu" or wide is np.float64:
        means = sums / count
        return np.asarray(np.rint(means) if kind.kind in "iu" else means).astype(kind)
    shift = count.bit_length() - 1
    if shift == 0:
        return values.copy()
    rounding = (count >> 1) - 1 + ((sums >> shift) & 1)  # halves to even, as rint
    return np.asarray((sums + rounding.astype(wide)) >> shift).astype(kind)


def _pairs(values: NDArray[Any], axis: int, dtype: Any) -> NDArray[Any]:
    """Sums of two neighbours along an axis; at an odd end the last counts twice, as it is its own mean."""
    whole = values.shape[axis] // 2 * 2
    first = [slice(None)] * values.ndim
    second = list(first)
    first[axis], second[axis] = slice(0, None, 2), slice(1, whole, 2)
    evens = values[tuple(first)]
    sums = evens.astype(dtype)
    paired = [slice(None)] * values.ndim
    paired[axis] = slice(0, whole // 2)
    sums[tuple(paired)] += values[tuple(second)]
    if whole < values.shape[axis]:
        last = [slice(None)] * values.ndim
        last[axis] = slice(whole // 2, None)
        sums[tuple(last)] *= 2
    return sums
