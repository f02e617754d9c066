"""From normalised slices to latent grids and intensities, in batches that bound memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from napari_niiv.geometry import Sampling
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BATCH_PIXELS


def encode_slices(
    model: Niiv,
    stack: Tensor,
    wanted: slice,
    kept: tuple[slice, slice],
    anisotropy: float,
    batch_pixels: int | None = None,
    interrupt: Callable[[], None] | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Latent grids of consecutive slices, batch by batch.

    Parameters
    ----------
    model : Niiv
    stack : Tensor, shape (slices, lateral, axial)
        Normalised, with k more slices on both sides of `wanted` where the volume has them; missing neighbours are
        continued by replication.
    wanted : slice
        Which slices to encode.
    kept : (slice, slice)
        Lateral and axial pixels to keep: the rest is halo.
    anisotropy : float
    batch_pixels : int, optional
        Pixels given to the network at once.
    interrupt : callable, optional
        Called often; may raise to give up.

    Yields
    ------
    part : slice
        The slices of `stack` that the batch restores.
    latent : Tensor, shape (batch, C, kept lateral, kept axial)
    """
    offsets = torch.arange(-model.context, model.context + 1, device=stack.device)
    _, lateral, axial = stack.shape
    budget = batch_pixels or BATCH_PIXELS[stack.device.type]
    size = max(1, budget // (lateral * axial))
    source = stack.to(model.encoder.dtype)
    for first in range(wanted.start, wanted.stop, size):
        part = slice(first, min(first + size, wanted.stop))
        centres = torch.arange(part.start, part.stop, device=stack.device)
        neighbours = (centres[:, None] + offsets).clamp(0, len(stack) - 1)
        slices = source[neighbours].contiguous(memory_format=torch.channels_last)
        yield part, model.encode(slices, anisotropy, interrupt, kept)


@torch.inference_mode()
def restore_slices(
    model: Niiv,
    stack: Tensor,
    anisotropy: float,
    axial: Sampling,
    wanted: slice,
    kept: tuple[slice, slice],
    batch_pixels: int | None = None,
    frame: Frame | None = None,
    interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """Encode and decode consecutive slices; arguments as in `encode_slices`.

    `axial` counts from the first pixel kept, and `frame` is that of what is kept.

    Returns
    -------
    Tensor, shape (wanted, kept, axial.count), float32
    """
    out = None
    for part, latent in encode_slices(model, stack, wanted, kept, anisotropy, batch_pixels, interrupt):
        values = model.decode(latent, stack[part, kept[0], kept[1]], axial, anisotropy, frame)
        if out is None:
            out = values.new_empty(wanted.stop - wanted.start, *values.shape[1:])
        out[part.start - wanted.start : part.stop - wanted.start] = values
    assert out is not None
    return out


ORIENTATION = {"xz": (1, 2, 0), "yz": (2, 1, 0)}
"""Axes (z, y, x) of a volume in the order (slices, lateral, axial) of each plane."""


@torch.inference_mode()
def restore_box(
    model: Niiv,
    box: Tensor,
    anisotropy: float,
    axial: Sampling,
    planes: tuple[str, ...],
    y: slice | None = None,
    x: slice | None = None,
    z: slice | None = None,
    batch_pixels: int | None = None,
    start: tuple[int, int, int] = (0, 0, 0),
    shape: tuple[int, int, int] | None = None,
    interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """Reconstruct a box of a normalised volume; the mean of the planes asked for.

    Parameters
    ----------
    model : Niiv
    box : Tensor, shape (z, y, x)
        With its halo, as far as the volume reaches.
    anisotropy : float
    axial : Sampling
        Output positions along z, in voxels of the box.
    planes : tuple of str
        "xz", "yz" or both.
    y, x, z : slice, optional
        The part of the box without the halo; all of it by default. `z` holds the support of `axial`.
    batch_pixels : int, optional
        Pixels given to the network at once.
    start, shape : tuple of int, optional
        First voxel of the box in the volume, and the volume's shape; by default the box is the volume.
    interrupt : callable, optional
        Called often; may raise to give up.

    Returns
    -------
    Tensor, shape (axial.count, y, x), float32
    """
    core = {"xz": (y or slice(0, box.shape[1])), "yz": (x or slice(0, box.shape[2]))}
    whole, depth = shape or box.shape, z or slice(0, box.shape[0])
    total = None
    for plane in planes:
        order = ORIENTATION[plane]
        lateral = core["yz" if plane == "xz" else "xz"]
        offset = start[order[1]]
        centres = cell_centres(offset + lateral.start, offset + lateral.stop, whole[order[1]])
        restored = restore_slices(
            model,
            box.permute(order),
            anisotropy,
            axial.relative_to(depth.start),
            core[plane],
            (lateral, depth),
            batch_pixels,
            Frame(start[0] + depth.start, whole[0], centres[None]),
            interrupt,
        )
        restored = restored.permute(2, 0, 1) if plane == "xz" else restored.permute(2, 1, 0)
        total = restored if total is None else total.add_(restored)
    assert total is not None
    return total if len(planes) == 1 else total.div_(len(planes))
