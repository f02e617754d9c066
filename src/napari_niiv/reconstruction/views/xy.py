"""xy views between the measured slices: restored tile by tile, from the middle outwards."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import torch
from torch import Tensor

from napari_niiv.geometry import Box, Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.reconstruction.planes import AXES, Orientation
from napari_niiv.reconstruction.trust import project
from napari_niiv.reconstruction.views.latents import Latents
from napari_niiv.reconstruction.views.picture import (
    Maps,
    PictureTask,
    RestoredPicture,
    measured_plane,
    resample_plane,
)
from napari_niiv.reconstruction.views.resolve import Resolved


@torch.inference_mode()
def restore_xy(task: PictureTask) -> RestoredPicture:
    """Restore the picture of an xy view, from the tiles for which there is time."""
    view = task.view
    y, x = view.window
    linear = measured_plane(view, task.read, y, x)
    complete, restored = True, list[Tensor]()
    for orientation in task.orientations:
        # where there was no time yet the other orientation stands, or the interpolation
        values = (restored[0] if restored else linear).clone()
        for tile, picture in _restore_tiles(task, orientation):
            if picture is None:
                complete = False
                continue
            rows, columns = tile.y.intersection(y), tile.x.intersection(x)
            part = picture[rows.slice_in(tile.y), columns.slice_in(tile.x)]
            values[rows.slice_in(y), columns.slice_in(x)] = part
        restored.append(values)

    def picture_of(plane: Tensor, reach: float = 1.0) -> Tensor:
        return resample_plane(plane, view.rows.relative_to(y.lo), view.columns.relative_to(x.lo), reach)

    values = restored[0] if len(restored) == 1 else torch.stack(restored).mean(0)
    maps: Maps = {}
    if task.compares:
        maps["disagreement"] = picture_of((restored[0] - restored[1]).abs(), view.smoothing)
    return RestoredPicture(picture_of(values), maps, complete)


def xy_is_cached(latents: Latents, view: Resolved, orientation: Orientation) -> bool:
    """Whether nothing of an xy view would have to be encoded."""
    return all(_encoded(latents, view, orientation, tile) for tile in latents.tiles(view, _depth(view)))


def _restore_tiles(task: PictureTask, orientation: Orientation) -> Iterator[tuple[Box, Tensor | None]]:
    """The tiles of the view with their pictures (y, x) by one orientation; None if there was no time for one."""
    latents, view = task.latents, task.view

    def key(tile: Box) -> Hashable:
        return tile, view.position, task.project

    def restore(tile: Box) -> Tensor:
        picture = latents.cached(view, orientation, key(tile))
        if picture is None:
            task.interrupt()
            grids = latents.of_tile(view, orientation, tile, task.read, task.interrupt)
            picture = _decode(task, orientation, tile, grids)
            # small, unlike the latent grids: a view larger than their memory is completed all the same
            latents.cache(view, orientation, key(tile), picture)
        return picture

    tiles = latents.tiles(view, _depth(view))
    missing = [
        tile
        for tile in tiles
        if not _encoded(latents, view, orientation, tile) and latents.cached(view, orientation, key(tile)) is None
    ]
    return task.deadline.in_time(tiles, missing, restore)


def _encoded(latents: Latents, view: Resolved, orientation: Orientation, tile: Box) -> bool:
    return all(latents.cached(view, orientation, slab) is not None for slab in latents.slabs(view, tile))


def _depth(view: Resolved) -> Span:
    """The slices that the picture needs."""
    return _position(view).support(view.shape[0]).padded(view.margin, view.shape[0])


def _position(view: Resolved) -> Sampling:
    return Sampling(view.position, min(1.0, 1 / view.anisotropy), 1)


def _decode(task: PictureTask, orientation: Orientation, tile: Box, grids: Tensor) -> Tensor:
    """The pixels of a tile at the view's position, (y, x)."""
    view, z = task.view, tile.z
    latent, centre = grids[:, :-1], grids[:, -1]
    across, _, lateral = AXES[orientation]
    centres = cell_centres(tile[lateral].lo, tile[lateral].hi, view.shape[lateral])
    frame = Frame(z.lo, view.shape[0], centres[None])
    position = _position(view).relative_to(z.lo)
    if not task.project:
        values = task.model.decode(latent, centre, position, view.anisotropy, frame)[..., 0]
    else:
        factor = max(1, round(view.anisotropy))
        positions = Sampling.covering(len(z), len(z) * factor)
        fine = task.model.decode(latent, centre, positions, view.anisotropy, frame)
        columns = project(fine, centre, task.degradation)
        nearest = round((position.start + 0.5) * factor - 0.5)
        values = columns[..., min(max(nearest, 0), columns.shape[-1] - 1)]
    return (values if across == 1 else values.T).to(torch.float32, copy=True)
