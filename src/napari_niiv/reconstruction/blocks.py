"""The isotropic grid of a volume and its blocks: each is computed alone, by one function, whoever asks for it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Sampling, Span, output_size, rounded_up, three
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.memory import Workspace
from napari_niiv.reconstruction.resolve import INTERPOLATE_BELOW
from napari_niiv.reconstruction.stack import restore_box
from napari_niiv.reconstruction.trust import degradation_of, margin, project
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume, downsampled

Planes = Literal["both", "xz", "yz"]
PLANES: dict[str, tuple[str, ...]] = {"both": ("xz", "yz"), "xz": ("xz",), "yz": ("yz",)}
Spans = tuple[Span, Span, Span]
_BLOCK = {"cuda": (128, 256), "mps": (96, 192), "cpu": (128, 128)}  # voxels read: axial, lateral
_BLOCK_VOXELS = {"cuda": 1 << 26, "mps": 1 << 25, "cpu": 3 << 23}  # of the output: bounds the memory of one
_ALIGNED = 128  # samples: edges of blocks are multiples, so that those of files can be whole blocks
BLOCK_BYTES = 128 << 20
_SLAB = 64  # samples along z
_RAW_EDGE = 2048  # pixels of the source: lateral edge of what is read at once, however far zoomed out


@dataclass(frozen=True)
class Block:
    """A part of a grid, and what it takes to compute it.

    Attributes
    ----------
    samplings : tuple of Sampling
        Positions of its samples, in voxels of the level that is read.
    cores, box : tuple of Span
        Voxels of the level that the samples lie between, and these with their halo.
    raw : tuple of Span
        The box in voxels of the source.
    inferred : bool
        Whether the network has a part in it.
    """

    samplings: tuple[Sampling, Sampling, Sampling]
    cores: Spans
    box: Spans
    raw: Spans
    inferred: bool


@dataclass(frozen=True)
class Grid:
    """The isotropic samples of a 3-D volume at one output scale.

    Attributes
    ----------
    source, shape : tuple of int
        Voxels of the source and samples of the output along z, y, x; both cover the same extent.
    downsample : int
        Lateral level that is read.
    anisotropy : float
        Of that level.
    """

    source: tuple[int, int, int]
    shape: tuple[int, int, int]
    downsample: int
    anisotropy: float

    @classmethod
    def of(cls, volume: Volume, scale: float) -> Grid:
        """The grid with `scale` samples per isotropic voxel.

        Raises
        ------
        ReconstructionError
            If the scale makes no sense.
        """
        if not 0 < scale <= 16:
            raise ReconstructionError(
                f"The output scale {scale:g} is outside 0 to 16; 1 gives isotropic voxels."
            )
        d = 1
        while 2 * d * scale <= 1:  # the level that the live view would read at this pitch
            d *= 2
        depth, height, width = volume.shape
        shape = (
            output_size(depth, volume.anisotropy * scale),
            output_size(height, scale),
            output_size(width, scale),
        )
        return cls((depth, height, width), shape, d, volume.anisotropy / d)

    @property
    def level(self) -> tuple[int, int, int]:
        """Shape of the level that is read."""
        z, y, x = self.source
        return z, downsampled(y, self.downsample), downsampled(x, self.downsample)

    @property
    def inferable(self) -> bool:
        """Whether there is something to infer; else interpolation is the right answer."""
        return self.anisotropy >= INTERPOLATE_BELOW

    def sampling(self, axis: int) -> Sampling:
        """Positions of all samples along an axis, in voxels of the source."""
        return Sampling.covering(self.source[axis], self.shape[axis])

    def on_level(self, axis: int) -> Sampling:
        """The same positions in voxels of the level."""
        return self.sampling(axis).coarsened(self.downsample if axis else 1)

    def samples(self, axis: int, voxels: Span) -> Span:
        """The samples that a span of the source's voxels touches."""
        step = self.source[axis] / self.shape[axis]
        first = min(math.floor(voxels.lo / step + 1e-6), self.shape[axis] - 1)
        last = min(math.ceil(voxels.hi / step - 1e-6), self.shape[axis])
        return Span(first, max(last, first + 1))

    def block(self, place: Spans, halo: tuple[int, int, int], inferred: bool) -> Block:
        """What it takes to compute the samples at `place`."""
        z, y, x = (self.on_level(axis).part(span.lo, len(span)) for axis, span in enumerate(place))
        samplings = (z, y, x)
        cores = [s.support(size) for s, size in zip(samplings, self.level, strict=True)]
        box = [core.grown(h, size) for core, h, size in zip(cores, halo, self.level, strict=True)]
        factors = (1, self.downsample, self.downsample)
        raw = [Span(s.lo * f, min(s.hi * f, n)) for s, f, n in zip(box, factors, self.source, strict=True)]
        return Block(samplings, three(cores), three(box), three(raw), inferred)


