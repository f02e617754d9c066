"""xy views between the measured slices: restored piece by piece, from the middle outwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.trust import project
from napari_niiv.reconstruction.views.deadline import Deadline
from napari_niiv.reconstruction.views.latents import Latents, Orientation, Read, Tile
from napari_niiv.reconstruction.views.request import AXES
from napari_niiv.reconstruction.views.resolve import Resolved


def restore_xy(
    model: Niiv,
    latents: Latents,
    view: Resolved,
    side: Orientation,
    read: Read,
    interrupt: Callable[[], None],
    patience: Deadline,
    projection: Degradation | None,
) -> Iterator[tuple[Tile, Tensor | None]]:
    """What one orientation restores of an xy view.

    Parameters
    ----------
    model : Niiv
    latents : Latents
    view : Resolved
    side : {"xz", "yz"}
    read : callable
    interrupt : callable
        Called often; may raise to give up.
    patience : Deadline
        When it ends nothing more is encoded.
    projection : Degradation, optional
        To project onto what was measured.

    Yields
    ------
    tile : Tile
    picture : Tensor, shape (y, x), or None
        None if there was no time for it.
    """
    support, tiles = _support(view), latents.tiles(view)
    missing = {tile for tile in tiles if not _held(latents, view, side, tile)}
    done = 0
    for tile in tiles:
        about = ("picture", view.position, projection is not None)
        picture = latents.kept(view, side, tile, about)
        if picture is None:
            if tile in missing and patience.ends(done, len(missing)):
                yield tile, None
                continue
            interrupt()
            stack = latents.of_tile(view, side, tile, support, read, interrupt)
            picture = _decode(model, stack, view, side, tile, support, projection)
            # small, unlike the latent grids: a view larger than their memory is completed all the same
            latents.keep(view, side, tile, about, picture)
            done += tile in missing
        yield tile, picture


def xy_is_cached(latents: Latents, view: Resolved, side: Orientation) -> bool:
    """Whether nothing of an xy view would have to be encoded."""
    return all(_held(latents, view, side, tile) for tile in latents.tiles(view))


def _held(latents: Latents, view: Resolved, side: Orientation, tile: Tile) -> bool:
    slabs = latents.slabs(view, _support(view))
    return all(latents.kept(view, side, tile, slab) is not None for slab in slabs)


def _support(view: Resolved) -> Span:
    return _position(view).support(view.shape[0]).padded(view.margin, view.shape[0])


def _position(view: Resolved) -> Sampling:
    return Sampling(view.position, min(1.0, 1 / view.anisotropy), 1)


def _decode(
    model: Niiv,
    stack: Tensor,
    view: Resolved,
    side: Orientation,
    tile: Tile,
    z: Span,
    projection: Degradation | None,
) -> Tensor:
    """The pixels of a tile at the view's position; shape (y, x)."""
    latent, centre = stack[:, :-1], stack[:, -1]
    across, _, lateral = AXES[side]
    span = tile.x if lateral == 2 else tile.y
    frame = Frame(z.lo, view.shape[0], cell_centres(span.lo, span.hi, view.shape[lateral])[None])
    position = _position(view).relative_to(z.lo)
    if projection is None:
        values = model.decode(latent, centre, position, view.anisotropy, frame)[..., 0]
    else:
        factor = max(1, round(view.anisotropy))
        positions = Sampling.covering(len(z), len(z) * factor)
        columns = project(model.decode(latent, centre, positions, view.anisotropy, frame), centre, projection)
        nearest = round((position.start + 0.5) * factor - 0.5)
        values = columns[..., min(max(nearest, 0), columns.shape[-1] - 1)]
    return (values if across == 1 else values.T).to(torch.float32, copy=True)
