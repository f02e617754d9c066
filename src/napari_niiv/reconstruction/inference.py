"""From normalised slices to latent grids and intensities, in batches that bound memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_niiv.geometry import Box, Sampling, Shape
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BATCH_PIXELS
from napari_niiv.reconstruction.planes import SLICE_AXES, Orientation


def encode_slices(
    model: Niiv,
    slices: Tensor,
    wanted: slice,
    kept: tuple[slice, slice],
    anisotropy: float,
    batch_pixels: int | None = None,
    interrupt: Interrupt = never,
) -> Iterator[tuple[slice, Tensor]]:
    """Latent grids of consecutive slices, batch by batch.

    Parameters
    ----------
    model : Niiv
    slices : Tensor, shape (slices, lateral, axial)
        Normalised, with k more slices on both sides of `wanted` where the volume has them; missing neighbours are
        continued by replication.
    wanted : slice
        Which slices to encode.
    kept : (slice, slice)
        Lateral and axial pixels to keep: the rest is halo.
    anisotropy : float
        Axial over lateral voxel size.
    batch_pixels : int, optional
        Pixels given to the network at once.
    interrupt : Interrupt
        Called between the layers of the network.

    Yields
    ------
    part : slice
        The slices of `slices` that the batch restores.
    latent : Tensor, shape (batch, C, kept lateral, kept axial)
    """
    offsets = torch.arange(-model.context, model.context + 1, device=slices.device)
    _, lateral, axial = slices.shape
    budget = batch_pixels or BATCH_PIXELS[slices.device.type]
    size = max(1, budget // (lateral * axial))
    source = slices.to(model.encoder.dtype)
    for first in range(wanted.start, wanted.stop, size):
        part = slice(first, min(first + size, wanted.stop))
        centres = torch.arange(part.start, part.stop, device=slices.device)
        neighbours = (centres[:, None] + offsets).clamp(0, len(slices) - 1)
        batch = source[neighbours].contiguous(memory_format=torch.channels_last)
        yield part, model.encode(batch, anisotropy, interrupt, kept)


@torch.inference_mode()
def restore_slices(
    model: Niiv,
    slices: Tensor,
    anisotropy: float,
    axial: Sampling,
    wanted: slice,
    kept: tuple[slice, slice],
    batch_pixels: int | None = None,
    frame: Frame | None = None,
    interrupt: Interrupt = never,
) -> Tensor:
    """Encode and decode consecutive slices; arguments as in `encode_slices`.

    `axial` counts from the first pixel kept, and `frame` is that of what is kept.

    Returns
    -------
    Tensor, shape (wanted, kept, axial.count), float32
    """
    out = None
    for part, latent in encode_slices(model, slices, wanted, kept, anisotropy, batch_pixels, interrupt):
        values = model.decode(latent, slices[part, kept[0], kept[1]], axial, anisotropy, frame)
        if out is None:
            out = values.new_empty(wanted.stop - wanted.start, *values.shape[1:])
        out[part.start - wanted.start : part.stop - wanted.start] = values
    assert out is not None
    return out


@torch.inference_mode()
def restore_box(
    model: Niiv,
    voxels: Tensor,
    anisotropy: float,
    axial: Sampling,
    orientations: tuple[Orientation, ...],
    core: Box | None = None,
    batch_pixels: int | None = None,
    origin: Shape = (0, 0, 0),
    shape: Shape | None = None,
    interrupt: Interrupt = never,
) -> Tensor:
    """Reconstruct a box of a normalised volume; the mean of the orientations asked for.

    Parameters
    ----------
    model : Niiv
    voxels : Tensor, shape (z, y, x)
        With their halo, as far as the volume reaches.
    anisotropy : float
        Axial over lateral voxel size.
    axial : Sampling
        Output positions along z, in these voxels.
    orientations : tuple of {"xz", "yz"}
    core : Box, optional
        Which of these voxels are no halo; all by default. Along z it holds the support of `axial`.
    batch_pixels : int, optional
        Pixels given to the network at once.
    origin, shape : tuple of int, optional
        First of these voxels in the volume, and the volume's shape; by default they are the volume.
    interrupt : Interrupt
        Called between the layers of the network.

    Returns
    -------
    Tensor, shape (axial.count, y, x) of the core, float32
    """
    core, size = core or Box.whole(voxels.shape), shape or voxels.shape
    placed = core.shifted(origin)
    total = None
    for orientation in orientations:
        order = SLICE_AXES[orientation]
        across, lateral, depth = (core[axis] for axis in order)
        place = placed[order[1]]
        restored = restore_slices(
            model,
            voxels.permute(order),
            anisotropy,
            axial.relative_to(depth.lo),
            across.slice,
            (lateral.slice, depth.slice),
            batch_pixels,
            Frame(placed.z.lo, size[0], cell_centres(place.lo, place.hi, size[order[1]])[None]),
            interrupt,
        )
        restored = restored.permute(2, 0, 1) if orientation == "xz" else restored.permute(2, 1, 0)
        total = restored if total is None else total.add_(restored)
    assert total is not None
    return total if len(orientations) == 1 else total.div_(len(orientations))
