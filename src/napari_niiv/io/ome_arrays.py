"""The arrays of an OME-Zarr that is written: how they are stored, and how a level is made of the finer one."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import zarr

Size = tuple[int, int, int]


def create_level(
    group: zarr.Group, level: int, axes: str, shape: tuple[int, ...], dtype: Any, chunk: Size, shard: Size
) -> zarr.Array[Any]:
    """Make the array of a level, without voxels.

    Parameters
    ----------
    group : zarr.Group
    level : int
    axes : str
    shape : tuple of int
        T and C axes included.
    dtype : dtype
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


def halved(values: NDArray[Any], steps: Size) -> NDArray[Any]:
    """Means over 2 voxels along the axes whose step is 2, at an odd end over fewer; integers are rounded.

    Parameters
    ----------
    values : array, shape (z, y, x)
    steps : tuple of int
        1 or 2 for each axis.
    """
    kind = values.dtype
    odd = [(0, n % s) for n, s in zip(values.shape, steps, strict=True)]
    padded = np.pad(values, odd, mode="edge") if any(o for _, o in odd) else values  # it is its own mean
    narrow = kind.itemsize <= 2 and kind.kind in "iub"  # eight of them fit 32 bits
    sums = np.zeros([n // s for n, s in zip(padded.shape, steps, strict=True)], np.int32 if narrow else float)
    for first in itertools.product(*(range(step) for step in steps)):
        sums += padded[tuple(slice(f, None, s) for f, s in zip(first, steps, strict=True))]
    means = sums / math.prod(steps)
    if kind.kind in "iu":
        return np.rint(means).astype(kind)
    return means >= 0.5 if kind.kind == "b" else means.astype(kind)
