"""Interpolations to compare with."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


def interpolate_axial(volume: NDArray[np.float32], size: int, method: str) -> NDArray[np.float32]:
    """Interpolate a volume along z to `size` slices that cover the same extent.

    Parameters
    ----------
    volume : array, shape (z, y, x)
    size : int
    method : {"nearest", "linear", "bicubic"}
        Bicubic is Keys' kernel with a = -0.75 along z (torch's), as in an image viewer.

    Returns
    -------
    array, shape (size, y, x)
    """
    columns = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32)).permute(1, 2, 0)
    width = columns.shape[1]
    if method == "bicubic":
        fine = F.interpolate(columns[:, None], size=(width, size), mode="bicubic")[:, 0]
    else:
        mode = {"nearest": "nearest-exact", "linear": "linear"}[method]
        fine = F.interpolate(columns, size=size, mode=mode)
    return np.asarray(fine.permute(2, 0, 1).numpy(), dtype=np.float32)
