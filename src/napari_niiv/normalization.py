"""Intensities to about 0 … 1 by robust percentiles, one pair per volume, and back to the source's dtype."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from napari_niiv.empty_voxels import EmptyPart, EmptyVoxels, Values, intact_means
from napari_niiv.errors import ConstantVolumeError
from napari_niiv.find_empty import PERCENTILES, find_empty
from napari_niiv.pieces import scattered
from napari_niiv.volume import Volume, averaged

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
# pixels around an empty one whose mean is put in its place
_FILLED_FROM = 2
_MEDIAN_VOXELS = 1 << 18  # of which the median is taken: it need not be exact
_PIECES, _MOST_PIECES = 64, 1024  # with structure in them; at all


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
    empty: EmptyVoxels = EmptyVoxels()
    middle: float = 0.5

    @classmethod
    def of(cls, volume: Volume) -> Normalization:
        """Percentiles 0.1 and 99.9 of a 3-D volume, from at most a few million voxels spread over it.

        Those are of up to 24 xy slices; of a volume of more than 2^28 voxels, of pieces of slices, leaving out pieces
        that are constant, so that the cost does not grow with the volume. Voxels that hold no measurement are left out:
        NaN and infinite ones, and those of the values that the volume names as `empty`, or which are found in what is
        read.

        Parameters
        ----------
        volume : Volume

        Raises
        ------
        ConstantVolumeError
            If the voxels looked at are constant, or all empty.
        VolumeError
            If the volume cannot be read.
        """
        sample = _pieces(volume) if math.prod(volume.shape) > _LARGE else _slices(volume)
        if volume.empty is not None:
            return cls._of(volume, sample, volume.empty)
        found = find_empty([*sample.pieces, *sample.beside], sample.edge)
        try:
            return cls._of(volume, sample, found)
        except ConstantVolumeError:
            if not found:
                raise
            return cls._of(volume, sample, ())  # of two values only, as masks are

    @classmethod
    def _of(cls, volume: Volume, sample: _Sample, values: Values) -> Normalization:
        """The same, where voxels of these values are empty."""
        intact, total = _intact(sample, values)
        if not intact.size:
            named = ", ".join([*(f"{value:g}" for value in values), *(["NaN"] if volume.dtype.kind == "f" else [])])
            raise ConstantVolumeError(
                f"{volume.name!r} is empty: it holds nothing but {named or 'padding'} (every voxel looked at), so there "
                "is nothing to reconstruct; choose a volume with intensities in it.",
                values[0] if values else 0.0,
            )
        low, high = (float(v) for v in np.percentile(intact, PERCENTILES))
        if low == high:  # sparse data: nearly all of it background
            low, high = float(intact.min()), float(intact.max())
        if low == high:
            raise ConstantVolumeError(
                f"{volume.name!r} is constant (every voxel looked at is {low:g}), so there is nothing to "
                "reconstruct; choose a volume with structure in it.",
                low,
            )
        plain = cls(low, high)
        if intact.size == total and not values:
            return plain
        width = high - low
        outliers = tuple(value for value in values if not low - width <= value <= high + width)
        regions = tuple(value for value in values if value not in outliers)
        middle = (float(np.median(intact[:: 1 + intact.size // _MEDIAN_VOXELS])) - low) / width
        return cls(low, high, EmptyVoxels(regions, outliers, 1 - intact.size / total), middle)

    def margin(self, downsample: int = 1) -> int:
        """Pixels, averaged ones, that `voxels` wants around a box along y and x; 0 where nothing is empty."""
        if not (self.empty.values or self.empty.share):
            return 0
        return _FILLED_FROM + -(-self.empty.margin // downsample)

    def voxels(
        self, device: torch.device, box: NDArray[Any], inside: tuple[slice, slice, slice], downsample: int = 1
    ) -> tuple[Tensor, EmptyPart | None]:
        """A part of a box as `on` normalises it, laterally averaged, with something benign where it is empty.

        That is the mean of what is measured nearby, or `middle`: a network restores what lies beside it as if it went on
        there, and no interpolation mixes tissue with padding.

        Parameters
        ----------
        device : torch.device
        box : array, shape (z, y, x)
            What was read: whole averaged pixels, with a `margin` of them along y and x as far as the volume goes.
        inside : tuple of slice
            The part, without the margin, in averaged pixels.
        downsample : int
            Pixels along y and x that are averaged, those that are not empty.

        Returns
        -------
        values : Tensor
        empty : EmptyPart or None
            Which of them are empty, and what the source has there; None if none is.
        """
        mask = self.empty.mask(box)
        if mask is None:
            return self.on(device, (box if downsample == 1 else averaged(box, downsample))[inside]), None
        part = EmptyPart(mask, box).coarsened(downsample)
        with np.errstate(invalid="ignore", over="ignore"):
            values = self.on(device, box if downsample == 1 else intact_means(box, mask, downsample))
        return _filled(values, part.mask, self.middle)[inside], part.inside(inside)

    def empty_part(
        self, box: NDArray[Any], inside: tuple[slice, slice, slice], downsample: int = 1
    ) -> EmptyPart | None:
        """What `voxels` tells of the empty ones, alone."""
        mask = self.empty.mask(box)
        return None if mask is None else EmptyPart(mask, box).coarsened(downsample).inside(inside)

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise; float32 out."""
        wide = np.dtype(np.float64 if values.dtype.itemsize > 4 else np.float32)
        return np.asarray((values.astype(wide) - self.low) / (self.high - self.low), dtype=np.float32)

    def on(self, device: torch.device, values: NDArray[Any]) -> Tensor:
        """Normalise as `apply` does, on a device, to which the voxels go as they are where float32 holds them."""
        kind = values.dtype
        if kind.itemsize > 4 or (kind.itemsize > 2 and kind.kind in "iu"):
            return torch.from_numpy(self.apply(averaged(values, 1))).to(device)
        values = np.require(values, kind.newbyteorder("="), ["C", "W"])  # torch wants what can be written
        if kind == np.uint16:  # torch knows little of it: the same bits
            raw = torch.from_numpy(values.view(np.int16)).to(device).int().bitwise_and_(0xFFFF)
        else:
            raw = torch.from_numpy(values).to(device)
        # a number instead of a tensor would be divided by on CUDA by way of its reciprocal, and rounded differently
        width = torch.full((), self.high - self.low, device=device)
        return (raw.float() - self.low).div_(width)  # not in place at first: it may be the source

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


