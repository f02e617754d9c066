"""Sampling one axis at any pitch: linear interpolation and area averaging, as banded matrix products.

Both operators act on the last axis of a tensor, continue the signal by replication at its ends, and depend on
positions relative to the samples only, so the result never depends on where a tile begins.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from napari_niiv.geometry import Sampling

_BLOCK = 128  # output samples per matrix product: keeps the products small when the axis is long


def resample(x: Tensor, sampling: Sampling, reach: float = 1.0) -> Tensor:
    """Interpolate linearly along the last axis; average out what is finer than the new pitch.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Samples at positions 0 … n-1.
    sampling : Sampling
        Output positions, in samples of `x`. Where its step is above 1 the triangle kernel is widened by the step
        (antialiasing, as in `torch.nn.functional.interpolate(..., antialias=True)`).
    reach : float
        Half the width of the triangle at least, in samples; above 1 it smooths at every pitch.

    Returns
    -------
    Tensor, shape (..., sampling.count)
    """
    return _apply(x, sampling, "linear", max(1.0, sampling.step, reach))


def area_average(x: Tensor, sampling: Sampling) -> Tensor:
    """Average `x` over intervals of length ``sampling.step`` centred on the output positions.

    Sample i of `x` is taken as constant over [i - ½, i + ½], so fractional intervals are exact.
    """
    return _apply(x, sampling, "area", (sampling.step + 1) / 2)


def _apply(x: Tensor, sampling: Sampling, kernel: str, reach: float) -> Tensor:
    n = x.shape[-1]
    parts = [
        x[..., lo:hi] @ weights.to(x.dtype)
        for lo, hi, weights in _bands(sampling, n, kernel, reach, x.device.type, x.device.index)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


@functools.lru_cache(maxsize=160)
def _bands(
    sampling: Sampling, n: int, kernel: str, reach: float, device_type: str, device_index: int | None
) -> tuple[tuple[int, int, Tensor], ...]:
    """Weights of each block of outputs: (first input, end of inputs, matrix of shape (inputs, outputs))."""
    device = (
        torch.device(device_type, device_index) if device_index is not None else torch.device(device_type)
    )
    bands = []
    for first in range(0, sampling.count, _BLOCK):
        count = min(_BLOCK, sampling.count - first)
        # float64: positions of long axes are exact to 1e-12 of a voxel
        positions = sampling.start + sampling.step * torch.arange(first, first + count, dtype=torch.float64)
        low = math.floor(float(positions[0]) - reach)
        high = math.ceil(float(positions[-1]) + reach)
        taps = torch.arange(low, high + 1, dtype=torch.float64)[:, None]
        if kernel == "linear":
            weights = (1 - (taps - positions).abs() / reach).clamp_min(0)
        else:
            half = sampling.step / 2
            upper = torch.minimum(taps + 0.5, positions + half)
            weights = (upper - torch.maximum(taps - 0.5, positions - half)).clamp_min(0)
        weights = weights / weights.sum(0, keepdim=True)
        inside = taps[:, 0].clamp(0, n - 1).long()
        lo, hi = int(inside[0]), int(inside[-1]) + 1
        folded = torch.zeros(hi - lo, count, dtype=torch.float64)
        folded.index_add_(0, inside - lo, weights)
        bands.append((lo, hi, folded.float().to(device)))
    return tuple(bands)
