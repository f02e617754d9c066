"""Latent grids of what a view shows: kept in cells, so that only what is new is read and encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.memory import Memory, Workspace
from napari_niiv.reconstruction.requests import AXES, Plane
from napari_niiv.reconstruction.resolve import Resolved
from napari_niiv.reconstruction.source import Box
from napari_niiv.reconstruction.stack import ORIENTATION, encode_stack

Side = Plane
"""Orientation of the slices that the network restores: "xz" or "yz"."""
Read = Callable[[Box], NDArray[np.float32]]
"""Normalised voxels of a box of the level of a view."""

_EDGE = {
    "cpu": 32,
    "cuda": 128,
    "mps": 64,
}  # voxels of a side view's cell: few and large where starting work is dear
_FLAT = {"cpu": 64, "cuda": 256, "mps": 128}  # pixels, along y and x, of an xy view's cell
_THICK = 8  # and its slices: with the halo around them, neighbouring pictures cost little more than one

_Key = tuple[Any, ...]


@dataclass(frozen=True)
class Cell:
    """A box of voxels whose latent grids are kept together; its y and x are whole cells of the xy grid."""

    z: Span
    y: Span
    x: Span


class Latents:
    """Latent grids of one volume and one model.

    Every grid has the slice itself as one more, last, channel.

    Parameters
    ----------
    workspace : Workspace
    memory : Memory
    owner : object
        Under which they are kept.
    """

    def __init__(self, workspace: Workspace, memory: Memory, owner: object) -> None:
        self._workspace, self._memory, self._owner = workspace, memory, owner

    @property
    def _model(self) -> Niiv:
        return self._workspace.model

    # side views

    def window(self, view: Resolved) -> tuple[Span, Span]:
        """Rows and columns of whole cells that a side view needs."""
        edge, sizes = self._edge, (view.shape[0], view.shape[AXES[view.plane][2]])
        rows, columns = view.rows.support(sizes[0]), view.columns.support(sizes[1])
        rows = rows.grown(view.margin, sizes[0])
        return _outward(rows, edge, sizes[0]), _outward(columns, edge, sizes[1])

    def holds_side(self, view: Resolved, side: Side) -> bool:
        """Whether all that a side view needs of one orientation is kept."""
        return all(
            self._get(key) is not None for line in self._keys(view, side, *self.window(view)) for key in line
        )

    def of_side(
        self, view: Resolved, side: Side, read: Read, interrupt: Callable[[], None]
    ) -> tuple[Tensor, Tensor]:
        """Latent grid (1, C, lateral, axial) and slice (1, lateral, axial) of the window of a side view."""
        rows, columns = self.window(view)
        keys = self._keys(view, side, rows, columns)
        held = {key: self._get(key) for line in keys for key in line}
        missing = [key for key, value in held.items() if value is None]
        if missing:
            # the bounding box of what is missing: everything after a scroll, a strip after a pan
            edge, size = self._edge, view.shape[AXES[view.plane][2]]
            new_rows = _outward(_hull(row for *_, row, _ in missing), edge, view.shape[0])
            new_columns = _outward(_hull(column for *_, column in missing), edge, size)
            depth = len(new_rows.grown(self._model.halo, view.shape[0]))
            step = max(edge, (self._workspace.batch_pixels // depth - 2 * self._model.halo) // edge * edge)
            for piece in new_columns.tiles(step, size) if step < len(new_columns) else [new_columns]:
                part = Span(max(piece.lo, new_columns.lo), min(piece.hi, new_columns.hi))
                encoded = self._encode_side(view, side, new_rows, part, read, interrupt)
                for row in new_rows.tiles(edge, view.shape[0]):
                    for column in part.tiles(edge, size):
                        cell = encoded[..., column.slice_in(part), row.slice_in(new_rows)].clone()
                        key = (*self._about(view, side), row.lo, column.lo)
                        held[key] = cell
                        self._put(key, cell)
        lines = [torch.cat([held[key] for key in line], dim=-1) for line in keys]  # type: ignore[misc]
        whole = lines[0] if len(lines) == 1 else torch.cat(lines, dim=-2)
        return whole[:, :-1], whole[:, -1]

    def _encode_side(
        self,
        view: Resolved,
        side: Side,
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

    def _keys(self, view: Resolved, side: Side, rows: Span, columns: Span) -> list[list[_Key]]:
        """Keys of the cells of a window: a line for each step along the lateral axis."""
        about, edge = self._about(view, side), self._edge
        size = view.shape[AXES[view.plane][2]]
        return [
            [(*about, row.lo, column.lo) for row in rows.tiles(edge, view.shape[0])]
            for column in columns.tiles(edge, size)
        ]

    def _about(self, view: Resolved, side: Side) -> _Key:
        return (view.plane, side, view.leading, view.index, view.coarsening, str(self._model.device))

    @property
    def _edge(self) -> int:
        return _EDGE[self._model.device.type]

    # xy views between slices

    def cells(self, view: Resolved) -> list[Cell]:
        """The cells that an xy view needs, those in the middle of the window first."""
        depth, height, width = view.shape
        flat = _FLAT[self._model.device.type]
        z = _outward(Sampling(view.position, 1.0, 1).support(depth).grown(view.margin, depth), _THICK, depth)
        rows, columns = view.rows.support(height), view.columns.support(width)
        middle = ((rows.lo + rows.hi) / 2, (columns.lo + columns.hi) / 2)
        found = [
            Cell(slab, y, x)
            for slab in z.tiles(_THICK, depth)
            for y in rows.tiles(flat, height)
            for x in columns.tiles(flat, width)
        ]
        return sorted(
            found,
            key=lambda c: max(abs((c.y.lo + c.y.hi) / 2 - middle[0]), abs((c.x.lo + c.x.hi) / 2 - middle[1])),
        )

    def of_cell(self, view: Resolved, side: Side, cell: Cell) -> Tensor | None:
        """What is kept of a cell: (slices, C + 1, lateral, axial), or None."""
        return self._get(self._cell_key(view, side, cell))

    def encode_cell(
        self, view: Resolved, side: Side, cell: Cell, read: Read, interrupt: Callable[[], None]
    ) -> None:
        """Encode and keep a cell of an xy view."""
        encoded = self._encode(view, side, (cell.z, cell.y, cell.x), read, interrupt)
        self._put(self._cell_key(view, side, cell), encoded)

    def _cell_key(self, view: Resolved, side: Side, cell: Cell) -> _Key:
        about = ("xy", side, view.leading, view.coarsening, str(self._model.device))
        return (*about, cell.z.lo, cell.y.lo, cell.x.lo)

    # both

    def _encode(
        self, view: Resolved, side: Side, box: Box, read: Read, interrupt: Callable[[], None]
    ) -> Tensor:
        """Encode the slices of one orientation through a box: (slices, C + 1, lateral, axial)."""
        model = self._model
        across, _, lateral = AXES[side]
        reach = {0: model.halo, across: model.context, lateral: model.halo}
        wide = [span.grown(reach[axis], view.shape[axis]) for axis, span in enumerate(box)]
        values = read((wide[0], wide[1], wide[2]))
        stack = torch.from_numpy(values).to(model.device).permute(ORIENTATION[side])
        wanted, kept, depth = (box[axis].slice_in(wide[axis]) for axis in (across, lateral, 0))
        parts = [
            torch.cat([latent.float(), stack[part, kept, depth][:, None]], dim=1)
            for part, latent in encode_stack(
                model,
                stack,
                wanted,
                (kept, depth),
                view.anisotropy,
                self._workspace.batch_pixels,
                interrupt,
            )
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _get(self, key: _Key) -> Tensor | None:
        return self._memory.latents(self._model.device).get(self._owner, key)

    def _put(self, key: _Key, value: Tensor) -> None:
        self._memory.latents(self._model.device).put(self._owner, key, value)


def _hull(starts: Iterable[int]) -> Span:
    """The span from the first of some voxels to the last."""
    voxels = list(starts)
    return Span(min(voxels), max(voxels) + 1)


def _outward(span: Span, edge: int, size: int) -> Span:
    """A span widened to whole cells."""
    return Span(span.lo // edge * edge, min(-(-span.hi // edge) * edge, size))
