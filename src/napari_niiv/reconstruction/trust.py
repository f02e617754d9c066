"""The reconstruction held against the measurement: degraded again it should be what was measured."""

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
    """Voxels beyond a voxel that its measurement saw."""
    return math.ceil(max(0.0, degradation.reach - 0.5))


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


def project(restored: Tensor, measured: Tensor, degradation: Degradation) -> Tensor:
    """Take off the misfit: of averages of whole factors, nothing of it is left.

    Parameters
    ----------
    restored : Tensor, shape (..., n)
    measured : Tensor, shape (..., z)
    degradation : Degradation
    """
    fine, depth = restored.shape[-1], measured.shape[-1]
    excess = misfit(restored, measured, degradation)
    if fine % depth == 0:
        return restored - excess.repeat_interleave(fine // depth, -1)
    return restored - resample(excess, Sampling.covering(depth, fine))
