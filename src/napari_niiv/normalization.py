"""Intensities to about 0 … 1 by robust percentiles, one pair per volume, and back to the source's dtype."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from napari_niiv.device import downloaded, uploaded
from napari_niiv.empty_voxels import NOTHING_EMPTY, EmptyPart, EmptyVoxels, intact_means
from napari_niiv.intensities import intensities_of
from napari_niiv.pieces import Bounds
from napari_niiv.volume import Volume, averaged

Slices = tuple[slice, slice, slice]
# types whose digits float32 has all
_ON_DEVICE = {
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.int8): torch.int8,
    np.dtype(np.int16): torch.int16,
    np.dtype(np.uint16): torch.int16,
}
# pixels around an empty one whose mean is put in its place
_FILLED_FROM = 2


@dataclass(frozen=True)
class Normalization:
    """The linear map that takes `low` to 0 and `high` to 1; values beyond are kept, not clipped.

    Attributes
    ----------
    low, high : float
    empty : EmptyVoxels
        Which voxels hold no measurement and have no part in it.
    middle : float
        Normalised, what is put in their place where nothing is measured nearby: about the median of all others.
    """

    low: float
    high: float
    empty: EmptyVoxels = NOTHING_EMPTY
    middle: float = 0.5

    @classmethod
    def of(cls, volume: Volume, box: Bounds | None = None) -> Normalization:
        """By percentiles 0.1 and 99.9 of a 3-D volume, of which a box is wanted; see `intensities_of`.

        Raises
        ------
        ConstantVolumeError
            If the voxels looked at are constant, or all empty.
        VolumeError
            If the volume cannot be read.
        """
        found = intensities_of(volume, box)
        return cls(found.low, found.high, found.empty, found.middle)

    def margin(self, downsample: int = 1) -> int:
        """Pixels, averaged ones, that `voxels` wants around a box along y and x; 0 where nothing is empty."""
        if not (self.empty.values or self.empty.share):
            return 0
        return _FILLED_FROM + -(-self.empty.margin // downsample)

    def voxels(
        self, device: torch.device, box: NDArray[Any], inside: Slices, downsample: int = 1, mixed: bool = False
    ) -> tuple[Tensor, EmptyPart | None]:
        """A part of a box as `on` normalises it, laterally averaged, with something benign where it is empty.

        That is the mean of what is measured nearby, or `middle`: a network restores what lies beside it as if it went
        on there, and no interpolation mixes tissue with padding.

        Parameters
        ----------
        device : torch.device
        box : array, shape (z, y, x)
            What was read: whole averaged pixels, with a `margin` of them along y and x as far as the volume goes.
        inside : tuple of slice
            The part, without the margin, in averaged pixels.
        downsample : int
            Pixels along y and x that are averaged, those that are not empty.
        mixed : bool
            Whether the voxels are means already, as on a coarser level.

        Returns
        -------
        values : Tensor
        empty : EmptyPart or None
            Which of them are empty, and what the source has there; None if none is.
        """
        mask = self.empty.mask(box, mixed)
        if mask is None:
            return self.on(device, (box if downsample == 1 else averaged(box, downsample))[inside]), None
        part = EmptyPart(mask, box).coarsened(downsample)
        with np.errstate(invalid="ignore", over="ignore"):
            values = self.on(device, box if downsample == 1 else intact_means(box, mask, downsample))
        return _filled(values, part.mask, self.middle)[inside], part.inside(inside)

    def empty_part(
        self, box: NDArray[Any], inside: Slices, downsample: int = 1, mixed: bool = False
    ) -> EmptyPart | None:
        """What `voxels` tells of the empty ones, alone."""
        mask = self.empty.mask(box, mixed)
        return None if mask is None else EmptyPart(mask, box).coarsened(downsample).inside(inside)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise; float32 out."""
        if not self._moderate(values.dtype):
            return self._scaled(values)
        wide = np.dtype(np.float64 if values.dtype.itemsize > 4 else np.float32)
        return np.asarray((values.astype(wide) - self.low) / (self.high - self.low), dtype=np.float32)

    def _moderate(self, kind: np.dtype[Any]) -> bool:
        """Whether differences and ratios of such intensities are numbers of the type in which they are computed."""
        width = self.high / 4 - self.low / 4
        largest, smallest = (1e300, 1e-290) if kind.itemsize > 4 else (1e36, 1e-30)
        return max(abs(self.low), abs(self.high)) < largest and width > smallest

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise intensities near the limits of their type: by a power of two first, which rounds nothing."""
        _, exponent = math.frexp(max(abs(self.low), abs(self.high)))
        scaled, low, high = (np.ldexp(np.asarray(v, np.float64), 1 - exponent) for v in (values, self.low, self.high))
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((scaled - low) / (high - low), dtype=np.float32)

    def on(self, device: torch.device, values: NDArray[Any]) -> Tensor:
        """Normalise as `apply` does, on a device, to which the voxels go as they are where float32 holds them."""
        kind = values.dtype
        if kind.itemsize > 4 or (kind.itemsize > 2 and kind.kind in "iu") or not self._moderate(kind):
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
            values = np.asarray(downloaded(values), dtype=np.float32)
        # float64 for wide integers: float32 holds 24 bits
        wide = np.dtype(np.float64 if kind.itemsize > 2 else np.float32)
        if kind.kind == "f" and not self._moderate(np.dtype(np.float64)):  # as a mean of the ends, which stays in range
            shares = values.astype(wide)
            with np.errstate(over="ignore"):
                out: NDArray[Any] = (1 - shares) * self.low + shares * self.high
        else:
            out = values.astype(wide) * wide.type(self.high - self.low) + wide.type(self.low)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            top = limits.max if kind.itemsize < 8 else np.nextafter(float(limits.max), 0)
            return np.asarray(np.clip(np.rint(out), limits.min, top).astype(kind))
        if kind.kind == "b":
            return np.asarray(out >= 0.5)
        limit = float(np.finfo(kind).max)
        if max(abs(self.low), abs(self.high)) > limit / 64:  # what is restored may lie beyond, where the type ends
            np.clip(out, -limit, limit, out=out)
        return np.asarray(out.astype(kind))

    def _invert_on_device(self, values: Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
        limits = np.iinfo(kind)
        scaled = values.mul(self.high - self.low).add_(self.low).round_().clamp_(limits.min, limits.max)
        if kind == np.uint16:  # as int16, whose numbers of 2^15 and more are negative
            wrapped = scaled.sub_((scaled >= 1 << 15) * float(1 << 16)).to(torch.int16)
            return downloaded(wrapped).view(np.uint16)
        return downloaded(scaled.to(_ON_DEVICE[kind]))


@functools.lru_cache(maxsize=64)
def _number(value: float, device: torch.device) -> Tensor:
    """A number to divide by: CUDA divides by Python's by way of the reciprocal, and rounds differently."""
    with torch.inference_mode(False):
        return torch.full((), value, device=device)


def _filled(values: Tensor, mask: NDArray[np.bool_], middle: float) -> Tensor:
    """Voxels (z, y, x) with means of those around in the place of the empty ones."""
    empty = torch.from_numpy(mask).to(values.device)
    values = values.masked_fill(empty, 0)

    def around(voxels: Tensor) -> Tensor:
        return F.avg_pool2d(voxels[:, None], 2 * _FILLED_FROM + 1, stride=1, padding=_FILLED_FROM)[:, 0]

    share = around((~empty).to(values.dtype))
    means = torch.where(share > 1e-3, around(values) / share.clamp_min(1e-3), middle)
    return torch.where(empty, means, values)
