"""Whole volumes as a dask array: every block computed alone, by the function that draws the screen."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Sampling, Span, output_size
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.memory import Workspace
from napari_niiv.reconstruction.resolve import INTERPOLATE_BELOW
from napari_niiv.reconstruction.stack import restore_box
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume, check_anisotropy, downsampled

Planes = Literal["both", "xz", "yz"]
PLANES: dict[str, tuple[str, ...]] = {"both": ("xz", "yz"), "xz": ("xz",), "yz": ("yz",)}
_BLOCK = {"cuda": (128, 256), "mps": (96, 192), "cpu": (96, 128)}  # source voxels: axial, lateral


def reconstruct(
    volume: Volume,
    model: Niiv,
    *,
    output_scale: float = 1.0,
    planes: Planes = "both",
    block: tuple[int, int] | None = None,
) -> Volume:
    """Make a volume isotropic, lazily.

    Parameters
    ----------
    volume : Volume
        T and C axes are kept; each index is normalised by itself.
    model : Niiv
        From `load_model`.
    output_scale : float
        Samples per isotropic voxel: 1 gives voxels of the lateral size, 2 half of it.
    planes : {"both", "xz", "yz"}
        Restore along xz slices, yz slices, or average both (best).
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
        If `output_scale` or `planes` makes no sense.
    VolumeError
        If the anisotropy is outside 1 … 16, or the volume is constant.
    """
    if not 0 < output_scale <= 16:
        raise ReconstructionError(
            f"The output scale {output_scale:g} is outside 0 to 16; 1 gives isotropic voxels."
        )
    if planes not in PLANES:
        raise ReconstructionError(f"There are no planes {planes!r}; use both, xz or yz.")
    check_anisotropy(volume.anisotropy, volume.name)
    workspace = Workspace(model)
    leading = [np.ndindex(volume.shape[:-3])] if len(volume.shape) > 3 else [[()]]
    parts = [
        _reconstruct_3d(volume.at(*index), workspace, output_scale, planes, block) for index in leading[0]
    ]
    array = (
        parts[0] if len(volume.shape) == 3 else da.stack(parts).reshape(volume.shape[:-3] + parts[0].shape)
    )
    source, shape = volume.shape[-3:], array.shape[-3:]
    size = tuple(v * n / m for v, n, m in zip(volume.voxel_size, source, shape, strict=True))
    origin = tuple(o - v / 2 + s / 2 for o, v, s in zip(volume.origin, volume.voxel_size, size, strict=True))
    return replace(volume, array=array, voxel_size=size, origin=origin, name=f"{volume.name} (isotropic)")


@dataclass(frozen=True)
class _Plan:
    """What every block of one volume shares."""

    workspace: Workspace
    normalization: Normalization
    anisotropy: float
    planes: tuple[str, ...]
    downsample: int
    level: tuple[int, int, int]
    dtype: np.dtype[Any]
    name: str


def _reconstruct_3d(
    volume: Volume, workspace: Workspace, scale: float, planes: str, block: tuple[int, int] | None
) -> da.Array:
    model = workspace.model
    d = 1
    while 2 * d * scale <= 1:  # the level that the live view would read at this pitch
        d *= 2
    level = (volume.shape[0], downsampled(volume.shape[1], d), downsampled(volume.shape[2], d))
    plan = _Plan(
        workspace,
        Normalization.of(volume),
        volume.anisotropy / d,
        PLANES[planes],
        d,
        level,
        volume.dtype,
        volume.name,
    )
    counts = (
        output_size(volume.shape[0], volume.anisotropy * scale),
        output_size(volume.shape[1], scale),
        output_size(volume.shape[2], scale),
    )
    axial, lateral = block or _BLOCK[model.device.type]
    axes = []
    for axis, (size, count, edge) in enumerate(zip(level, counts, (axial, lateral, lateral), strict=True)):
        whole = Sampling.covering(volume.shape[axis], count).coarsened(d if axis else 1)
        each = max(1, round(edge / whole.step))
        firsts = range(0, count, each)
        axes.append([(whole.part(f, min(each, count - f)), size) for f in firsts])
    array = volume.array if isinstance(volume.array, da.Array) else None

    def one(z: tuple[Sampling, int], y: tuple[Sampling, int], x: tuple[Sampling, int]) -> da.Array:
        samplings = (z[0], y[0], x[0])
        cores = [s.support(size) for s, size in (z, y, x)]
        lateral_halo = max(model.halo, model.context)
        box = [
            core.grown(halo, size)
            for core, halo, size in zip(cores, (model.halo, lateral_halo, lateral_halo), level, strict=True)
        ]
        raw = [Span(s.lo * f, min(s.hi * f, n)) for s, f, n in zip(box, (1, d, d), volume.shape, strict=True)]
        # dask looks for its own collections in arguments, so only the source is one
        work = functools.partial(
            _block, plan=plan, raw=tuple(raw), box=tuple(box), cores=tuple(cores), samplings=samplings
        )
        if array is None:
            values = dask.delayed(functools.partial(work, volume), pure=False)()
        else:
            values = dask.delayed(work, pure=False)(array[tuple(s.slice for s in raw)])
        part: da.Array = da.from_delayed(values, tuple(s.count for s in samplings), dtype=volume.dtype)
        return part

    joined: da.Array = da.block([[[one(z, y, x) for x in axes[2]] for y in axes[1]] for z in axes[0]])
    return joined


def _block(
    source: Volume | NDArray[Any],
    *,
    plan: _Plan,
    raw: tuple[Span, ...],
    box: tuple[Span, ...],
    cores: tuple[Span, ...],
    samplings: tuple[Sampling, ...],
) -> NDArray[Any]:
    """One block of the output: read its box, restore, resample, denormalise."""
    held = source if isinstance(source, Volume) else Volume(source, name=plan.name)
    start = (0, 0, 0) if isinstance(source, Volume) else tuple(s.lo for s in raw)
    d = plan.downsample
    first = (start[0], start[1] // d, start[2] // d)
    local = [slice(s.lo - f, s.hi - f) for s, f in zip(box, first, strict=True)]
    values = torch.from_numpy(plan.normalization.apply(held.read(local[0], local[1], local[2], d)))
    z, y, x = (s.relative_to(b.lo) for s, b in zip(samplings, box, strict=True))
    y_core, x_core = cores[1].slice_in(box[1]), cores[2].slice_in(box[2])
    workspace = plan.workspace

    def restore() -> torch.Tensor:
        return restore_box(
            workspace.model,
            values.to(workspace.model.device),
            plan.anisotropy,
            z,
            plan.planes,
            y_core,
            x_core,
            cores[0].slice_in(box[0]),
            workspace.batch_pixels,
            (box[0].lo, box[1].lo, box[2].lo),
            plan.level,
        )

    if plan.anisotropy >= INTERPOLATE_BELOW:
        restored = workspace.attempt(restore)
    else:
        restored = resample(values[:, y_core, x_core].permute(1, 2, 0), z).permute(2, 0, 1)
    with torch.inference_mode():
        y, x = y.relative_to(y_core.start), x.relative_to(x_core.start)
        restored = resample(resample(restored.transpose(1, 2), y).transpose(1, 2), x)
    return plan.normalization.invert(restored.cpu().numpy(), plan.dtype)
