"""Random patches of xy slices, with neighbouring slices, from volumes held in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PatchSampler:
    """Draw batches of patches; either lateral axis plays the axial one, with random flips of all three axes.

    A batch is one gather on the volumes' device, without a loop over patches.

    Parameters
    ----------
    volumes : sequence of Tensor, shape (z, y, x)
        Normalised, on one device; drawn from in proportion to their number of voxels.
    context : int
        k, neighbouring slices on each side.
    seed : int
        Of the random choices.

    Raises
    ------
    ValueError
        If a volume has fewer slices than a sample needs.
    """

    def __init__(self, volumes: Sequence[Tensor], context: int, seed: int) -> None:
        device = volumes[0].device
        depth = min(v.shape[0] for v in volumes)
        if depth < 2 * context + 1:
            raise ValueError(f"{depth} slices are fewer than the {2 * context + 1} that a sample needs")
        self._slices = 2 * context + 1
        self._smallest = min(min(v.shape[1:]) for v in volumes)
        self._voxels = torch.cat([v.flatten() for v in volumes])
        counts = torch.tensor([v.numel() for v in volumes], device=device)
        self._share = counts.double()
        self._first = counts.cumsum(0) - counts
        self._shapes = torch.tensor([v.shape for v in volumes], device=device)
        self._generator = torch.Generator(device).manual_seed(seed)

    def draw(self, count: int, lateral: int, axial: int) -> Tensor:
        """A batch.

        Parameters
        ----------
        count : int
        lateral, axial : int
            Size of a patch, in pixels; reduced to what the smallest volume offers.

        Returns
        -------
        Tensor, shape (count, 2k+1, lateral, axial)
        """
        device, generator = self._voxels.device, self._generator
        sizes = (self._slices, min(lateral, self._smallest), min(axial, self._smallest))
        which = torch.multinomial(self._share, count, replacement=True, generator=generator)
        dice = torch.rand(7, count, generator=generator, device=device)
        depth, height, width = self._shapes[which].T
        swap = dice[0] < 0.5
        extents = (depth, torch.where(swap, width, height), torch.where(swap, height, width))
        one = torch.ones_like(width)
        strides = (height * width, torch.where(swap, one, width), torch.where(swap, width, one))
        index = self._first[which].view(-1, 1, 1, 1)
        for axis, (extent, stride, size) in enumerate(zip(extents, strides, sizes, strict=True)):
            start = (dice[1 + axis] * (extent - size + 1)).long()
            steps = torch.arange(size, device=device).expand(count, -1)
            steps = torch.where((dice[4 + axis] < 0.5)[:, None], size - 1 - steps, steps)
            shape = [count, 1, 1, 1]
            shape[1 + axis] = size
            index = index + ((start[:, None] + steps) * stride[:, None]).view(shape)
        return self._voxels[index]
