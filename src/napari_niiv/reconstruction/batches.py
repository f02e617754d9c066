"""Consecutive slices in batches that bound memory, and what the network makes of each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_niiv.cuda_graphs import Recordings
from napari_niiv.geometry import Sampling, Span
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.decoders import Frame, SubvoxelDecoder
from napari_niiv.models.niiv import Niiv

# numbers in the output of one layer: with more of them the GPU is slower than the host that starts its kernels
_MOST_REPLAYED = 16_000_000


@dataclass(frozen=True)
class Batch:
    """Consecutive slices that are given to the network at once.

    Attributes
    ----------
    read, part : Span
        The slices that are looked at, and those that are restored.
    before, after : int
        Slices that are missing at either end, where the last one is repeated.
    wanted : slice
        Which slices of the whole cells are restored.
    """

    read: Span
    part: Span
    before: int
    after: int
    wanted: slice


def batches(model: Niiv, shape: torch.Size, wanted: slice, first_slice: int, pixels: int) -> Iterator[Batch]:
    """Cut consecutive slices into batches of whole cells.

    Parameters
    ----------
    model : Niiv
    shape : tuple of int
        Slices that there are, lateral and axial pixels.
    wanted : slice
        Which slices to restore.
    first_slice : int
        Number in the volume of the first that there is.
    pixels : int
        Of one batch at most, as far as it is not a single cell.
    """
    (s, r), k = model.cell, model.context
    number, lateral, axial = shape
    size = s * max(1, pixels // (s * (lateral + -lateral % r) * axial))
    begin = wanted.start - (first_slice + wanted.start) % s  # with the cell that holds the first slice
    for first in range(begin, wanted.stop, size):
        end = min(first + size, wanted.stop)
        seen = Span(first - k, end + (first - end) % s + k)
        read = seen.intersection(Span(0, number))
        part = Span(max(first, wanted.start), end)
        yield Batch(read, part, read.lo - seen.lo, seen.hi - read.hi, part.slice_in(Span(first, end)))


@dataclass(frozen=True, eq=False)
class Work:
    """What the network makes of batches: latent grids, or values at positions along z.

    Attributes
    ----------
    model : Niiv
    kept : (Span, Span)
        Lateral and axial pixels that are kept; the rest is halo.
    anisotropy, level : float
        As `Niiv.encode` takes them.
    axial : Sampling, optional
        Positions from the first pixel kept on; latent grids are made without it.
    frame : Frame, optional
        Of what is kept, as `Niiv.decode` takes it.
    """

    model: Niiv
    kept: tuple[Span, Span]
    anisotropy: float
    level: float
    axial: Sampling | None = None
    frame: Frame | None = None

    def __call__(self, batch: Batch, slices: Tensor, interrupt: Interrupt) -> Tensor:
        """Do it, or replay on a GPU what was recorded of it.

        Parameters
        ----------
        batch : Batch
        slices : Tensor, shape (slices, lateral, axial)
            Normalised, those that are there.
        interrupt : Interrupt
            Called between the layers of the network.

        Returns
        -------
        Tensor
            Latent grids, (part, C, kept lateral, kept axial), or values, (part, kept lateral, n), float32.
        """
        read = slices[batch.read.slice]
        if not self._is_replayed(read):
            return self._do(batch, read, interrupt)
        interrupt()
        return Recordings.of(self.model).answer(self._kind(batch), lambda x: self._do(batch, x, never), read)

    def _do(self, batch: Batch, read: Tensor, interrupt: Interrupt) -> Tensor:
        (s, r), (lateral, depth) = self.model.cell, self.kept
        slices = _continued(_continued(read, 1, 0, -read.shape[1] % r), 0, batch.before, batch.after)
        cells = slices.unfold(0, s + 2 * self.model.context, s).movedim(-1, 1)
        pixels = lateral.outward(r, slices.shape[1])
        latent = self.model.encode(cells, self.anisotropy, interrupt, (pixels.slice, depth.slice), self.level)
        latent = latent[batch.wanted, :, lateral.slice_in(pixels)]
        if self.axial is None:
            return latent
        own = read[batch.part.slice_in(batch.read), lateral.slice, depth.slice]
        return self.model.decode(latent, own, self.axial, self.anisotropy, self.frame)

    def _is_replayed(self, read: Tensor) -> bool:
        model = self.model
        if not (read.is_cuda and isinstance(model.decoder, SubvoxelDecoder)) or model.training:
            return False
        s, r = model.cell
        return read.numel() // (s * r) * model.architecture.features <= _MOST_REPLAYED

    def _kind(self, batch: Batch) -> Hashable:
        """All that the answer depends on besides the voxels."""
        own = batch.part.lo - batch.read.lo, len(batch.part), batch.before, batch.after, batch.wanted.start
        encoder = self.model.encoder
        return own, self.kept, self.anisotropy, self.level, self.axial, encoder.dtype, encoder.edition


def _continued(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """An axis continued by repeating its ends."""
    if not (before or after):
        return x
    sizes = [[n if a == axis else -1 for a in range(x.ndim)] for n in (before, after)]
    return torch.cat([x.narrow(axis, 0, 1).expand(sizes[0]), x, x.narrow(axis, -1, 1).expand(sizes[1])], axis)