def _filled(values: Tensor, mask: NDArray[np.bool_], middle: float) -> Tensor:
    """Voxels (z, y, x) with means of those around in the place of the empty ones."""
    empty = torch.from_numpy(mask).to(values.device)
    values = values.masked_fill(empty, 0)

    def around(voxels: Tensor) -> Tensor:
        return F.avg_pool2d(voxels[:, None], 2 * _FILLED_FROM + 1, stride=1, padding=_FILLED_FROM)[:, 0]

    share = around((~empty).to(values.dtype))
    means = torch.where(share > 1e-3, around(values) / share.clamp_min(1e-3), middle)
    return torch.where(empty, means, values)


@dataclass(frozen=True)
class _Sample:
    """Pieces of slices, (1, rows, columns), that a volume is judged by.

    Attributes
    ----------
    pieces : list of array
        Of which the percentiles are.
    constant : list of array
        Those that are left out.
    beside : list of array
        At the borders of the volume, where padding is to be looked for.
    edge : int
        Pixels: squares of one value that are looked for in them.
    """

    pieces: list[NDArray[Any]]
    constant: list[NDArray[Any]]
    beside: list[NDArray[Any]]
    edge: int


def _slices(volume: Volume) -> _Sample:
    """Evenly spread slices, thinned out."""
    depth, height, width = volume.shape
    chosen = np.unique(np.linspace(0, depth - 1, min(depth, _SAMPLE_SLICES)).round().astype(int))
    stride = max(1, int(np.sqrt(len(chosen) * height * width / _SAMPLE_VOXELS)))
    pieces = [volume.read_raw(slice(z, z + 1), step=stride) for z in chosen]
    return _Sample(pieces, [], [], 5 if stride == 1 else 3)


def _pieces(volume: Volume) -> _Sample:
    """Pieces of slices that are not constant, and the corners of some."""
    pieces: list[NDArray[Any]] = []
    constant: list[NDArray[Any]] = []
    for piece in scattered(volume, _PIECE, _MOST_PIECES):
        if (piece == piece.flat[0]).all() or not np.isfinite(piece).any():
            constant.append(piece)  # padding, or beyond the specimen: says nothing of its intensities
            continue
        pieces.append(piece)
        if len(pieces) == _PIECES:
            break
    depth, height, width = volume.shape
    corners = [(z, y, x) for z, turned in ((0, 0), (depth // 2, 1), (depth - 1, 0)) for y, x in _opposite(turned)]
    beside = [
        volume.read_raw(slice(z, z + 1), *(_at_end(size, end) for size, end in ((height, y), (width, x))))
        for z, y, x in corners
    ]
    return _Sample(pieces or constant[-1:], constant if pieces else constant[:-1], beside, 5)


def _opposite(turned: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two corners of a slice that lie across from each other: which end of y, which of x."""
    return (0, turned), (1, 1 - turned)


def _at_end(size: int, end: int) -> slice:
    """A piece's pixels at one end of an axis."""
    return slice(max(0, size - _PIECE), size) if end else slice(0, _PIECE)


def _intact(sample: _Sample, values: Values) -> tuple[NDArray[np.float64], int]:
    """The voxels that are not empty, and how many voxels were looked at."""
    # wherever they are: the percentiles of the others do not feel what is missing
    empty = EmptyVoxels(outliers=values)
    parts = []
    for piece in sample.pieces:
        same = empty.same(piece)
        parts.append(piece.ravel() if same is None else piece[~same])
    # float64: numpy has no percentiles of masks, and rounds those of float16
    intact = np.concatenate(parts).astype(np.float64)
    left_out = sum(piece.size for piece in sample.constant if piece.flat[0] in values or not np.isfinite(piece.flat[0]))
    return intact, left_out + sum(piece.size for piece in sample.pieces)
