"""Sampling one axis at any pitch with any kernel, as banded matrix products.

The operators act on the last axis of a tensor, continue the signal by replication at its ends, and depend on
positions relative to the samples only, so the result never depends on where a tile begins.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.geometry import Sampling

_BLOCK = 128  # output samples per matrix product: keeps the products small when the axis is long
_EXACT = 1e-9  # of a sample: less than the weights of its neighbours could tell in float32


class Kernel(Hashable, Protocol):
    """Weights of the samples around an output position; hashable, so that matrices can be kept."""

    @property
    def reach(self) -> float:
        """Distance, in samples, beyond which the weights are zero."""

    def weights(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight of a sample at a signed distance from the output position; the scale does not matter."""


@dataclass(frozen=True)
class Triangle:
    """Linear interpolation (reach 1) and its widened, smoothing forms."""

    reach: float

    def weights(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Falling linearly to zero at the reach."""
        return np.maximum(1 - np.abs(distance) / self.reach, 0)


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
        Where the positions are those of samples, these themselves: a view, not to be written on.
    """
    if (first := first_taken(x.shape[-1], sampling, reach)) is not None:
        return x.narrow(-1, first, sampling.count)
    return weighted_means(x, sampling, Triangle(max(1.0, sampling.step, reach)))


def first_taken(size: int, sampling: Sampling, reach: float = 1.0) -> int | None:
    """The first of `size` samples that are taken as they are, if that is all that `resample` does."""
    first = round(sampling.start)
    off = max(abs(sampling.start - first), abs(sampling.step - 1) * sampling.count, reach - 1)
    return first if off < _EXACT and 0 <= first <= size - sampling.count else None


def weighted_means(x: Tensor, sampling: Sampling, kernel: Kernel) -> Tensor:
    """Means of the last axis around output positions, weighted by a kernel; shapes as `resample`."""
    n = x.shape[-1]
    parts = [
        x[..., lo:hi] @ weights.to(x.dtype)
        for lo, hi, weights in _bands(sampling, n, kernel, x.device.type, x.device.index)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


@functools.lru_cache(maxsize=160)
def _bands(
    sampling: Sampling, n: int, kernel: Kernel, device_type: str, device_index: int | None
) -> tuple[tuple[int, int, Tensor], ...]:
    """Weights of each block of outputs: (first input, end of inputs, matrix of shape (inputs, outputs))."""
    device = torch.device(device_type, device_index) if device_index is not None else torch.device(device_type)
    spans, matrices = [], []
    for first in range(0, sampling.count, _BLOCK):
        count = min(_BLOCK, sampling.count - first)
        # float64: positions of long axes are exact to 1e-12 of a voxel
        positions = sampling.start + sampling.step * np.arange(first, first + count, dtype=np.float64)
        low = math.floor(positions[0] - kernel.reach)
        high = math.ceil(positions[-1] + kernel.reach)
        taps = np.arange(low, high + 1, dtype=np.float64)[:, None]
        weights = kernel.weights(taps - positions)
        weights /= weights.sum(0, keepdims=True)
        inside = taps[:, 0].clip(0, n - 1).astype(np.int64)
        lo, hi = int(inside[0]), int(inside[-1]) + 1
        if hi - lo < len(inside):  # beyond the ends the signal is replicated: several taps fall on one sample
            folded = np.zeros((hi - lo, count))
            for sample, row in zip(inside - lo, weights, strict=True):  # one by one: rounded alike in every block
                folded[sample] += row
            weights = folded
        spans.append((lo, hi))
        matrices.append(weights.astype(np.float32))
    with torch.inference_mode(False):  # these are kept, for training too
        # one copy to the device, not one for each matrix
        together = torch.from_numpy(np.concatenate([matrix.ravel() for matrix in matrices])).to(device)
        parts = together.split([matrix.size for matrix in matrices])
        return tuple(
            (lo, hi, part.view(matrix.shape)) for (lo, hi), part, matrix in zip(spans, parts, matrices, strict=True)
        )
