"""From a request, in voxels of the full resolution, to what is read for it, in voxels of a coarser level."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_niiv.geometry import Box, Sampling, Shape, Span
from napari_niiv.reconstruction.grid import INTERPOLATE_BELOW
from napari_niiv.reconstruction.planes import AXES, Plane
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.volume import Level, downsampled

# how much finer than needed a level may be laterally, not to lose z slices that the screen can show
_MOST_FINER = 4


@dataclass(frozen=True)
class Resolved:
    """A request for a picture, in voxels of what is read for it: pixels of a level, averaged where it is too fine.

    Attributes
    ----------
    plane : {"xz", "yz", "xy"}
    leading : tuple of int
        Index along each leading (T, C) axis.
    level : int
        Number of the level that is read.
    downsample : int
        Pixels of the level, along y and x, that are averaged to one.
    coarsening : (int, int)
        Voxels of the full resolution that one voxel stands for, along z, and along y and x.
    position : float
        Across the plane, in voxels.
    rows, columns : Sampling
        Positions of the picture's rows and columns, in voxels.
    anisotropy : float
        Axial over lateral size of these voxels.
    shape : tuple of int
        Voxels along z, y, x.
    margin : int
        Slices above and below those shown that are looked at too, to degrade the reconstruction again.
    smoothing : float
        Pixels along y and x: the reach of the triangle by which maps of trust are smoothed; below 1 there are none.
    denoise : float
        Noise level of these voxels, which the model is told: the standard deviation, as a share of the normalised
        range.
    """

    plane: Plane
    leading: tuple[int, ...]
    level: int
    downsample: int
    coarsening: tuple[int, int]
    position: float
    rows: Sampling
    columns: Sampling
    anisotropy: float
    shape: Shape
    margin: int = 0
    smoothing: float = 0.0
    denoise: float = 0.0

    @property
    def index(self) -> int:
        """The voxel across the plane that holds the position."""
        return round(self.position)

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """Voxels along the axes of the rows and of the columns."""
        _, row_axis, column_axis = AXES[self.plane]
        return self.shape[row_axis], self.shape[column_axis]

    @functools.cached_property
    def support(self) -> tuple[Span, Span]:
        """Rows and columns of voxels that linear interpolation of the picture reads."""
        height, width = self.size
        return self.rows.support(height), self.columns.support(width)

    @functools.cached_property
    def window(self) -> tuple[Span, Span]:
        """Rows and columns of voxels that are restored for the picture and its maps of trust."""
        (height, width), reach = self.size, max(1.0, self.smoothing)
        along_z = self.plane != "xy"
        rows = self.rows.support(height, 1.0 if along_z else reach)
        return rows.padded(self.margin if along_z else 0, height), self.columns.support(width, reach)

    def box(self, rows: Span, columns: Span, across: Span | None = None) -> Box:
        """A window of the plane as a box of voxels; as thick as `across`, by default the voxel of the position."""
        spans = dict(zip(AXES[self.plane], (across or Span(self.index, self.index + 1), rows, columns), strict=True))
        return Box(spans[0], spans[1], spans[2])

    @property
    def inferable(self) -> bool:
        """Whether there is something to infer: not where the screen shows no more than was measured."""
        return self.anisotropy >= INTERPOLATE_BELOW and (self.plane != "xy" or self.position != self.index)


def resolve(
    request: SliceRequest, shape: tuple[int, ...], anisotropy: float, levels: Sequence[Level], margin: int = 0
) -> Resolved:
    """Choose the level, and the pixels to average, that a pixel of the request asks for."""
    across, row_axis, column_axis = AXES[request.plane]
    pitch = request.columns.step if request.plane != "xy" else min(request.rows.step, request.columns.step)
    _, height, width = shape
    d = 1 << max(0, math.floor(math.log2(pitch)))
    d = min(d, 1 << (max(height, width) - 1).bit_length())
    number = _level(levels, d, 1.0 if request.plane == "xy" else request.rows.step)
    level = levels[number]
    downsample = d // level.lateral
    read = tuple(int(n) for n in level.array.shape[-3:])
    coarse = (read[0], downsampled(read[1], downsample), downsampled(read[2], downsample))
    factors = (level.axial, d, d)
    position = (request.index + 0.5) / factors[across] - 0.5
    if across:  # a picture of a whole voxel
        position = float(math.floor(position + 0.5))
    return Resolved(
        plane=request.plane,
        leading=request.leading,
        level=number,
        downsample=downsample,
        coarsening=(level.axial, d),
        position=min(max(position, 0.0), coarse[across] - 1.0),
        rows=request.rows.coarsened(factors[row_axis]),
        columns=request.columns.coarsened(factors[column_axis]),
        anisotropy=anisotropy * level.axial / d,
        shape=coarse,
        margin=margin,
    )


def _level(levels: Sequence[Level], lateral: int, axial_pitch: float) -> int:
    """The coarsest level that is fine enough; a finer one where that keeps z slices and costs little."""
    usable = [i for i, level in enumerate(levels) if lateral % level.lateral == 0]
    sharp = [i for i in usable if levels[i].axial <= max(1.0, axial_pitch)]
    best = sharp[-1]
    return best if levels[best].lateral * _MOST_FINER >= lateral else usable[-1]
