"""Intensities to about 0 … 1 by robust percentiles, one pair per volume, and back to the source's dtype."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from napari_niiv.device import uploaded
from napari_niiv.errors import ConstantVolumeError, VolumeError
from napari_niiv.pieces import scattered
from napari_niiv.volume import Volume, averaged

PERCENTILES = (0.1, 99.9)
_SAMPLE_SLICES, _SAMPLE_VOXELS = 24, 4_000_000
_LARGE = 1 << 28  # voxels from which on whole slices are too much to read
_PIECE = 256  # pixels: edge of the pieces of slices that are looked at in a large volume
# types whose digits float32 has all
_ON_DEVICE = {
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.int8): torch.int8,
    np.dtype(np.int16): torch.int16,
    np.dtype(np.uint16): torch.int16,
}
_PIECES, _MOST_PIECES = 64, 1024  # with structure in them; at all


@dataclass(frozen=True)
class Normalization:
    """The linear map that takes `low` to 0 and `high` to 1; values beyond are kept, not clipped."""

    low: float
    high: float

    @classmethod
    def of(cls, volume: Volume, *, holes: bool = False) -> Normalization:
        """Percentiles 0.1 and 99.9 of a 3-D volume, from at most a few million voxels spread over it.

        Those are of up to 24 xy slices; of a volume of more than 2^28 voxels, of pieces of slices, leaving out pieces
        that are empty, so that the cost does not grow with the volume.

        Parameters
        ----------
        volume : Volume
        holes : bool
            Leave out NaN and infinite voxels instead of refusing them.

        Raises
        ------
        ConstantVolumeError
            If the voxels looked at are constant.
        VolumeError
            If some of them are NaN or infinite.
        """
        pieces = _scattered(volume, holes) if math.prod(volume.shape) > _LARGE else _slices(volume, holes)
        # float64: numpy has no percentiles of masks, and rounds those of float16
        sample = np.concatenate([piece.ravel() for piece in pieces]).astype(np.float64)
        if holes:
            sample = sample[np.isfinite(sample)]
        if not sample.size:
            raise VolumeError(f"{volume.name!r} holds nothing but NaN; choose a volume with intensities in it.")
        low, high = (float(v) for v in np.percentile(sample, PERCENTILES))
        if low == high:  # sparse data: nearly all of it background
            low, high = float(sample.min()), float(sample.max())
        if low == high:
            raise ConstantVolumeError(
                f"{volume.name!r} is constant (every voxel looked at is {low:g}), so there is nothing to "
                "reconstruct; choose a volume with structure in it.",
                low,
            )
        return cls(low, high)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise; float32 out."""
        wide = np.dtype(np.float64 if values.dtype.itemsize > 4 else np.float32)
        return np.asarray((values.astype(wide) - self.low) / (self.high - self.low), dtype=np.float32)

    def on(self, device: torch.device, values: NDArray[Any]) -> Tensor:
        """Normalise as `apply` does, on a device, to which the voxels go as they are where float32 holds them."""
        kind = values.dtype
        if kind.itemsize > 4 or (kind.itemsize > 2 and kind.kind in "iu"):
            return torch.from_numpy(self.apply(averaged(values, 1))).to(device)
        native = kind.newbyteorder("=")
        if kind == np.uint16:  # torch knows little of it: the same bits
            raw = uploaded(values.astype(native, copy=False).view(np.int16), device).int().bitwise_and_(0xFFFF)
        else:
            raw = uploaded(values.astype(native, copy=False), device)
        # the difference of an integer and a number is float32 already, which saves a GPU one pass
        exact = raw if raw.is_cuda and raw.dtype in (*_ON_DEVICE.values(), torch.int32) else raw.float()
        return (exact - self.low).div_(_number(self.high - self.low, device))  # not in place: it may be the source

    def invert(self, values: NDArray[np.float32] | Tensor, dtype: DTypeLike) -> NDArray[Any]:
        """Back to intensities; integers are rounded and clipped to their range.

        A tensor is converted on its device: a picture travels as bytes, not as real numbers.
        """
        kind = np.dtype(dtype)
        if isinstance(values, Tensor):
            if kind in _ON_DEVICE:
                return self._invert_on_device(values.float(), kind)
            values = np.asarray(values.cpu().numpy(), dtype=np.float32)
        # float64 for wide integers: float32 holds 24 bits
        wide = np.dtype(np.float64 if kind.itemsize > 2 else np.float32)
        out: NDArray[Any] = values.astype(wide) * wide.type(self.high - self.low) + wide.type(self.low)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            top = limits.max if kind.itemsize < 8 else np.nextafter(float(limits.max), 0)
            return np.asarray(np.clip(np.rint(out), limits.min, top).astype(kind))
        if kind.kind == "b":
            return np.asarray(out >= 0.5)
        return np.asarray(out.astype(kind))

    def _invert_on_device(self, values: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
        limits = np.iinfo(kind)
        scaled = values.mul(self.high - self.low).add_(self.low).round_().clamp_(limits.min, limits.max)
        if kind == np.uint16:  # as int16, whose numbers of 2^15 and more are negative
            wrapped = scaled.sub_((scaled >= 1 << 15) * float(1 << 16)).to(torch.int16)
            return wrapped.cpu().numpy().view(np.uint16)
        return scaled.to(_ON_DEVICE[kind]).cpu().numpy()


@functools.lru_cache(maxsize=64)
def _number(value: float, device: torch.device) -> Tensor:
    """A number to divide by: CUDA divides by Python's by way of the reciprocal, and rounds differently."""
    with torch.inference_mode(False):
        return torch.full((), value, device=device)


def _slices(volume: Volume, holes: bool) -> list[NDArray[Any]]:
    """Evenly spread slices, thinned out."""
    depth, height, width = volume.shape
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, _SAMPLE_SLICES)).round().astype(int))
    stride = max(1, int(np.sqrt(len(chosen) * height * width / _SAMPLE_VOXELS)))
    return [volume.read_raw(slice(z, z + 1), step=stride, holes=holes) for z in chosen]


def _scattered(volume: Volume, holes: bool) -> list[NDArray[Any]]:
    """Pieces of slices that are not empty."""
    pieces, empty = [], np.zeros(0)
    for piece in scattered(volume, _PIECE, _MOST_PIECES, holes=holes):
        if (piece == piece.flat[0]).all():
            empty = piece  # padding, or beyond the specimen: says nothing of its intensities
            continue
        pieces.append(piece)
        if len(pieces) == _PIECES:
            break
    return pieces or [empty]
