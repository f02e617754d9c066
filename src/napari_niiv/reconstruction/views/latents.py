"""Latent grids of what a view shows: cached in cells, so that only what is new is read and encoded.

The first picture of a slice encodes just what it shows, a pan whole cells.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from napari_niiv.geometry import Box, Span, three
from napari_niiv.interrupt import Interrupt
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.inference import encode_slices
from napari_niiv.reconstruction.planes import AXES, SLICE_AXES, Orientation
from napari_niiv.reconstruction.views.resolve import Resolved

Read = Callable[[Box], Tensor]
"""Normalised voxels of a box of the level of a view, on the device of the model."""

# voxels: edge of a cell of side views; few and large ones where starting work is dear
CELL_EDGE = {"cpu": 32, "cuda": 128, "mps": 64}
# windows end at multiples of these: libraries of kernels keep a plan for each shape they meet
ROW_STEP, COLUMN_STEP = 4, 8
# pixels, along y and x, of a tile of xy views; and its slices: with the halo around them neighbouring pictures cost
# little more than one
TILE_EDGE = {"cpu": 64, "cuda": 256, "mps": 128}
SLAB_SLICES = 8


@dataclass(frozen=True, eq=False)
class _Grid:
    """Latent grids, (planes, C + 1, lateral, axial), of a rectangle of side views that are restored together."""

    rows: Span
    columns: Span
    latent: Tensor

    @property
    def nbytes(self) -> int:
        return self.latent.nbytes

    def __contains__(self, part: _CellPart) -> bool:
        return part.rows in self.rows and part.columns in self.columns

    def crop(self, part: _CellPart) -> Tensor:
        return self.latent[..., part.columns.slice_in(self.columns), part.rows.slice_in(self.rows)]


class _CellPart(NamedTuple):
    """The rows and columns of a cell that side views need."""

    cell: Hashable
    rows: Span
    columns: Span


class Latents:
    """Latent grids of one volume and one model.

    Every grid has the slice itself as one more, last, channel.

    Parameters
    ----------
    batch_budget : BatchBudget
        With the model.
    memory : Memory
        Where they are cached.
    owner : object
        Under which they are.
    """

    def __init__(self, batch_budget: BatchBudget, memory: Memory, owner: object) -> None:
        self._batch_budget, self._memory, self._owner = batch_budget, memory, owner

    @property
    def _model(self) -> Niiv:
        return self._batch_budget.model

    # side views

    def window(self, view: Resolved) -> tuple[Span, Span]:
        """Rows and columns of voxels that a side view needs."""
        (depth, width), (rows, columns) = view.size, view.window
        return rows.outward(ROW_STEP, depth), columns.outward(COLUMN_STEP, width)

    def strips(self, view: Resolved) -> list[Span]:
        """The window's columns in pieces that can be encoded at once, those in the middle first."""
        (depth, width), (rows, columns) = view.size, self.window(view)
        edge, height = self._edge, len(rows.padded(self._model.halo, depth))
        pixels = self._batch_budget.batch_pixels * self._model.cell[1]  # those of a cell are one to the network
        fitting = (pixels // height - 2 * self._model.lateral_halo) // edge * edge
        pieces = [piece.intersection(columns) for piece in columns.tiles(max(edge, fitting), width)]
        return sorted(pieces, key=lambda piece: piece.offset_from(columns))

    def is_cached(self, view: Resolved, orientation: Orientation, columns: Span) -> bool:
        """Whether all that one orientation of some columns of a side view needs is cached."""
        lines = self._parts(view, orientation, self._together(view, orientation), self.window(view)[0], columns)
        return all(self._cached_part(part) is not None for line in lines for part in line)

    def of_strip(
        self, view: Resolved, orientation: Orientation, columns: Span, read: Read, interrupt: Interrupt
    ) -> Tensor:
        """Latent grid of some columns of a side view: (1, C + 1, lateral, axial), cached or encoded."""
        rows, _ = self.window(view)
        planes = self._together(view, orientation)
        own = slice(view.index - planes.lo, view.index - planes.lo + 1)
        lines = self._parts(view, orientation, planes, rows, columns)
        parts = [part for line in lines for part in line]
        grids = {part: grid for part in parts if (grid := self._cached_part(part)) is not None}
        missing = [part for part in parts if part not in grids]
        if missing:
            # the bounding box of what is missing: everything after a scroll, a strip after a pan
            new_rows = Span.hull(part.rows for part in missing)
            new_columns = Span.hull(part.columns for part in missing)
            if grids:  # whole cells, so that the next step of the pan finds them
                depth, width = view.size
                new_rows = new_rows.outward(self._edge, depth)
                new_columns = new_columns.outward(self._edge, width)
            latent = self._encode(view, orientation, view.box(new_rows, new_columns, planes), read, interrupt)
            # the other orientation's slices have their lateral axis across the picture
            latent = latent if orientation == view.plane else latent.permute(2, 1, 0, 3)
            encoded = _Grid(new_rows, new_columns, latent)
            for line in self._parts(view, orientation, planes, new_rows, new_columns):
                for part in line:
                    if self._cached_part(part) is None:
                        self._put(part.cell, _Grid(part.rows, part.columns, encoded.crop(part).clone()))
            if not grids:
                return latent[own]
            grids |= {part: encoded.crop(part) for part in missing}
        joined = [torch.cat([grids[part][own] for part in line], dim=-1) for line in lines]
        return joined[0] if len(joined) == 1 else torch.cat(joined, dim=-2)

    def _together(self, view: Resolved, orientation: Orientation) -> Span:
        """The planes, that of a side view among them, which the cells of the network restore together."""
        slices, pixels = self._model.cell
        edge = slices if orientation == view.plane else pixels
        return Span(view.index, view.index + 1).outward(edge, view.shape[AXES[view.plane][0]])

    def _parts(
        self, view: Resolved, orientation: Orientation, planes: Span, rows: Span, columns: Span
    ) -> list[list[_CellPart]]:
        """The cells of a window of some planes: a line for each step along the lateral axis."""
        edge, (depth, width) = self._edge, view.size
        slice_key = (view.plane, planes.lo, *self._key(view, orientation))
        return [
            [
                _CellPart((*slice_key, row.lo, column.lo), row.intersection(rows), column.intersection(columns))
                for row in rows.tiles(edge, depth)
            ]
            for column in columns.tiles(edge, width)
        ]

    def _cached_part(self, part: _CellPart) -> Tensor | None:
        grid = self._get(part.cell)
        return grid.crop(part) if isinstance(grid, _Grid) and part in grid else None

    @property
    def _edge(self) -> int:
        return CELL_EDGE[self._model.device.type]

    # xy views between slices

    def tiles(self, view: Resolved, depth: Span) -> list[Box]:
        """The tiles of an xy view through some slices, those in the middle of the window first."""
        _, height, width = view.shape
        edge = TILE_EDGE[self._model.device.type]
        rows, columns = view.window
        tiles = [Box(depth, y, x) for y in rows.tiles(edge, height) for x in columns.tiles(edge, width)]

        return sorted(tiles, key=lambda tile: max(tile.y.offset_from(rows), tile.x.offset_from(columns)))

    def slabs(self, view: Resolved, tile: Box) -> list[Box]:
        """The slabs of slices, encoded together, that the slices of a tile lie in."""
        return [Box(slab, tile.y, tile.x) for slab in tile.z.tiles(SLAB_SLICES, view.shape[0])]

    def of_tile(self, view: Resolved, orientation: Orientation, tile: Box, read: Read, interrupt: Interrupt) -> Tensor:
        """Latent grids of one orientation through a tile: (slices, C + 1, lateral, z), cached or encoded."""
        parts = []
        for slab in self.slabs(view, tile):
            latent = self.cached(view, orientation, slab)
            if latent is None:
                latent = self._encode(view, orientation, slab, read, interrupt)
                self.cache(view, orientation, slab, latent)
            parts.append(latent[..., tile.z.intersection(slab.z).slice_in(slab.z)])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def cached(self, view: Resolved, orientation: Orientation, key: Hashable) -> Tensor | None:
        """What is cached of an xy view under a key, such as the latent grids of a slab, or None."""
        value = self._get(("xy", *self._key(view, orientation), key))
        return value if isinstance(value, Tensor) else None

    def cache(self, view: Resolved, orientation: Orientation, key: Hashable, value: Tensor) -> None:
        """Cache something of an xy view under a key."""
        self._put(("xy", *self._key(view, orientation), key), value)

    # both

    def _key(self, view: Resolved, orientation: Orientation) -> tuple[Hashable, ...]:
        return orientation, view.leading, view.coarsening, view.denoise, str(self._model.device)

    def _encode(self, view: Resolved, orientation: Orientation, box: Box, read: Read, interrupt: Interrupt) -> Tensor:
        """Encode the slices of one orientation through a box: (slices, C + 1, lateral, axial)."""
        model = self._model
        (across, lateral, axial), (s, r) = SLICE_AXES[orientation], model.cell
        edges, halo = {across: s, lateral: r}, {across: model.context, lateral: model.lateral_halo, axial: model.halo}
        cells = Box.of(span.outward(edges.get(axis, 1), view.shape[axis]) for axis, span in enumerate(box))
        padded = cells.padded(three(halo[axis] for axis in range(3)), view.shape)
        slices = read(padded).permute(SLICE_AXES[orientation])
        inside = box.slices_in(padded)
        wanted, kept, depth = (inside[axis] for axis in SLICE_AXES[orientation])
        batches = encode_slices(
            model,
            slices,
            wanted,
            (kept, depth),
            view.anisotropy,
            self._batch_budget.batch_pixels,
            interrupt,
            (padded[across].lo, padded[lateral].lo),
            view.denoise,
        )
        own = slices[wanted, kept, depth]
        out = own.new_empty(*own.shape, model.decoder.latent_channels + 1)  # samples side by side, as they are decoded
        out[..., -1] = own
        for part, latent in batches:
            out[part.start - wanted.start : part.stop - wanted.start, ..., :-1] = latent.permute(0, 2, 3, 1)
        return out.permute(0, 3, 1, 2)

    def _get(self, key: Hashable) -> object:
        return self._memory.latents(self._model.device).get(self._owner, key)

    def _put(self, key: Hashable, value: Tensor | _Grid) -> None:
        self._memory.latents(self._model.device).put(self._owner, key, value)
