"""Interpolations to compare with."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def interpolate_last(x: Tensor, anisotropy: float, method: str) -> Tensor:
    """Interpolate the last axis: each sample becomes `anisotropy` pixels over its extent.

    Parameters
    ----------
    x : Tensor, shape (batch, m, n)
    anisotropy : float
        Need not be whole.
    method : {"nearest", "linear", "bicubic"}
        Bicubic is Keys' kernel with a = -0.75 (torch's), as in an image viewer.

    Returns
    -------
    Tensor, shape (batch, m, floor(n · anisotropy))
    """
    factor = anisotropy * (1 + 1e-9)  # torch rounds the size down
    if method == "bicubic":
        return F.interpolate(x[:, None], scale_factor=(1, factor), mode="bicubic")[:, 0]
    mode = {"nearest": "nearest-exact", "linear": "linear"}[method]
    return F.interpolate(x, scale_factor=factor, mode=mode)


def interpolate_axial(volume: NDArray[np.float32], anisotropy: float, method: str) -> NDArray[np.float32]:
    """`interpolate_last` along z: from shape (z, y, x) to (floor(z · anisotropy), y, x)."""
    columns = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32)).permute(1, 2, 0)
    fine = interpolate_last(columns, anisotropy, method)
    return np.asarray(fine.permute(2, 0, 1).numpy(), dtype=np.float32)
