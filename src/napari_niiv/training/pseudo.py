"""Pseudo-isotropic volumes: what the first pass restores, the second pass learns from."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_niiv.degradation import average
from napari_niiv.geometry import Sampling, output_size
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.stack import restore_box
from napari_niiv.resampling import resample


def pseudo_isotropic(model: Niiv, volume: Tensor, anisotropy: float) -> Tensor:
    """Restore a normalised volume with both planes and keep what was measured.

    Parameters
    ----------
    model : Niiv
    volume : Tensor, shape (z, y, x)
        On the model's device.
    anisotropy : float

    Returns
    -------
    Tensor, shape (round(z · anisotropy), y, x)
        Projected so that its averages over each measured voxel are nearly the measured values.
    """
    fine = output_size(volume.shape[0], anisotropy)
    axial = Sampling.covering(volume.shape[0], fine)
    with torch.inference_mode():
        restored = restore_box(model, volume, anisotropy, axial, ("xz", "yz"))
        return project(restored, volume, anisotropy)


def project(restored: Tensor, measured: Tensor, anisotropy: float) -> Tensor:
    """Add what the averages of a restored volume lack of the measured ones (exact for whole factors).

    Parameters
    ----------
    restored : Tensor, shape (n, y, x)
    measured : Tensor, shape (z, y, x)
    anisotropy : float
        n / z.
    """
    columns = restored.permute(1, 2, 0)
    coarse = average(columns, anisotropy)
    lack = measured.permute(1, 2, 0)[..., : coarse.shape[-1]] - coarse
    whole = round(anisotropy)
    if abs(anisotropy - whole) < 1e-6:
        spread = lack.repeat_interleave(whole, -1)
    else:
        spread = resample(lack, Sampling.covering(lack.shape[-1], columns.shape[-1]))
    out = columns.clone()
    out[..., : spread.shape[-1]] += spread
    return out.permute(2, 0, 1)
