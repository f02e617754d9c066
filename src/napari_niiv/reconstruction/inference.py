"""From normalised slices to latent grids and intensities, in batches that bound memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from napari_niiv.geometry import Box, Sampling, Shape, Span
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.decoders import Frame, ReferenceDecoder, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BATCH_PIXELS
from napari_niiv.reconstruction.batches import Work, batches
from napari_niiv.reconstruction.planes import SLICE_AXES, Orientation


def encode_slices(
    model: Niiv,
    slices: Tensor,
    wanted: slice,
    kept: tuple[slice, slice],
    anisotropy: float,
    batch_pixels: int | None = None,
    interrupt: Interrupt = never,
    origin: tuple[int, int] = (0, 0),
    level: float = 0.0,
) -> Iterator[tuple[slice, Tensor]]:
    """Latent grids of consecutive slices, batch by batch.

    The cells of the network are anchored to the volume, not to these slices: what a cell restores depends neither on
    which of its slices and pixels are wanted nor on how they are batched.

    Parameters
    ----------
    model : Niiv
    slices : Tensor, shape (slices, lateral, axial)
        Normalised, with all slices of the cells that `wanted` touches and k more on both sides, as far as the volume
        has them; `lateral` begins with a cell and ends with one, or with the volume. What is missing is continued by
        replication.
    wanted : slice
        Which slices to encode.
    kept : (slice, slice)
        Lateral and axial pixels to keep: the rest is halo.
    anisotropy : float
        Axial over lateral voxel size.
    batch_pixels : int, optional
        Pixels given to the network at once.
    interrupt : Interrupt
        Called between the layers of the network; before all of them at once where a recording is replayed.
    origin : (int, int)
        First slice and first lateral pixel of `slices` in the volume.
    level : float
        Noise level, as `Niiv.encode` takes it.

    Yields
    ------
    part : slice
        The slices of `slices` that the batch restores.
    latent : Tensor, shape (batch, C, kept lateral, kept axial)
    """
    work = Work(model, _spans(kept), anisotropy, level)
    pixels = batch_pixels or BATCH_PIXELS[slices.device.type]
    for batch in batches(model, slices.shape, wanted, origin[0], pixels):
        yield batch.part.slice, work(batch, slices, interrupt)


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
    origin: tuple[int, int] = (0, 0),
    level: float = 0.0,
) -> Tensor:
    """Encode and decode consecutive slices; arguments as in `encode_slices`.

    `axial` counts from the first pixel kept, and `frame` is that of what is kept.

    Returns
    -------
    Tensor, shape (wanted, kept, axial.count), float32
    """
    work = Work(model, _spans(kept), anisotropy, level, axial, frame)
    pixels = batch_pixels or BATCH_PIXELS[slices.device.type]
    out = None
    for batch in batches(model, slices.shape, wanted, origin[0], pixels):
        values = work(batch, slices, interrupt)
        if len(values) == wanted.stop - wanted.start:
            return values
        if out is None:
            out = values.new_empty(wanted.stop - wanted.start, *values.shape[1:])
        out[batch.part.lo - wanted.start : batch.part.hi - wanted.start] = values
    assert out is not None
    return out


def _frame(model: Niiv, z: Span, depth: int, lateral: Span, width: int) -> Frame | None:
    """Where a box lies in the slices of the volume, for the decoder that asks."""
    if not isinstance(model.decoder, ReferenceDecoder):
        return None
    return Frame(z.lo, depth, cell_centres(lateral.lo, lateral.hi, width)[None])


def _spans(kept: tuple[slice, slice]) -> tuple[Span, Span]:
    return Span(kept[0].start, kept[0].stop), Span(kept[1].start, kept[1].stop)


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
    level: float = 0.0,
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
    level : float
        Noise level, as `Niiv.encode` takes it.

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
        restored = restore_slices(
            model,
            voxels.permute(order),
            anisotropy,
            axial.relative_to(depth.lo),
            across.slice,
            (lateral.slice, depth.slice),
            batch_pixels,
            _frame(model, placed.z, size[0], placed[order[1]], size[order[1]]),
            interrupt,
            (origin[order[0]], origin[order[1]]),
            level,
        )
        restored = restored.permute(2, 0, 1) if orientation == "xz" else restored.permute(2, 1, 0)
        total = restored if total is None else total.add_(restored)
    assert total is not None
    return total if len(orientations) == 1 else total.div_(len(orientations))
