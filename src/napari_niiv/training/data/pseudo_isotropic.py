"""Pseudo-isotropic volumes: what the first stage restores, the second stage learns from."""

from __future__ import annotations

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


def pseudo_isotropic(
    model: Niiv,
    box: Tensor,
    anisotropy: float,
    core: tuple[Span, Span, Span] | None = None,
    degradation: Degradation = Average(),
) -> Tensor:
    """Restore a box of a normalised volume with both planes and keep what was measured.

    Parameters
    ----------
    model : Niiv
        On the box's device.
    box : Tensor, shape (z, y, x)
        NaN marks holes, which become holes of the result.
    anisotropy : float
    core : tuple of Span, optional
        The part of the box to restore, without what is only its surroundings.
    degradation : Degradation
        What made the box from an isotropic volume.

    Returns
    -------
    Tensor, shape (round(z · anisotropy), y, x) of the core
        Projected so that, degraded again, it is nearly what was measured.
    """
    z, y, x = core or tuple(Span(0, n) for n in box.shape)
    holes = box.isnan()
    filled = box.nan_to_num()
    fine = output_size(len(z), anisotropy)
    inside = Sampling.covering(len(z), fine)
    with torch.inference_mode():
        axial = inside.relative_to(-z.lo)
        with training_precision(box.device):
            restored = restore_box(
                model, filled, anisotropy, axial, ("xz", "yz"), Box(Span(0, len(box)), y, x)
            )
        restored = project(restored, filled[z.slice, y.slice, x.slice], degradation, axis=0)
        if holes.any():
            # one voxel more: the restoration looks around
            wide = F.max_pool3d(holes[None].float(), 3, 1, 1)[0][z.slice, y.slice, x.slice]
            hollow = resample(wide.permute(1, 2, 0), inside).permute(2, 0, 1) > 0
            restored = restored.masked_fill(hollow, torch.nan)
    return restored.clone()  # an ordinary tensor, which training may use
