"""xy views between the measured slices: restored piece by piece, from the middle outwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.latents import Latents, Read, Side, Tile
from napari_niiv.reconstruction.requests import AXES
from napari_niiv.reconstruction.resolve import Resolved
from napari_niiv.reconstruction.trust import project


def restore_flat(
    model: Niiv,
    latents: Latents,
    view: Resolved,
    side: Side,
    read: Read,
    interrupt: Callable[[], None],
    end: float,
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
    end : float
        Time (`time.perf_counter`) from which on nothing more is encoded.
    projection : Degradation, optional
        To project onto what was measured.

    Yields
    ------
    tile : Tile
    picture : Tensor, shape (y, x), or None
        None if there was no time for it.
    """
    support = _support(view)
    for tile in latents.tiles(view):
        about = ("picture", view.position, projection is not None)
        picture = latents.kept(view, side, tile, about)
        if picture is None:
            slabs = [latents.kept(view, side, tile, z) for z in latents.slabs(view, support)]
            if any(slab is None for slab in slabs) and time.perf_counter() > end:
                yield tile, None
                continue
            interrupt()
            stack = latents.of_tile(view, side, tile, support, read, interrupt)
            picture = _decode(model, stack, view, side, tile, support, projection)
            # small, unlike the latent grids: a view larger than their memory is completed all the same
            latents.keep(view, side, tile, about, picture)
        yield tile, picture


def flat_held(latents: Latents, view: Resolved, side: Side) -> bool:
    """Whether nothing of an xy view would have to be encoded."""
    slabs = latents.slabs(view, _support(view))
    return all(
        latents.kept(view, side, tile, slab) is not None for tile in latents.tiles(view) for slab in slabs
    )


def _support(view: Resolved) -> Span:
    return _position(view).support(view.shape[0]).grown(view.margin, view.shape[0])


def _position(view: Resolved) -> Sampling:
    return Sampling(view.position, min(1.0, 1 / view.anisotropy), 1)


def _decode(
    model: Niiv,
    stack: Tensor,
    view: Resolved,
    side: Side,
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
