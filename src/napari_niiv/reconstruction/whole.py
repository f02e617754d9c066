"""Whole volumes as a dask array: every block computed alone, by the function that draws the screen."""

from __future__ import annotations

import functools
from dataclasses import replace

import dask
import dask.array as da
import numpy as np

from napari_niiv.geometry import Box
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.denoise import AUTO, Denoise, check_denoise
from napari_niiv.reconstruction.grid import Grid, block_edges
from napari_niiv.reconstruction.planes import Orientation, Planes, orientations_of
from napari_niiv.reconstruction.restoration import Restoration
from napari_niiv.sections.repair import bridged
from napari_niiv.sections.repairs import Repairs
from napari_niiv.volume import Volume, check_anisotropy


def reconstruct(
    volume: Volume,
    model: Niiv,
    *,
    output_scale: float = 1.0,
    planes: Planes = "both",
    project: bool = False,
    denoise: Denoise = AUTO,
    block: tuple[int, int] | None = None,
) -> Volume:
    """Make a volume isotropic, lazily.

    Parameters
    ----------
    volume : Volume
        T and C axes are kept; each index is normalised by itself. Its blank sections are bridged, unless it comes from
        `repair_sections`.
    model : Niiv
        From `load_model`.
    output_scale : float
        Samples per isotropic voxel: 1 gives voxels of the lateral size, 2 half of it.
    planes : {"both", "xz", "yz"}
        Restore along xz slices, yz slices, or average both (best).
    project : bool
        Correct the result so that, degraded again, it is what was measured.
    denoise : float or "auto"
        The noise level that the model is told, the standard deviation as a share of the normalised range; 0 is off.
        "auto" estimates it from each T/C index, and is 0 for a model that was trained without noise.
    block : tuple of int, optional
        Source voxels of a block, axial and lateral; the result does not depend on it.

    Returns
    -------
    Volume
        Its array is a dask array of the source's dtype with shape ``round(n · anisotropy · output_scale)`` along z and
        ``round(n · output_scale)`` along y and x, covering exactly the source's extent.

    Raises
    ------
    ReconstructionError
        If `output_scale` or `planes` makes no sense, or the model cannot be told this noise level.
    VolumeError
        If the anisotropy is outside 1 … 16, or the volume is constant.
    """
    orientations = orientations_of(planes)
    check_anisotropy(volume.anisotropy, volume.name)
    check_denoise(model, denoise)
    volume = bridged(volume)
    batch_budget = BatchBudget(model)
    leading = volume.shape[:-3]
    parts = [
        _reconstruct_3d(volume.at(*index), batch_budget, output_scale, orientations, project, denoise, block)
        for index in np.ndindex(leading)
    ]
    array = da.stack(parts).reshape(leading + parts[0].shape) if leading else parts[0]
    source, shape = volume.shape[-3:], array.shape[-3:]
    size = tuple(v * n / m for v, n, m in zip(volume.voxel_size, source, shape, strict=True))
    origin = tuple(o - v / 2 + s / 2 for o, v, s in zip(volume.origin, volume.voxel_size, size, strict=True))
    name, whole = f"{volume.name} (isotropic)", Repairs()
    return replace(volume, array=array, voxel_size=size, origin=origin, name=name, repairs=whole)


def _reconstruct_3d(
    volume: Volume,
    batch_budget: BatchBudget,
    scale: float,
    orientations: tuple[Orientation, ...],
    project: bool,
    denoise: Denoise,
    block: tuple[int, int] | None,
) -> da.Array:
    grid = Grid.of(volume, scale)
    restoration = Restoration.of(volume, grid, batch_budget, orientations, project, denoise)
    edges = block_edges(grid, batch_budget.model.device.type, volume.dtype.itemsize, block)
    array = volume.array if isinstance(volume.array, da.Array) else None

    def one(place: Box) -> da.Array:
        piece = restoration.block(place)
        # dask looks for its own collections in arguments, so only the source is one
        if array is None:
            values = dask.delayed(functools.partial(restoration.compute, volume, piece), pure=False)()
        else:
            work = functools.partial(restoration.compute, block=piece)
            values = dask.delayed(work, pure=False)(array[piece.raw.slices])
        part: da.Array = da.from_delayed(values, place.shape, dtype=volume.dtype)
        return part

    z, y, x = (span.pieces(edge) for span, edge in zip(Box.whole(grid.shape), edges, strict=True))
    joined: da.Array = da.block([[[one(Box(i, j, k)) for k in x] for j in y] for i in z])
    return joined
