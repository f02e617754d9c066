"""What will be written: levels, their shards, and the units of work; a pure function of volume and settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_niiv.errors import OutputError
from napari_niiv.export.config import ExportConfig
from napari_niiv.geometry import Box, Shape, Span, rounded_up, three
from napari_niiv.reconstruction.grid import BLOCK_BYTES, DEVICES, Grid, block_edges
from napari_niiv.volume import Volume

# voxels: the longest edge of the last level
COARSEST = 256
# voxels of a shard of a large volume, and the fewest shards of a small one, as far as blocks allow: each that is
# finished is kept when an export is stopped
SHARD, FEWEST_SHARDS = 1 << 26, 8


@dataclass(frozen=True)
class Unit:
    """One shard of one level: computed whole, written once.

    Attributes
    ----------
    level : int
        0 is the full resolution.
    number : int
        Of the unit in its level; with `level` it names the unit in the journal.
    leading : tuple of int
        T and C index.
    place : Box
        Its voxels in the level.
    """

    level: int
    number: int
    leading: tuple[int, ...]
    place: Box

    @property
    def voxels(self) -> int:
        """How many voxels the shard has."""
        return self.place.size


@dataclass(frozen=True)
class Level:
    """One resolution of the output.

    Attributes
    ----------
    shape : tuple of int
        Voxels along z, y, x.
    factors : tuple of int
        Voxels of the full resolution that one of its covers.
    shard : tuple of int
        Voxels of a shard.
    at_once : bool
        Whether each shard is the mean of one of the next finer level, and so on down to the full resolution: it is
        written with that, instead of being read from it later.
    """

    shape: Shape
    factors: Shape
    shard: Shape
    at_once: bool = True

    def coarser(self, chunk: Shape) -> Level:
        """The next level: means over 2 voxels along each axis that has more than one."""
        steps = [1 if n == 1 else 2 for n in self.shape]
        shape = [-(-n // s) for n, s in zip(self.shape, steps, strict=True)]
        factors = [f * s for f, s in zip(self.factors, steps, strict=True)]
        single = [s >= n for s, n in zip(self.shard, self.shape, strict=True)]
        whole = all(one or s % (2 * c) == 0 for one, s, c in zip(single, self.shard, chunk, strict=True))
        at_once = self.at_once and whole
        most = [s // 2 if at_once and not one else s for s, one in zip(self.shard, single, strict=True)]
        shard = [min(s, rounded_up(n, c)) for s, n, c in zip(most, shape, chunk, strict=True)]
        return Level(three(shape), three(factors), three(shard), at_once)

    def steps_from(self, finer: Level) -> Shape:
        """Voxels of a finer level that one of its voxels is the mean of, along each axis."""
        return three(c // f for c, f in zip(self.factors, finer.factors, strict=True))


@dataclass(frozen=True)
class Plan:
    """The output and how it is cut.

    Attributes
    ----------
    grid : Grid
        Of the whole volume.
    samples : Box
        The part of the grid that is written.
    leading : tuple of int
        Lengths of the T and C axes.
    axes : str
    dtype : dtype
    voxel_size, origin : tuple of float
        Of the full resolution, in the volume's unit; the origin is the centre of its first voxel.
    unit : str
    edges : tuple of int
        Samples of a block.
    chunk : tuple of int
    levels : tuple of Level
    """

    grid: Grid
    samples: Box
    leading: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    unit: str
    edges: Shape
    chunk: Shape
    levels: tuple[Level, ...]

    @classmethod
    def of(
        cls,
        volume: Volume,
        config: ExportConfig,
        device: str,
        *,
        tiff: bool = False,
        edges: Shape | None = None,
    ) -> Plan:
        """Plan an export.

        Parameters
        ----------
        volume : Volume
        config : ExportConfig
        device : str
            Type of the device, which larger blocks suit if it is a GPU.
        tiff : bool
            No coarser levels, and chunks that are read slab by slab: what a TIFF is written from.
        edges : tuple of int, optional
            Samples of a block, where an earlier run has chosen them.

        Raises
        ------
        OutputError
            If the box is empty or beyond the volume.
        ReconstructionError
            If the output scale makes no sense.
        ValueError
            If an earlier run cannot have chosen such edges.
        """
        grid = Grid.of(volume.at(*(0,) * (len(volume.shape) - 3)), config.output_scale)
        samples = grid.samples_of(_voxels(config.box, grid.source, volume.name))
        dtype = np.dtype(config.dtype) if config.dtype else volume.dtype
        shape = samples.shape
        chunk = (16, 128, 128) if tiff else (config.chunk, config.chunk, config.chunk)

        def chosen(device: str) -> Shape:
            asked = block_edges(grid, device, dtype.itemsize, config.block, shape)
            return three([rounded_up(edge, c) for edge, c in zip(asked, chunk, strict=True)])

        if edges is None:
            edges = chosen(device)
        elif edges not in map(chosen, DEVICES):
            raise ValueError(f"no device has blocks of {edges}")
        leading = volume.shape[:-3]
        limit = config.shard or min(SHARD, math.prod(leading + shape) // FEWEST_SHARDS)
        shard = _shard(shape, edges, chunk, min(limit, BLOCK_BYTES // dtype.itemsize))
        levels = [Level(shape, (1, 1, 1), shard)]
        while not tiff and max(levels[-1].shape) > COARSEST:
            levels.append(levels[-1].coarser(chunk))
        places = grid.parts(samples)
        size = [v * s.step for v, s in zip(volume.voxel_size, places, strict=True)]
        origin = [o + v * s.start for o, v, s in zip(volume.origin, volume.voxel_size, places, strict=True)]
        return cls(
            grid,
            samples,
            leading,
            volume.axes,
            dtype,
            three(size),
            three(origin),
            volume.unit,
            edges,
            chunk,
            tuple(levels),
        )

    def shape(self, level: int = 0) -> tuple[int, ...]:
        """Shape of a level, T and C axes included."""
        return self.leading + self.levels[level].shape

    def voxels(self, level: int = 0) -> int:
        """How many voxels a level has, T and C axes included."""
        return math.prod(self.shape(level))

    @property
    def bytes(self) -> int:
        """Size of all levels in bytes, uncompressed."""
        return sum(self.voxels(level) for level in range(len(self.levels))) * self.dtype.itemsize

    @property
    def later(self) -> range:
        """The levels that are averaged when the full resolution is complete."""
        return range(sum(level.at_once for level in self.levels), len(self.levels))

    def written_with(self, unit: Unit) -> list[Unit]:
        """A unit, and those of coarser levels that are written at once with it."""
        units = [unit]
        while unit.level + 1 < self.later.start:
            unit = self.coarser(unit)
            units.append(unit)
        return units

    def writes(self, unit: Unit, level: int) -> bool:
        """Whether a unit writes a shard of a level."""
        return unit.level == level or unit.level == 0 < level < self.later.start

    def coarser(self, unit: Unit) -> Unit:
        """The unit of the next level that is the mean of one, if that level is written at once."""
        steps = self.levels[unit.level + 1].steps_from(self.levels[unit.level])
        return Unit(unit.level + 1, unit.number, unit.leading, unit.place.coarsened(steps))

    def units(self, level: int) -> Iterator[Unit]:
        """The shards of a level, in the order of the file."""
        shards = Box.whole(self.levels[level].shape).pieces(self.levels[level].shard)
        places = itertools.product(np.ndindex(self.leading), shards)
        for number, (leading, place) in enumerate(places):
            yield Unit(level, number, leading, place)

    def size_of(self, level: int) -> tuple[float, float, float]:
        """The voxel size of a level."""
        return three(v * f for v, f in zip(self.voxel_size, self.levels[level].factors, strict=True))

    def origin_of(self, level: int) -> tuple[float, float, float]:
        """World position of the centre of a level's first voxel: the middle of those that it averages."""
        return three(
            o + v * (f - 1) / 2
            for o, v, f in zip(self.origin, self.voxel_size, self.levels[level].factors, strict=True)
        )


