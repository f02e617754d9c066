"""How a sharp axis becomes a coarse one: what training undoes."""

from __future__ import annotations

import math

from torch import Tensor

from napari_niiv.geometry import Sampling
from napari_niiv.resampling import area_average


def average(x: Tensor, anisotropy: float) -> Tensor:
    """Average pooling of the last axis by a factor that need not be whole.

    Coarse voxel i is the mean over [i·a, (i+1)·a) in fine pixels; pixels past the last whole voxel are dropped.

    Parameters
    ----------
    x : Tensor, shape (..., n)
    anisotropy : float
        a, at least 1.

    Returns
    -------
    Tensor, shape (..., floor(n / a))

    Raises
    ------
    ValueError
        If the axis is shorter than one coarse voxel.
    """
    count = math.floor(x.shape[-1] / anisotropy + 1e-9)
    if count < 1:
        raise ValueError(f"{x.shape[-1]} pixels are fewer than one voxel of {anisotropy:g}")
    return area_average(x, Sampling((anisotropy - 1) / 2, anisotropy, count))


def restored_positions(coarse: int, anisotropy: float) -> Sampling:
    """Where the fine pixels lie that `coarse` averaged voxels cover, in coarse voxels."""
    return Sampling((0.5 / anisotropy) - 0.5, 1 / anisotropy, math.floor(coarse * anisotropy + 1e-9))
