"""The reconstruction compared with the measurement: degraded again it should be what was measured."""

from __future__ import annotations

import math

from torch import Tensor

from napari_niiv.degradation import Average, Degradation
from napari_niiv.geometry import Sampling
from napari_niiv.models.niiv import Niiv
from napari_niiv.resampling import resample


def degradation_of(model: Niiv) -> Degradation:
    """What a model learnt to undo."""
    return model.card.degradation if model.card is not None else Average()


def margin(degradation: Degradation) -> int:
    """Axial voxels above and below a voxel whose tissue its measurement saw too."""
    return math.ceil(max(0.0, degradation.reach - 0.5))


def smoothing(anisotropy: float, cell: tuple[int, int]) -> float:
    """Pixels along y and x over which maps of trust are smoothed, by a triangle of this reach; along z by one z step.

    That is a z step too: what lies between two slices is guessed as a whole. Cells of the network, whose pixels are
    restored together, leave no lattice either.

    Parameters
    ----------
    anisotropy : float
        Axial over lateral size of a voxel.
    cell : (int, int)
        Slices and lateral pixels that a latent code serves.
    """
    return max(anisotropy, *cell)


def misfit(restored: Tensor, measured: Tensor, degradation: Degradation) -> Tensor:
    """What a restored volume, degraded again, has more than the measured one.

    Parameters
    ----------
    restored : Tensor, shape (..., n)
        Covering the extent of `measured`.
    measured : Tensor, shape (..., z)
    degradation : Degradation

    Returns
    -------
    Tensor, shape (..., z)
    """
    fine, depth = restored.shape[-1], measured.shape[-1]
    return degradation.apply(restored, fine / depth, Sampling.covering(fine, depth)) - measured


def project(restored: Tensor, measured: Tensor, degradation: Degradation, axis: int = -1) -> Tensor:
    """Take the misfit off a restored volume: of averages of whole factors, nothing of it is left.

    Parameters
    ----------
    restored : Tensor
        n samples along z, covering the extent of `measured`.
    measured : Tensor
        The voxels; but for z of the shape of `restored`, and brought to its device.
    degradation : Degradation
    axis : int
        The one along z, of both.

    Returns
    -------
    Tensor, shaped as `restored`
    """
    restored, measured = restored.movedim(axis, -1), measured.to(restored.device).movedim(axis, -1)
    fine, depth = restored.shape[-1], measured.shape[-1]
    excess = misfit(restored, measured, degradation)
    if fine % depth == 0:
        excess = excess.repeat_interleave(fine // depth, -1)
    else:
        excess = resample(excess, Sampling.covering(depth, fine))
    return (restored - excess).movedim(-1, axis)
