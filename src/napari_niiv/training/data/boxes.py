"""From the voxels read of a volume to the boxes that patches are drawn from.

The first stage learns from measured slices, the second from pseudo-isotropic boxes, which the first stage's model has
restored. Slices held out for validation have no part in either.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_niiv.degradation import Average, Degradation
from napari_niiv.device import training_precision
from napari_niiv.geometry import Box, Sampling, Span, output_size
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.trust import project
from napari_niiv.resampling import resample
from napari_niiv.training.data.volumes import TrainingVolume

# axes of a box, in all combinations
_ALL_FLIPS = tuple(axes for count in range(4) for axes in itertools.combinations(range(3), count))


def measured_box(volume: TrainingVolume, values: Tensor, box: Box, core: Box) -> Tensor:
    """The measured voxels of the core of a box; slices that are held out, or were not measured, are NaN.

    Parameters
    ----------
    volume : TrainingVolume
    values : Tensor, shape (z, y, x)
        What was read.
    box : Box
        Where `values` lies in the volume.
    core : Box
        The part to keep, counted in `box`.

    Returns
    -------
    Tensor, shape of the core
    """
    values = values[core.slices].clone()
    values[_inside(volume.held_out + volume.bridged, box, core)] = torch.nan
    return values


def restored_box(
    models: Sequence[Niiv],
    degradation: Degradation,
    flips: bool,
    volume: TrainingVolume,
    values: Tensor,
    box: Box,
    core: Box,
) -> Tensor:
    """The core of a box made isotropic without knowledge of the held-out slices, which are NaN.

    The parameters are those of `measured_box` and `pseudo_isotropic`.

    Returns
    -------
    Tensor, shape (round(z · anisotropy), y, x) of the core
    """
    values = values.clone()
    for z in (z - box.z.lo for z in volume.held_out if box.z.lo <= z < box.z.hi):
        neighbours = [values[i] for i in (z - 1, z + 1) if 0 <= i < len(values)]
        values[z] = torch.stack(neighbours).mean(0) if neighbours else torch.nan
    fine = pseudo_isotropic(models, values, volume.anisotropy, core, degradation, flips)
    for z in _inside(volume.held_out, box, core):
        first = z * volume.anisotropy
        fine[int(first) : int(first + volume.anisotropy) + 1] = torch.nan
    return fine


def pseudo_isotropic(
    models: Sequence[Niiv],
    values: Tensor,
    anisotropy: float,
    core: Box | None = None,
    degradation: Degradation = Average(),
    flips: bool = False,
) -> Tensor:
    """Restore a normalised box with both planes and keep what was measured.

    Parameters
    ----------
    models : sequence of Niiv
        On the device of `values`; the result is the mean of theirs.
    values : Tensor, shape (z, y, x)
        NaN marks holes, which become holes of the result.
    anisotropy : float
    core : Box, optional
        The part to restore, without what is only its surroundings; counted in `values`, all of it by default.
    degradation : Degradation
        What made the values from an isotropic volume.
    flips : bool
        Restore the box flipped in all eight ways too; the mean is better than any of them, and takes eight times as
        long.

    Returns
    -------
    Tensor, shape (round(z · anisotropy), y, x) of the core
        Projected so that, degraded again, it is nearly what was measured.
    """
    core = core or Box.whole(values.shape)
    holes = values.isnan()
    # something benign, not black
    filled = values.nan_to_num(float(values.nanmedian().nan_to_num())) if holes.any() else values
    inside = Sampling.covering(len(core.z), output_size(len(core.z), anisotropy))
    with torch.inference_mode():
        restored = _mean(models, filled, anisotropy, core, inside, flips)
        restored = project(restored, filled[core.slices], degradation, axis=0)
        if holes.any():
            # one voxel more: the restoration reads its neighbours
            wide = F.max_pool3d(holes[None].float(), 3, 1, 1)[0][core.slices]
            hollow = resample(wide.permute(1, 2, 0), inside).permute(2, 0, 1) > 0
            restored = restored.masked_fill(hollow, torch.nan)
    return restored.clone()  # an ordinary tensor, which training may use


def _mean(
    models: Sequence[Niiv], values: Tensor, anisotropy: float, core: Box, inside: Sampling, flips: bool
) -> Tensor:
    """What models restore of a box, on average; `inside` counts from the core's first slice."""
    total = None
    for axes in _ALL_FLIPS if flips else ((),):
        flipped = Box.of(
            Span(n - span.hi, n - span.lo) if axis in axes else span
            for axis, (span, n) in enumerate(zip(core, values.shape, strict=True))
        )
        axial = inside.relative_to(-flipped.z.lo)
        box = Box(Span(0, len(values)), flipped.y, flipped.x)
        for model in models:
            with training_precision(values.device):
                restored = restore_box(model, values.flip(axes), anisotropy, axial, ("xz", "yz"), box).flip(axes)
            total = restored if total is None else total.add_(restored)
    assert total is not None
    return total.div_(len(models) * (len(_ALL_FLIPS) if flips else 1))


def _inside(slices: Sequence[int], box: Box, core: Box) -> list[int]:
    """Slices of a volume that lie in a core, counted in it."""
    span = core.z.shifted(box.z.lo)
    return [z - span.lo for z in slices if span.lo <= z < span.hi]
