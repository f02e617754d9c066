"""Pieces of xy slices, spread over a volume: what is looked at where reading all of it would cost too much."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_niiv.volume import Volume


Bounds = tuple[tuple[int, int], ...]
"""Of a box: where it begins and ends along each axis."""

_LISTED = 4096  # chunks of which some are chosen
_CHUNKS, _SLICES = 64, 3  # that are looked at, and of each
_COARSE = 1 << 26  # voxels of a coarser level that is looked through


def scattered(volume: Volume, edge: int, most: int, box: Bounds | None = None) -> Iterator[NDArray[Any]]:
    """Pieces of slices at the places of a Halton sequence, always the same ones, each once.

    Parameters
    ----------
    volume : Volume
        3-D; only what is taken of the pieces is read.
    edge : int
        Of a piece, in pixels along y and x. Pieces begin at multiples of it, as chunks usually do.
    most : int
        No more places than this are looked at.
    box : tuple of (int, int), optional
        Along z, y and x: the part of the volume to look at.

    Yields
    ------
    array, shape (1, rows, columns)

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    bounds = box or tuple((0, size) for size in volume.shape)
    seen = set()
    for number in range(1, most + 1):
        place = tuple(
            lo + int(_radical_inverse(number, base) * (hi - lo) / step) * step
            for base, (lo, hi), step in zip((2, 3, 5), bounds, (1, edge, edge), strict=True)
        )
        if place not in seen:
            seen.add(place)
            (z, y, x), (_, bottom, right) = place, (hi for _, hi in bounds)
            yield volume.read_raw(slice(z, z + 1), slice(y, min(y + edge, bottom)), slice(x, min(x + edge, right)))


def stored(volume: Volume, edge: int) -> Iterator[NDArray[Any]]:
    """Pieces of slices where a sparse volume holds something: by its coarsest level, or by the chunks that it has.

    Parameters
    ----------
    volume : Volume
        3-D.
    edge : int
        Of a piece, in pixels along y and x, at most.

    Yields
    ------
    array, shape (1, rows, columns)

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    for z, y, x in _in_coarsest(volume):
        y, x = y // edge * edge, x // edge * edge
        yield volume.read_raw(slice(z, z + 1), slice(y, y + edge), slice(x, x + edge))
    boxes = stored_boxes(volume.array, _LISTED)
    for (z0, z1), (y0, y1), (x0, x1) in boxes[:: -(-len(boxes) // _CHUNKS) or 1]:
        for z in np.unique(np.linspace(z0, min(z1, volume.shape[0]) - 1, _SLICES).round().astype(int)):
            yield volume.read_raw(slice(z, z + 1), slice(y0, min(y1, y0 + edge)), slice(x0, min(x1, x0 + edge)))


def _in_coarsest(volume: Volume) -> Iterator[tuple[int, int, int]]:
    """Where the coarsest level of a volume differs from its first voxel, once for each of its slices that does."""
    level = volume.levels()[-1]
    if level.lateral == 1 or math.prod(level.array.shape) > _COARSE:
        return
    coarse, first = replace(volume, array=level.array, pyramid=()), None
    for z in range(coarse.shape[0]):
        picture = coarse.read_raw(slice(z, z + 1))[0]
        first = picture.flat[0] if first is None else first
        other = np.flatnonzero((picture != first).ravel())
        if other.size:
            y, x = np.unravel_index(other[len(other) // 2], picture.shape)
            yield z * level.axial, int(y) * level.lateral, int(x) * level.lateral


def stored_boxes(array: Any, most: int) -> list[Bounds]:
    """Boxes of the chunks, or shards, that a zarr has; none where that is not known.

    Parameters
    ----------
    array : array-like
        A zarr array, or one that has `stored_boxes`, as it reads from one.
    most : int
        So many are looked for.
    """
    if (boxes := getattr(array, "stored_boxes", None)) is not None:
        found: list[Bounds] = boxes(most)
        return found
    if not (hasattr(array, "store") and hasattr(getattr(array, "metadata", None), "encode_chunk_key")):
        return []
    chunks, key = array.shards or array.chunks, array.metadata.encode_chunk_key
    prefix = f"{array.path}/" if array.path else ""
    places = (_place(name.removeprefix(prefix), len(chunks)) for name in _keys(array.store, prefix, most))
    return [
        tuple((i * chunk, min((i + 1) * chunk, n)) for i, chunk, n in zip(place, chunks, array.shape, strict=True))
        for place, name in places
        if place and key(place) == name and all(i * c < n for i, c, n in zip(place, chunks, array.shape, strict=True))
    ]


def _keys(store: Any, prefix: str, most: int) -> list[str]:
    """Names of files in a zarr store."""
    from zarr.core.sync import sync

    async def listed() -> list[str]:
        names = []
        async for name in store.list_prefix(prefix):
            names.append(name)
            if len(names) == most:
                break
        return names

    return sync(listed())


def _place(name: str, axes: int) -> tuple[tuple[int, ...], str]:
    """The place of a chunk in the grid, by its name; empty if it is none."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", name))
    return (numbers if len(numbers) == axes else ()), name


def _radical_inverse(number: int, base: int) -> float:
    """The digits of a number in a base, mirrored at the point (van der Corput)."""
    value, weight = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        weight /= base
        value += digit * weight
    return value
