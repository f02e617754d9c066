"""Blocks of the isotropic grid, restored by one function, whoever asks for them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Box, Sampling, Span
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.grid import Block, Grid
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.planes import PLANES as PLANES
from napari_niiv.reconstruction.planes import Planes as Planes
from napari_niiv.reconstruction.trust import degradation_of, margin, project
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume

_SLAB = 64  # samples along z


@dataclass(frozen=True)
class Restoration:
    """What all blocks of a volume share."""

    grid: Grid
    batch_budget: BatchBudget
    normalization: Normalization
    planes: tuple[str, ...]
    dtype: np.dtype[Any]
    name: str
    project: bool = False

    @classmethod
    def of(
        cls, volume: Volume, grid: Grid, batch_budget: BatchBudget, planes: str, project: bool = False
    ) -> Restoration:
        """Of a 3-D volume, whose intensities are looked at.

        Raises
        ------
        VolumeError
            If the volume is constant or cannot be read.
        """
        normalization = Normalization.of(volume)
        return cls(grid, batch_budget, normalization, PLANES[planes], volume.dtype, volume.name, project)

    def block(self, place: Box, infer: bool = True) -> Block:
        """The block of the samples at `place`, restored where there is something to infer, or interpolated."""
        model, inferred = self.batch_budget.model, infer and self.grid.inferable
        lateral, axial = max(model.halo, model.context), model.halo + self._margin
        return self.grid.block(place, (axial, lateral, lateral) if inferred else (0, 0, 0), inferred)

    @property
    def _margin(self) -> int:
        return margin(degradation_of(self.batch_budget.model)) if self.project else 0

    def compute(
        self,
        source: Volume | NDArray[Any],
        block: Block,
        interrupt: Callable[[], None] | None = None,
    ) -> NDArray[Any]:
        """Read a block's box, restore, resample, denormalise.

        Parameters
        ----------
        source : Volume or array
            The whole volume, or what `block.raw` names of it.
        block : Block
        interrupt : callable, optional
            Called often; may raise to give up.
        """
        held = source if isinstance(source, Volume) else Volume(source, name=self.name)
        start = (0, 0, 0) if isinstance(source, Volume) else block.raw.origin
        d, padded = self.grid.downsample, block.padded
        first = (start[0], start[1] // d, start[2] // d)
        local = padded.relative_to(first)
        raw = held.read_raw if d == 1 else functools.partial(held.read, downsample=d)
        device = self.batch_budget.model.device if block.inferred else torch.device("cpu")
        values = self.normalization.on(device, raw(*local.slices))
        z, y, x = (s.relative_to(lo) for s, lo in zip(block.samplings, padded.origin, strict=True))
        _, y_core, x_core = block.core.slices_in(padded)
        batch_budget = self.batch_budget

        def restore(positions: Sampling, depth: Span) -> torch.Tensor:
            return restore_box(
                batch_budget.model,
                values.to(batch_budget.model.device),
                self.grid.anisotropy,
                positions,
                self.planes,
                y_core,
                x_core,
                depth.slice_in(padded.z),
                batch_budget.batch_pixels,
                padded.origin,
                self.grid.level,
                interrupt,
            )

        def projected() -> torch.Tensor:
            """By way of whole voxels, as the live view does it."""
            depth = block.core.z.padded(self._margin, self.grid.level[0])
            factor = math.ceil(self.grid.anisotropy)
            offset = depth.lo - padded.z.lo
            fine = restore(Sampling.covering(len(depth), len(depth) * factor).relative_to(-offset), depth)
            measured = values[depth.slice_in(padded.z), y_core, x_core].to(fine.device)
            columns = project(
                fine.permute(1, 2, 0), measured.permute(1, 2, 0), degradation_of(batch_budget.model)
            )
            return resample(columns, z.relative_to(offset).refined(factor)).permute(2, 0, 1)

        if block.inferred:
            restored = batch_budget.attempt(projected if self.project else lambda: restore(z, block.core.z))
        else:
            restored = resample(values[:, y_core, x_core].permute(1, 2, 0), z).permute(2, 0, 1)
        with torch.inference_mode():
            y, x = y.relative_to(y_core.start), x.relative_to(x_core.start)
            return self._inverted(_across(_across(restored.transpose(1, 2), y).transpose(1, 2), x))

    def _inverted(self, restored: torch.Tensor) -> NDArray[Any]:
        """Intensities of the output; on a CPU slab by slab, as whole copies would be most of a block's memory."""
        if restored.device.type != "cpu":
            return self.normalization.invert(restored.contiguous(), self.dtype)
        values = np.empty(restored.shape, self.dtype)
        for slab in Span(0, len(values)).pieces(_SLAB):
            part = restored[slab.slice].contiguous()
            values[slab.slice] = self.normalization.invert(part, self.dtype)
        return values


def _across(values: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Resampled along the last axis; samples on voxels are taken, which is the same and costs nothing."""
    if sampling.step == 1 and sampling.start.is_integer():
        return values.narrow(-1, int(sampling.start), sampling.count)
    return resample(values, sampling)


def checked_planes(planes: str) -> None:
    """Refuse planes that do not exist.

    Raises
    ------
    ReconstructionError
    """
    if planes not in PLANES:
        raise ReconstructionError(f"There are no planes {planes!r}; use both, xz or yz.")