def _shard(shape: Shape, edges: Shape, chunk: Shape, limit: int) -> Shape:
    """Whole blocks, one or as many as so many voxels allow, first along x, then y, then z."""
    shard = [min(edge, rounded_up(n, c)) for edge, n, c in zip(edges, shape, chunk, strict=True)]
    while True:
        # the axis whose shard is shortest of those that it does not cover yet keeps shards compact
        open_axes = [a for a in (2, 1, 0) if shard[a] < shape[a] and 2 * math.prod(shard) <= limit]
        if not open_axes:
            return three(shard)
        shortest = min(open_axes, key=lambda a: shard[a])
        shard[shortest] = min(2 * shard[shortest], rounded_up(shape[shortest], edges[shortest]))


def _voxels(bounds: Sequence[tuple[int, int]] | None, shape: Shape, name: str) -> Box:
    """The part that is asked for, in voxels of the volume."""
    box = Box.of(Span(lo, hi) for lo, hi in bounds) if bounds else Box.whole(shape)
    for axis, span, size in zip("zyx", box, shape, strict=True):
        if not 0 <= span.lo < span.hi <= size:
            raise OutputError(
                f"The box's {axis} range {span.lo}:{span.hi} is empty or beyond {name!r}, which has {size} voxels "
                f"along {axis}; give a range within 0:{size}."
            )
    return box
