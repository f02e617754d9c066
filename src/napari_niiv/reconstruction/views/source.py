"""Voxels as the views read them: at the resolution that fits, and cached where reading is dear."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.geometry import Box, Shape, three
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.volume import Level, Volume

_LEAST_TILE = 1 << 17  # voxels: smaller chunks are read several at once


class Source:
    """Reads boxes of one level of a 3-D volume.

    A side view crosses a column of chunks, and the next slice the same ones. What has chunks is therefore cached in
    tiles of whole chunks.

    Parameters
    ----------
    volume : Volume
        3-D; its messages name it.
    level : Level
        The resolution to read.
    leading : tuple of int
        Which T/C index the volume is.
    memory : Memory
        Where tiles are cached.
    owner : object
        Under which they are.
    """

    def __init__(self, volume: Volume, level: Level, leading: tuple[int, ...], memory: Memory, owner: object) -> None:
        self._volume = replace(volume, array=level.array, pyramid=())
        self._memory, self._owner, self._key = memory, owner, (leading, level.lateral)
        self.shape: Shape = three(int(n) for n in level.array.shape)
        self._tile = _tile(level.array)

    def read(self, box: Box) -> NDArray[Any]:
        """A box of the level as it is.

        Raises
        ------
        VolumeError
            If it cannot be read.
        """
        tiles = [] if self._tile is None else box.tiles(self._tile, self.shape)
        # more than the cache takes would only push itself out
        if not tiles or Box.hull(tiles).size * self._volume.dtype.itemsize > self._memory.voxels.limit // 2:
            return self._volume.read_raw(*box.slices)
        cache = self._memory.voxels
        cached = {tile: voxels for tile in tiles if (voxels := cache.get(self._owner, (*self._key, tile))) is not None}
        if missing := [tile for tile in tiles if tile not in cached]:
            hull = Box.hull(missing)
            read = self._volume.read_raw(*hull.slices)  # at once: the array reads chunks side by side
            for tile in missing:
                cached[tile] = read[tile.slices_in(hull)].copy()
                cache.put(self._owner, (*self._key, tile), cached[tile])
        out = np.empty(box.shape, self._volume.dtype)
        for tile, voxels in cached.items():
            common = tile.intersection(box)
            out[common.slices_in(box)] = voxels[common.slices_in(tile)]
        return out


def _tile(array: Any) -> Shape | None:
    """Edges of a tile: those of a chunk, doubled until it is worth a read of its own; None without chunks."""
    chunks = getattr(array, "chunks", None)
    if not chunks:
        return None
    edges = [max(c) if isinstance(c, tuple) else int(c) for c in chunks]
    while math.prod(edges) < _LEAST_TILE and any(e < n for e, n in zip(edges, array.shape, strict=True)):
        smallest = min((e, i) for i, e in enumerate(edges) if e < array.shape[i])[1]
        edges[smallest] *= 2
    return three(edges)
