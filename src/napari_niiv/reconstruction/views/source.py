"""Voxels as the views read them: at the resolution that fits, and kept where reading is dear."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.geometry import Span
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.volume import Level, Volume, averaged

_LEAST_TILE = 1 << 17  # voxels: smaller chunks are read several at once

Box = tuple[Span, Span, Span]


class Source:
    """Reads boxes of one level of a 3-D volume.

    A side view crosses a column of chunks, and the next slice the same ones. What has chunks is therefore kept in tiles
    of whole chunks.

    Parameters
    ----------
    volume : Volume
        3-D; its messages name it.
    level : Level
    leading : tuple of int
        Which T/C index the volume is.
    memory : Memory
    owner : object
        Under which the tiles are kept.
    """

    def __init__(
        self, volume: Volume, level: Level, leading: tuple[int, ...], memory: Memory, owner: object
    ) -> None:
        self._volume = replace(volume, array=level.array, pyramid=())
        self._memory, self._owner, self._about = memory, owner, (leading, level.lateral)
        self.shape = tuple(int(n) for n in level.array.shape)
        self._tile = _tile(level.array)

    def read(self, box: Box, downsample: int) -> NDArray[Any]:
        """A box as it is, or averaged; y and x count pixels averaged over `downsample` x `downsample`.

        Raises
        ------
        VolumeError
            If it cannot be read, or holds NaN or infinite values.
        """
        z, y, x = box
        d, (_, height, width) = downsample, self.shape
        raw = (z, Span(y.lo * d, min(y.hi * d, height)), Span(x.lo * d, min(x.hi * d, width)))
        values = self._raw(raw)
        return values if d == 1 else averaged(values, d)

    def _raw(self, box: Box) -> NDArray[Any]:
        if self._tile is None:
            return self._direct(box)
        grid = [
            list(span.tiles(edge, size)) for span, edge, size in zip(box, self._tile, self.shape, strict=True)
        ]
        whole = math.prod(line[-1].hi - line[0].lo for line in grid) * self._volume.dtype.itemsize
        if whole > self._memory.voxels.limit // 2:  # would only push itself out
            return self._direct(box)
        places = [(z, y, x) for z in grid[0] for y in grid[1] for x in grid[2]]
        held: dict[Box, NDArray[Any] | None] = {
            place: self._memory.voxels.get(self._owner, (*self._about, place)) for place in places
        }
        missing = [place for place, tile in held.items() if tile is None]
        if missing:
            around = tuple(
                Span(min(p[axis].lo for p in missing), max(p[axis].hi for p in missing)) for axis in range(3)
            )
            read = self._direct(
                (around[0], around[1], around[2])
            )  # at once: the array reads chunks side by side
            for place in missing:
                tile = read[
                    tuple(span.slice_in(whole) for span, whole in zip(place, around, strict=True))
                ].copy()
                held[place] = tile
                self._memory.voxels.put(self._owner, (*self._about, place), tile)
        out = np.empty([len(span) for span in box], self._volume.dtype)
        for place, kept in held.items():
            common = [a.intersection(b) for a, b in zip(place, box, strict=True)]
            here = tuple(c.slice_in(b) for c, b in zip(common, box, strict=True))
            assert kept is not None
            out[here] = kept[tuple(c.slice_in(p) for c, p in zip(common, place, strict=True))]
        return out

    def _direct(self, box: Box) -> NDArray[Any]:
        z, y, x = box
        return self._volume.read_raw(z.slice, y.slice, x.slice)


def _tile(array: Any) -> tuple[int, int, int] | None:
    """Edges of a tile: those of a chunk, doubled until it is worth a read of its own; None without chunks."""
    chunks = getattr(array, "chunks", None)
    if not chunks:
        return None
    edges = [max(c) if isinstance(c, tuple) else int(c) for c in chunks]
    while math.prod(edges) < _LEAST_TILE and any(e < n for e, n in zip(edges, array.shape, strict=True)):
        smallest = min((e, i) for i, e in enumerate(edges) if e < array.shape[i])[1]
        edges[smallest] *= 2
    z, y, x = edges
    return z, y, x
