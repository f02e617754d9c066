"""Where samples lie: grids along one axis, output sizes, tiles and halos.

Positions are in voxels of the axis they belong to; voxel i has its centre at i and covers [i - ½, i + ½], as in napari.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

Shape = tuple[int, int, int]
"""Numbers of voxels along z, y and x."""


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

    def support(self, size: int, reach: float = 1.0) -> Span:
        """Voxels, of an axis of `size`, that `resample` to these positions reads."""
        reach = max(1.0, self.step, reach)
        lo = min(max(math.floor(self.start - reach), 0), size - 1)
        hi = min(max(math.ceil(self.end + reach), 0), size - 1)
        return Span(lo, hi + 1)


@dataclass(frozen=True)
class Span:
    """A half-open range of voxels along one axis, ``lo`` to ``hi - 1``."""

    lo: int
    hi: int

    @classmethod
    def hull(cls, spans: Iterable[Span]) -> Span:
        """The smallest span that holds all of some."""
        spans = tuple(spans)
        return cls(min(span.lo for span in spans), max(span.hi for span in spans))

    def __len__(self) -> int:
        return self.hi - self.lo

    def __contains__(self, other: Span) -> bool:
        return self.lo <= other.lo and other.hi <= self.hi

    def padded(self, halo: int, size: int) -> Span:
        """Widened by `halo` voxels on both sides, inside an axis of `size` voxels."""
        return Span(max(self.lo - halo, 0), min(self.hi + halo, size))

    def shifted(self, offset: int) -> Span:
        """Moved by a number of voxels."""
        return Span(self.lo + offset, self.hi + offset)

    def scaled(self, factor: int, size: int) -> Span:
        """What it covers on an axis of `size` voxels, where each of its own voxels is `factor` of those."""
        return Span(self.lo * factor, min(self.hi * factor, size))

    def coarsened(self, factor: int) -> Span:
        """The voxels that this span touches on an axis whose voxels are `factor` of its own."""
        return Span(self.lo // factor, -(-self.hi // factor))

    def outward(self, edge: int, size: int) -> Span:
        """Widened to multiples of `edge`, inside an axis of `size` voxels."""
        return Span(self.lo // edge * edge, min(rounded_up(self.hi, edge), size))

    def offset_from(self, other: Span) -> int:
        """Distance between the centres of two spans, in halves of a voxel."""
        return abs(self.lo + self.hi - other.lo - other.hi)

    def intersection(self, other: Span) -> Span:
        """What two overlapping spans share."""
        return Span(max(self.lo, other.lo), min(self.hi, other.hi))

    def slice_in(self, other: Span) -> slice:
        """This span as a slice of an array that holds `other`."""
        return slice(self.lo - other.lo, self.hi - other.lo)

    @property
    def slice(self) -> slice:
        """The span as a slice."""
        return slice(self.lo, self.hi)

    def pieces(self, length: int) -> list[Span]:
        """The span in pieces of `length` voxels from its beginning on; the last may be shorter."""
        return [Span(lo, min(lo + length, self.hi)) for lo in range(self.lo, self.hi, length)]

    def tiles(self, edge: int, size: int) -> list[Span]:
        """The tiles that this span touches, of a grid of `edge` voxels from voxel 0 of an axis of `size` voxels."""
        return [
            Span(index * edge, min((index + 1) * edge, size)) for index in range(self.lo // edge, -(-self.hi // edge))
        ]


@dataclass(frozen=True)
class Box:
    """A box of voxels: one span along each of z, y and x.

    Iterating gives the three spans; ``box[axis]`` is the span along an axis (0, 1, 2 = z, y, x).
    """

    z: Span
    y: Span
    x: Span

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Box:
        """The box of three spans, in the order z, y, x."""
        return cls(*spans)

    @classmethod
    def whole(cls, shape: Iterable[int]) -> Box:
        """All voxels of an array of this shape (z, y, x)."""
        return cls.of(Span(0, size) for size in shape)

    @classmethod
    def hull(cls, boxes: Iterable[Box]) -> Box:
        """The smallest box that holds all of some."""
        return cls.of(Span.hull(spans) for spans in zip(*boxes, strict=True))

    def __iter__(self) -> Iterator[Span]:
        return iter((self.z, self.y, self.x))

    def __getitem__(self, axis: int) -> Span:
        return (self.z, self.y, self.x)[axis]

    def __contains__(self, other: Box) -> bool:
        return all(theirs in mine for mine, theirs in zip(self, other, strict=True))

    @property
    def origin(self) -> Shape:
        """The first voxel along z, y, x."""
        return self.z.lo, self.y.lo, self.x.lo

    @property
    def shape(self) -> Shape:
        """Voxels along z, y, x."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def size(self) -> int:
        """How many voxels it has, as NumPy's `size`."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of the last three axes."""
        return self.z.slice, self.y.slice, self.x.slice

    def slices_in(self, other: Box) -> tuple[slice, slice, slice]:
        """This box as an index of an array that holds `other`."""
        return three(mine.slice_in(theirs) for mine, theirs in zip(self, other, strict=True))

    def intersection(self, other: Box) -> Box:
        """What two overlapping boxes share."""
        return Box.of(mine.intersection(theirs) for mine, theirs in zip(self, other, strict=True))

    def padded(self, halo: Shape, shape: Shape) -> Box:
        """Widened by a halo (z, y, x) on both sides, inside an array of `shape`."""
        return Box.of(span.padded(h, n) for span, h, n in zip(self, halo, shape, strict=True))

    def shifted(self, offset: Shape) -> Box:
        """Moved by a number of voxels along z, y, x."""
        return Box.of(span.shifted(o) for span, o in zip(self, offset, strict=True))

    def relative_to(self, origin: Shape) -> Box:
        """The same voxels counted from `origin` (z, y, x)."""
        return Box.of(span.shifted(-o) for span, o in zip(self, origin, strict=True))

    def scaled(self, factors: Shape, shape: Shape) -> Box:
        """What it covers of an array of `shape`, where each of its own voxels is `factors` of those."""
        return Box.of(span.scaled(f, n) for span, f, n in zip(self, factors, shape, strict=True))

    def coarsened(self, factors: Shape) -> Box:
        """The voxels that this box touches in an array whose voxels are `factors` (z, y, x) of its own."""
        return Box.of(span.coarsened(f) for span, f in zip(self, factors, strict=True))

    def pieces(self, edges: Shape) -> list[Box]:
        """The box in blocks of `edges` voxels from its origin on, x fastest; the last along an axis may be shorter."""
        return _product(span.pieces(edge) for span, edge in zip(self, edges, strict=True))

    def tiles(self, edges: Shape, shape: Shape) -> list[Box]:
        """The tiles that this box touches, of a grid of `edges` from voxel 0 of an array of `shape`; x fastest."""
        return _product(span.tiles(e, n) for span, e, n in zip(self, edges, shape, strict=True))


def _product(axes: Iterable[list[Span]]) -> list[Box]:
    return [Box(*spans) for spans in itertools.product(*axes)]


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
