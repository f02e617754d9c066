"""Blocks of the isotropic grid, restored by one function, whoever asks for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.geometry import Box, Sampling, Span, rounded_up
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.denoise import AUTO, Denoise, averaged_level, level_of
from napari_niiv.reconstruction.grid import Block, Grid
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.planes import Orientation
from napari_niiv.reconstruction.trust import degradation_of, margin, project
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume, reading

_INVERTED_SAMPLES = 64  # along z: converted to intensities at once on a CPU


@dataclass(frozen=True)
class Restoration:
    """What all blocks of a volume share.

    Attributes
    ----------
    grid : Grid
        The samples of the whole output.
    batch_budget : BatchBudget
        With the model.
    normalization : Normalization
    orientations : tuple of {"xz", "yz"}
        Of the slices that are restored; the result is their mean.
    dtype : dtype
        Of the result.
    name : str
        What messages call the volume.
    project : bool
        Correct the result so that, degraded again, it is what was measured.
    denoise : float
        Noise level of the source's voxels: the standard deviation, as a share of the normalised range.
    """

    grid: Grid
    batch_budget: BatchBudget
    normalization: Normalization
    orientations: tuple[Orientation, ...]
    dtype: np.dtype[Any]
    name: str
    project: bool = False
    denoise: float = 0.0

    @classmethod
    def of(
        cls,
        volume: Volume,
        grid: Grid,
        batch_budget: BatchBudget,
        orientations: tuple[Orientation, ...],
        project: bool = False,
        denoise: Denoise = AUTO,
    ) -> Restoration:
        """The restoration of a 3-D volume in its own dtype; reads a sample of its voxels.

        Raises
        ------
        VolumeError
            If the volume is constant or cannot be read.
        """
        normalization = Normalization.of(volume)
        level = level_of(volume, normalization, batch_budget.model, denoise)
        return cls(grid, batch_budget, normalization, orientations, volume.dtype, volume.name, project, level)

    def block(self, place: Box, infer: bool = True) -> Block:
        """The block of the samples at `place`, restored where there is something to infer, or interpolated."""
        model, inferred = self.batch_budget.model, infer and self.grid.inferable
        margin = self.normalization.margin(self.grid.downsample)
        if not inferred:
            return self.grid.block(place, (0, 0, 0), inferred, margin=margin)
        slices, pixels = model.cell
        lateral = max(model.lateral_halo, rounded_up(model.context, pixels))
        halo = (model.halo + self._margin, lateral, lateral)
        return self.grid.block(place, halo, inferred, math.lcm(slices, pixels), margin)

    @property
    def _margin(self) -> int:
        return margin(degradation_of(self.batch_budget.model)) if self.project else 0

    def compute(self, source: Volume | NDArray[Any], block: Block, interrupt: Interrupt = never) -> NDArray[Any]:
        """Read a block's box, restore, resample, denormalise; what is empty comes back as it is in the source.

        Parameters
        ----------
        source : Volume or array
            The whole volume, or what `block.raw` names of it.
        block : Block
            From `block`.
        interrupt : Interrupt
            Called often.

        Returns
        -------
        array
            The samples of the block, in `dtype`.

        Raises
        ------
        VolumeError, DeviceError
            If the source cannot be read, or memory runs out.
        """
        if isinstance(source, Volume):
            voxels = source.read_raw(*block.raw.slices)
        else:
            with reading(self.name):
                voxels = np.asarray(source)
        padded = block.padded
        device = self.batch_budget.model.device if block.inferred else torch.device("cpu")
        values, empty = self.normalization.voxels(device, voxels, block.inside.slices, self.grid.downsample)
        axial, rows, columns = (s.relative_to(lo) for s, lo in zip(block.samplings, padded.origin, strict=True))
        core = block.core.relative_to(padded.origin)
        if block.inferred:
            restored = self.batch_budget.attempt(lambda: self._restore(values, block, axial, interrupt))
        else:
            restored = _resample_axial(values[:, core.y.slice, core.x.slice], axial)
        places = (axial, rows, columns)
        rows, columns = rows.relative_to(core.y.lo), columns.relative_to(core.x.lo)
        with torch.inference_mode():
            restored = resample(restored.transpose(1, 2), rows).transpose(1, 2)
            samples = self._inverted(resample(restored, columns))
        if empty is not None:
            empty.put_back(samples, places)
        return samples

    def _restore(self, values: Tensor, block: Block, axial: Sampling, interrupt: Interrupt) -> Tensor:
        """The core of a block at positions along z, both counted from the padded box."""
        padded, model = block.padded, self.batch_budget.model
        values = values.to(model.device)

        def restore(positions: Sampling, core: Box) -> Tensor:
            return restore_box(
                model,
                values,
                self.grid.anisotropy,
                positions,
                self.orientations,
                core.relative_to(padded.origin),
                self.batch_budget.batch_pixels,
                padded.origin,
                self.grid.level,
                interrupt,
                averaged_level(self.denoise, 1, self.grid.downsample),
            )

        if not self.project:
            return restore(axial, block.core)
        # by way of whole voxels, as the live view does it
        depth = block.core.z.padded(self._margin, self.grid.level[0])
        core = Box(depth, block.core.y, block.core.x)
        offset, factor = depth.lo - padded.z.lo, math.ceil(self.grid.anisotropy)
        fine = restore(Sampling.covering(len(depth), len(depth) * factor).relative_to(-offset), core)
        projected = project(fine, values[core.slices_in(padded)], degradation_of(model), axis=0)
        return _resample_axial(projected, axial.relative_to(offset).refined(factor))

    def _inverted(self, restored: Tensor) -> NDArray[Any]:
        """Intensities of the output; on a CPU piece by piece, as whole copies would be most of a block's memory."""
        if restored.device.type != "cpu":
            return self.normalization.invert(restored.contiguous(), self.dtype)
        values = np.empty(restored.shape, self.dtype)
        for piece in Span(0, len(values)).pieces(_INVERTED_SAMPLES):
            part = restored[piece.slice].contiguous()
            values[piece.slice] = self.normalization.invert(part, self.dtype)
        return values


def _resample_axial(values: Tensor, sampling: Sampling) -> Tensor:
    return resample(values.permute(1, 2, 0), sampling).permute(2, 0, 1)
