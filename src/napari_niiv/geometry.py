"""Where samples lie: grids along one axis, output sizes, tiles and halos.

Positions are in voxels of the axis they belong to; voxel i has its centre at i and covers [i - ½, i + ½], as in napari.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Sampling:
    """Regular positions along one axis: ``start + step * j`` for j in 0 … count-1, in voxels."""

    start: float
    step: float
    count: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.step) and self.step > 0 and self.count > 0):
            raise ValueError(f"not a sampling: start={self.start}, step={self.step}, count={self.count}")

    @classmethod
    def covering(cls, size: int, count: int) -> Sampling:
        """`count` samples that divide the whole extent of an axis of `size` voxels evenly."""
        step = size / count
        return cls((step - 1) / 2, step, count)

    @property
    def end(self) -> float:
        """Position of the last sample."""
        return self.start + self.step * (self.count - 1)

    def part(self, first: int, count: int) -> Sampling:
        """The samples ``first … first + count - 1``."""
        return Sampling(self.start + self.step * first, self.step, count)

    def relative_to(self, offset: float) -> Sampling:
        """The same positions counted from voxel `offset`."""
        return Sampling(self.start - offset, self.step, self.count)

    def refined(self, factor: int) -> Sampling:
        """The same positions in a grid with `factor` samples per voxel."""
        return Sampling((self.start + 0.5) * factor - 0.5, self.step * factor, self.count)

    def coarsened(self, factor: int) -> Sampling:
        """The same positions in a grid whose voxels are `factor` of these."""
        return Sampling((self.start + 0.5) / factor - 0.5, self.step / factor, self.count)

    def support(self, size: int) -> Span:
        """Voxels that linear interpolation at these positions reads, of an axis of `size` voxels."""
        reach = max(1.0, self.step)
        lo = min(max(math.floor(self.start - reach), 0), size - 1)
        hi = min(max(math.ceil(self.end + reach), 0), size - 1)
        return Span(lo, hi + 1)


@dataclass(frozen=True)
class Span:
    """A half-open range of voxels along one axis."""

    lo: int
    hi: int

    def __len__(self) -> int:
        return self.hi - self.lo

    def __contains__(self, other: Span) -> bool:
        return self.lo <= other.lo and other.hi <= self.hi

    def grown(self, halo: int, size: int) -> Span:
        """Widened by `halo` voxels on both sides, inside an axis of `size` voxels."""
        return Span(max(self.lo - halo, 0), min(self.hi + halo, size))

    def common(self, other: Span) -> Span:
        """What two overlapping spans share."""
        return Span(max(self.lo, other.lo), min(self.hi, other.hi))

    def slice_in(self, other: Span) -> slice:
        """This span as a slice of an array that holds `other`."""
        return slice(self.lo - other.lo, self.hi - other.lo)

    @property
    def slice(self) -> slice:
        """The span as a slice."""
        return slice(self.lo, self.hi)

    def tiles(self, tile: int, size: int) -> Iterator[Span]:
        """The tiles of a grid with its origin at voxel 0 that this span touches."""
        for index in range(self.lo // tile, -(-self.hi // tile)):
            yield Span(index * tile, min((index + 1) * tile, size))


def output_size(size: int, samples_per_voxel: float) -> int:
    """Samples along an axis of `size` voxels, rounded, at least one."""
    return max(1, round(size * samples_per_voxel))


def three(values: Iterable[T]) -> tuple[T, T, T]:
    """One thing for each of z, y, x."""
    z, y, x = values
    return z, y, x


def rounded_up(count: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-count // step) * step
