"""xy views between the measured slices: restored cell by cell, from the middle outwards."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.latents import Cell, Latents, Read, Side
from napari_niiv.reconstruction.requests import AXES
from napari_niiv.reconstruction.resolve import Resolved
from napari_niiv.reconstruction.trust import project


def encode_flat(
    latents: Latents,
    view: Resolved,
    sides: Sequence[Side],
    read: Read,
    interrupt: Callable[[], None],
    patience: float,
) -> bool:
    """Encode what is missing for an xy view; gives up after `patience` seconds. Says whether it is complete."""
    end = time.perf_counter() + patience
    for side in sides:
        for cell in latents.cells(view):
            if latents.of_cell(view, side, cell) is not None:
                continue
            if time.perf_counter() > end:
                return False
            interrupt()
            latents.encode_cell(view, side, cell, read, interrupt)
    return True


def decode_flat(
    model: Niiv,
    latents: Latents,
    view: Resolved,
    side: Side,
    into: Tensor,
    y: Span,
    x: Span,
    projection: Degradation | None,
) -> None:
    """Write what one orientation restores of an xy view over a picture; what is not encoded stays as it is.

    Parameters
    ----------
    model : Niiv
    latents : Latents
    view : Resolved
    side : {"xz", "yz"}
    into : Tensor, shape (y, x)
        The pixels y, x of the level of the view.
    y, x : Span
    projection : Degradation, optional
        To project onto what was measured.
    """
    stacks = _stacks(latents, view, side)
    groups: dict[tuple[int, ...], list[tuple[Cell, Tensor]]] = defaultdict(list)
    for cell, latent in stacks:
        groups[latent.shape[1:]].append((cell, latent))
    across, _, lateral = AXES[side]
    for group in groups.values():  # cells of one shape are decoded at once
        cells = [cell for cell, _ in group]
        tensors = [latent for _, latent in group]
        places = []
        for cell, latent in group:
            span = (cell.z, cell.y, cell.x)[lateral]
            centres = cell_centres(span.lo, span.hi, view.shape[lateral])
            places.append(centres.expand(len(latent), -1))
        frame = Frame(cells[0].z.lo, view.shape[0], torch.cat(places))
        values = _decode(model, torch.cat(tensors), view, frame, cells[0].z, projection)
        for cell, part in zip(cells, values.split([len(t) for t in tensors]), strict=True):
            picture = part if across == 1 else part.T
            rows = Span(max(cell.y.lo, y.lo), min(cell.y.hi, y.hi))
            columns = Span(max(cell.x.lo, x.lo), min(cell.x.hi, x.hi))
            into[rows.slice_in(y), columns.slice_in(x)] = picture[
                rows.slice_in(cell.y), columns.slice_in(cell.x)
            ]


def _decode(
    model: Niiv, stack: Tensor, view: Resolved, frame: Frame, z: Span, projection: Degradation | None
) -> Tensor:
    """Values at the view's position; shape (slices, lateral)."""
    latent, centre = stack[:, :-1], stack[:, -1]
    position = Sampling(view.position - z.lo, 1.0, 1)
    if projection is None:
        return model.decode(latent, centre, position, view.anisotropy, frame)[..., 0]
    factor = max(1, round(view.anisotropy))
    columns = model.decode(latent, centre, Sampling.covering(len(z), len(z) * factor), view.anisotropy, frame)
    columns = project(columns, centre, projection)
    nearest = round((position.start + 0.5) * factor - 0.5)
    return columns[..., min(max(nearest, 0), columns.shape[-1] - 1)]


def _stacks(latents: Latents, view: Resolved, side: Side) -> list[tuple[Cell, Tensor]]:
    """Of each place that is encoded wholly, the slices around the view's position."""
    support = Sampling(view.position, 1.0, 1).support(view.shape[0]).grown(view.margin, view.shape[0])
    columns: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    for cell in latents.cells(view):
        columns[cell.y.lo, cell.x.lo].append(cell)
    found = []
    for slabs in columns.values():
        parts = []
        for cell in sorted(slabs, key=lambda c: c.z.lo):
            part = latents.of_cell(view, side, cell)
            if part is None:
                break
            z = Span(max(cell.z.lo, support.lo), min(cell.z.hi, support.hi))
            parts.append(part[..., z.slice_in(cell.z)])
        else:
            found.append((Cell(support, slabs[0].y, slabs[0].x), torch.cat(parts, dim=-1)))
    return found
