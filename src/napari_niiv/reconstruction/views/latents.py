"""Latent grids of what a view shows: kept in cells, so that only what is new is read and encoded.

The first picture of a slice encodes just what it shows, a pan whole cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_niiv.geometry import Span
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.inference import ORIENTATION, encode_slices
from napari_niiv.reconstruction.views.request import AXES, Plane
from napari_niiv.reconstruction.views.resolve import Resolved
from napari_niiv.reconstruction.views.source import Box

Orientation = Plane
"""Orientation of the slices that the network restores: "xz" or "yz"."""
Read = Callable[[Box], Tensor]
"""Normalised voxels of a box of the level of a view, on the device of the model."""

_EDGE = {
    "cpu": 32,
    "cuda": 128,
    "mps": 64,
}  # voxels of a side view's cell: few and large where starting work is dear
_ROWS, _COLUMNS = (
    4,
    8,
)  # windows end at multiples of these: libraries of kernels keep a plan for each shape they meet
_FLAT = {"cpu": 64, "cuda": 256, "mps": 128}  # pixels, along y and x, of an xy view's tile
_THICK = 8  # and its slices: with the halo around them, neighbouring pictures cost little more than one

_Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class _Cell:
    """What is kept of one cell of a side view: all of it, or what the first picture of its slice needed."""

    rows: Span
    columns: Span
    latent: Tensor

    @property
    def nbytes(self) -> int:
        return self.latent.nbytes

    def part(self, rows: Span, columns: Span) -> Tensor | None:
        """The latent grid of a part, or None if not all of it is here."""
        if not (rows in self.rows and columns in self.columns):
            return None
        return self.latent[..., columns.slice_in(self.columns), rows.slice_in(self.rows)]


_Place = tuple[_Key, Span, Span]
"""Key of a cell, and the rows and columns of it that a view needs."""


@dataclass(frozen=True)
class Tile:
    """A piece of an xy view."""

    y: Span
    x: Span


class Latents:
    """Latent grids of one volume and one model.

    Every grid has the slice itself as one more, last, channel.

    Parameters
    ----------
    batch_budget : BatchBudget
    memory : Memory
    owner : object
        Under which they are kept.
    """

    def __init__(self, batch_budget: BatchBudget, memory: Memory, owner: object) -> None:
        self._batch_budget, self._memory, self._owner = batch_budget, memory, owner

    @property
    def _model(self) -> Niiv:
        return self._batch_budget.model

    # side views

    def window(self, view: Resolved) -> tuple[Span, Span]:
        """Rows and columns that a side view needs."""
        sizes = (view.shape[0], view.shape[AXES[view.plane][2]])
        rows, columns = view.rows.support(sizes[0]), view.columns.support(sizes[1])
        rows = rows.padded(view.margin, sizes[0])
        return _outward(rows, _ROWS, sizes[0]), _outward(columns, _COLUMNS, sizes[1])

    def strips(self, view: Resolved) -> list[Span]:
        """The window's columns in pieces that can be encoded at once, those in the middle first."""
        rows, columns = self.window(view)
        edge, size = self._edge, view.shape[AXES[view.plane][2]]
        depth = len(rows.padded(self._model.halo, view.shape[0]))
        width = max(edge, (self._batch_budget.batch_pixels // depth - 2 * self._model.halo) // edge * edge)
        pieces = [piece.intersection(columns) for piece in columns.tiles(width, size)]
        return sorted(pieces, key=lambda piece: abs(piece.lo + piece.hi - columns.lo - columns.hi))

    def holds(self, view: Resolved, side: Orientation, columns: Span) -> bool:
        """Whether all that one orientation of some columns of a side view needs is kept."""
        places = self._places(view, side, self.window(view)[0], columns)
        return all(self._part(place) is not None for line in places for place in line)

    def of_side(
        self, view: Resolved, side: Orientation, columns: Span, read: Read, interrupt: Callable[[], None]
    ) -> Tensor:
        """Latent grid of some columns of a side view: (1, C + 1, lateral, axial), kept or encoded."""
        rows, _ = self.window(view)
        places = self._places(view, side, rows, columns)
        held = {place: self._part(place) for line in places for place in line}
        missing = [place for place, part in held.items() if part is None]
        if missing:
            # the bounding box of what is missing: everything after a scroll, a strip after a pan
            edge, size = self._edge, view.shape[AXES[view.plane][2]]
            new_rows, new_columns = _hull(row for _, row, _ in missing), _hull(c for *_, c in missing)
            if len(missing) < len(held):  # whole cells, so that the next step of the pan finds them
                new_rows = _outward(new_rows, edge, view.shape[0])
                new_columns = _outward(new_columns, edge, size)
            encoded = self._encode_side(view, side, new_rows, new_columns, read, interrupt)
            for line in self._places(view, side, new_rows, new_columns):
                for key, row, column in line:
                    latent = encoded[..., column.slice_in(new_columns), row.slice_in(new_rows)].clone()
                    self._put(key, _Cell(row, column, latent))
            for place in missing:
                _, row, column = place
                held[place] = encoded[..., column.slice_in(new_columns), row.slice_in(new_rows)]
        lines = [torch.cat([held[place] for place in line], dim=-1) for line in places]  # type: ignore[misc]
        return lines[0] if len(lines) == 1 else torch.cat(lines, dim=-2)

    def _encode_side(
        self,
        view: Resolved,
        side: Orientation,
        rows: Span,
        columns: Span,
        read: Read,
        interrupt: Callable[[], None],
    ) -> Tensor:
        """Encode one rectangle; shape (1, C + 1, lateral, axial)."""
        across, _, lateral = AXES[view.plane]
        here = Span(view.index, view.index + 1)
        spans = {0: rows, across: here, lateral: columns}
        both = self._encode(view, side, (spans[0], spans[1], spans[2]), read, interrupt)
        return both if side == view.plane else both.permute(2, 1, 0, 3)

    def _places(self, view: Resolved, side: Orientation, rows: Span, columns: Span) -> list[list[_Place]]:
        """The cells of a window: a line for each step along the lateral axis."""
        about, edge = self._about(view, side), self._edge
        size = view.shape[AXES[view.plane][2]]
        return [
            [
                ((*about, row.lo, column.lo), row.intersection(rows), column.intersection(columns))
                for row in rows.tiles(edge, view.shape[0])
            ]
            for column in columns.tiles(edge, size)
        ]

    def _part(self, place: _Place) -> Tensor | None:
        key, rows, columns = place
        cell = self._get(key)
        return cell.part(rows, columns) if isinstance(cell, _Cell) else None

    def _about(self, view: Resolved, side: Orientation) -> _Key:
        return (view.plane, side, view.leading, view.index, view.coarsening, str(self._model.device))

    @property
    def _edge(self) -> int:
        return _EDGE[self._model.device.type]

    # xy views between slices

    def tiles(self, view: Resolved) -> list[Tile]:
        """The tiles of an xy view, those in the middle of the window first."""
        _, height, width = view.shape
        edge = _FLAT[self._model.device.type]
        rows, columns = view.rows.support(height), view.columns.support(width)
        found = [Tile(y, x) for y in rows.tiles(edge, height) for x in columns.tiles(edge, width)]

        def distance(tile: Tile) -> int:
            return max(
                abs(tile.y.lo + tile.y.hi - rows.lo - rows.hi),
                abs(tile.x.lo + tile.x.hi - columns.lo - columns.hi),
            )

        return sorted(found, key=distance)

    def slabs(self, view: Resolved, z: Span) -> list[Span]:
        """The slabs of slices, encoded together, that some slices lie in."""
        return list(z.tiles(_THICK, view.shape[0]))

    def of_tile(
        self,
        view: Resolved,
        side: Orientation,
        tile: Tile,
        z: Span,
        read: Read,
        interrupt: Callable[[], None],
    ) -> Tensor:
        """Latent grids of one orientation through a tile: (slices, C + 1, lateral, z)."""
        parts = []
        for slab in self.slabs(view, z):
            part = self.kept(view, side, tile, slab)
            if part is None:
                part = self._encode(view, side, (slab, tile.y, tile.x), read, interrupt)
                self.keep(view, side, tile, slab, part)
            parts.append(part[..., max(z.lo - slab.lo, 0) : z.hi - slab.lo])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def kept(self, view: Resolved, side: Orientation, tile: Tile, about: object) -> Tensor | None:
        """What is kept about a tile, such as the latent grids of a slab of it, or None."""
        value = self._get(self._tile_key(view, side, tile, about))
        return value if isinstance(value, Tensor) else None

    def keep(self, view: Resolved, side: Orientation, tile: Tile, about: object, value: Tensor) -> None:
        """Keep something about a tile."""
        self._put(self._tile_key(view, side, tile, about), value)

    def _tile_key(self, view: Resolved, side: Orientation, tile: Tile, about: object) -> _Key:
        where = ("xy", side, view.leading, view.coarsening, str(self._model.device))
        return (*where, tile.y.lo, tile.x.lo, about)

    # both

    def _encode(
        self, view: Resolved, side: Orientation, box: Box, read: Read, interrupt: Callable[[], None]
    ) -> Tensor:
        """Encode the slices of one orientation through a box: (slices, C + 1, lateral, axial)."""
        model = self._model
        across, _, lateral = AXES[side]
        reach = {0: model.halo, across: model.context, lateral: model.halo}
        wide = [span.padded(reach[axis], view.shape[axis]) for axis, span in enumerate(box)]
        stack = read((wide[0], wide[1], wide[2])).permute(ORIENTATION[side])
        wanted, kept, depth = (box[axis].slice_in(wide[axis]) for axis in (across, lateral, 0))
        parts = [
            torch.cat([latent.float(), stack[part, kept, depth][:, None]], dim=1)
            for part, latent in encode_slices(
                model,
                stack,
                wanted,
                (kept, depth),
                view.anisotropy,
                self._batch_budget.batch_pixels,
                interrupt,
            )
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _get(self, key: _Key) -> object:
        return self._memory.latents(self._model.device).get(self._owner, key)

    def _put(self, key: _Key, value: Tensor | _Cell) -> None:
        self._memory.latents(self._model.device).put(self._owner, key, value)


def _hull(spans: Iterable[Span]) -> Span:
    """The span from the first of some to the last."""
    found = list(spans)
    return Span(min(s.lo for s in found), max(s.hi for s in found))


def _outward(span: Span, edge: int, size: int) -> Span:
    """A span widened to whole cells."""
    return Span(span.lo // edge * edge, min(-(-span.hi // edge) * edge, size))