def cut(span: Span, each: int) -> list[Span]:
    """A span of samples in pieces of `each`; the last may be shorter."""
    return [Span(first, min(first + each, span.hi)) for first in range(span.lo, span.hi, each)]


def block_edges(
    grid: Grid,
    device: str,
    itemsize: int,
    block: tuple[int, int] | None = None,
    shape: tuple[int, int, int] | None = None,
) -> tuple[int, int, int]:
    """Samples of a block along z, y, x, with which a whole volume is cut.

    Parameters
    ----------
    grid : Grid
    device : str
        Type of the device; larger blocks have less halo, and suit a GPU.
    itemsize : int
        Bytes of an output voxel.
    block : tuple of int, optional
        Voxels of the level that is read, axial and lateral, instead of what suits the device.
    shape : tuple of int, optional
        Of the part of the grid that is wanted; all of it by default.
    """
    axial, lateral = block or _BLOCK[device]
    if block is None:
        lateral = min(lateral, max(16, _RAW_EDGE // grid.downsample))
    wanted = [edge / grid.on_level(axis).step for axis, edge in enumerate((axial, lateral, lateral))]
    if block is not None:
        return three(max(1, round(edge)) for edge in wanted)
    shape = shape or grid.shape
    counts = [max(1, math.ceil(n / edge - 0.25)) for n, edge in zip(shape, wanted, strict=True)]
    edges = [rounded_up(-(-n // count), _ALIGNED) for n, count in zip(shape, counts, strict=True)]
    limit = min(_BLOCK_VOXELS[device], BLOCK_BYTES // itemsize)
    while math.prod(edges) > limit:
        longest = edges.index(max(edges))
        edges[longest] = rounded_up(edges[longest] // 2, _ALIGNED)
    return three(edges)


@dataclass(frozen=True)
class Restoration:
    """What all blocks of a volume share."""

    grid: Grid
    workspace: Workspace
    normalization: Normalization
    planes: tuple[str, ...]
    dtype: np.dtype[Any]
    name: str
    project: bool = False

    @classmethod
    def of(
        cls, volume: Volume, grid: Grid, workspace: Workspace, planes: str, project: bool = False
    ) -> Restoration:
        """Of a 3-D volume, whose intensities are looked at.

        Raises
        ------
        VolumeError
            If the volume is constant or cannot be read.
        """
        normalization = Normalization.of(volume)
        return cls(grid, workspace, normalization, PLANES[planes], volume.dtype, volume.name, project)

    def block(self, place: Spans, infer: bool = True) -> Block:
        """The block of the samples at `place`, restored where there is something to infer, or interpolated."""
        model, inferred = self.workspace.model, infer and self.grid.inferable
        lateral, axial = max(model.halo, model.context), model.halo + self._margin
        return self.grid.block(place, (axial, lateral, lateral) if inferred else (0, 0, 0), inferred)

    @property
    def _margin(self) -> int:
        return margin(degradation_of(self.workspace.model)) if self.project else 0

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
        start = (0, 0, 0) if isinstance(source, Volume) else tuple(s.lo for s in block.raw)
        d, box = self.grid.downsample, block.box
        first = (start[0], start[1] // d, start[2] // d)
        local = [slice(s.lo - f, s.hi - f) for s, f in zip(box, first, strict=True)]
        raw = held.read_raw if d == 1 else functools.partial(held.read, downsample=d)
        device = self.workspace.model.device if block.inferred else torch.device("cpu")
        values = self.normalization.on(device, raw(local[0], local[1], local[2]))
        z, y, x = (s.relative_to(b.lo) for s, b in zip(block.samplings, box, strict=True))
        y_core, x_core = block.cores[1].slice_in(box[1]), block.cores[2].slice_in(box[2])
        workspace = self.workspace

        def restore(positions: Sampling, depth: Span) -> torch.Tensor:
            return restore_box(
                workspace.model,
                values.to(workspace.model.device),
                self.grid.anisotropy,
                positions,
                self.planes,
                y_core,
                x_core,
                depth.slice_in(box[0]),
                workspace.batch_pixels,
                (box[0].lo, box[1].lo, box[2].lo),
                self.grid.level,
                interrupt,
            )

        def projected() -> torch.Tensor:
            """By way of whole voxels, as the live view does it."""
            depth = block.cores[0].grown(self._margin, self.grid.level[0])
            factor = math.ceil(self.grid.anisotropy)
            offset = depth.lo - box[0].lo
            fine = restore(Sampling.covering(len(depth), len(depth) * factor).relative_to(-offset), depth)
            measured = values[depth.slice_in(box[0]), y_core, x_core].to(fine.device)
            columns = project(
                fine.permute(1, 2, 0), measured.permute(1, 2, 0), degradation_of(workspace.model)
            )
            return resample(columns, z.relative_to(offset).refined(factor)).permute(2, 0, 1)

        if block.inferred:
            restored = workspace.attempt(projected if self.project else lambda: restore(z, block.cores[0]))
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
        for slab in cut(Span(0, len(values)), _SLAB):
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
