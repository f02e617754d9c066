"""A box of a volume, isotropic within a budget of voxels: first interpolated, then restored block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Box, Sampling, Shape, Span, three
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.denoise import AUTO, Denoise, check_denoise
from napari_niiv.reconstruction.grid import Grid
from napari_niiv.reconstruction.planes import Planes, orientations_of
from napari_niiv.reconstruction.restoration import Restoration
from napari_niiv.volume import Volume, check_anisotropy

Slices = tuple[slice, slice, slice]
BUDGET = {"cuda": 64_000_000, "mps": 64_000_000, "cpu": 16_000_000}  # voxels of the output
LONGEST = 2048  # what every GPU takes along an axis of a 3-D texture
# voxels: axial, lateral; a second or two of work
_BLOCK = {"cuda": (64, 128), "mps": (48, 96), "cpu": (48, 64)}
_MEDIAN_VOXELS = 1 << 16
_RAW_EDGE = 1024  # pixels: edge of what is read at once for the interpolation, however coarse the output


@dataclass(frozen=True)
class RegionPlan:
    """What will be reconstructed: the first event.

    Attributes
    ----------
    shape : tuple of int
        Samples of the output along z, y, x.
    voxel_size : tuple of float
        Of the output, in the volume's unit.
    origin : tuple of float
        World position of the centre of its first voxel, in the volume's unit.
    samplings : tuple of Sampling
        Positions of the samples along z, y, x, in voxels of the volume.
    output_scale : float
        The scale that fits the budget, as `reconstruct` takes it.
    first : tuple of int
        Where the output begins in that of `reconstruct` for the whole volume at this scale.
    blocks : int
        How many will follow the interpolation; 0 where that is the right answer already.
    """

    shape: Shape
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    samplings: tuple[Sampling, Sampling, Sampling]
    output_scale: float
    first: Shape
    blocks: int


@dataclass(frozen=True, eq=False)
class RegionPlaceholder:
    """All of the region, interpolated linearly: the second event.

    Attributes
    ----------
    array : array
        In the dtype of the source; the receiver's to write on.
    middle : float
        About the median of what is measured, as a share of the range of the volume's intensities.
    """

    array: NDArray[Any]
    middle: float = 0.5


@dataclass(frozen=True, eq=False)
class RegionBlock:
    """A restored part.

    Attributes
    ----------
    place : tuple of slice
        Where it lies in the output.
    array : array
        In the intensities and dtype of the source.
    done : int
        Blocks so far, this one included.
    notice : str
        What the user should know, such as a retreat to the CPU.
    """

    place: Slices
    array: NDArray[Any]
    done: int
    notice: str = ""


RegionEvent = RegionPlan | RegionPlaceholder | RegionBlock


def reconstruct_region(
    volume: Volume,
    model: Niiv,
    box: Slices | None = None,
    *,
    budget: int,
    output_scale: float = 1.0,
    longest: int = LONGEST,
    planes: Planes = "both",
    denoise: Denoise = AUTO,
    block: tuple[int, int] | None = None,
    interrupt: Interrupt = never,
) -> Iterator[RegionEvent]:
    """Make a box of a volume isotropic, step by step; the values are those of `reconstruct`.

    Nothing but the box and its halo is read, besides what normalisation and noise level are told from.

    Parameters
    ----------
    volume : Volume
        A 3-D volume.
    model : Niiv
    box : tuple of slice, optional
        In voxels along z, y, x, clipped to the volume; all of it by default.
    budget : int
        The output has no more voxels than this.
    output_scale : float
        Samples per isotropic voxel, as in `reconstruct`; less where the budget demands it.
    longest : int
        The output has no more voxels than this along any axis.
    planes, denoise, block
        As in `reconstruct`.
    interrupt : Interrupt
        Called often.

    Yields
    ------
    RegionPlan
        Before anything is read.
    RegionPlaceholder
        The box interpolated.
    RegionBlock
        Each part, beginning at the centre of the box.

    Raises
    ------
    Interrupted
        If `interrupt` raised it.
    ReconstructionError
        If the box lies outside the volume, or the budget, scale, planes or noise level make no sense.
    VolumeError, DeviceError
        If the volume cannot be used or read, or memory runs out.
    """
    orientations = orientations_of(planes)
    check_anisotropy(volume.anisotropy, volume.name)
    check_denoise(model, denoise)
    if len(volume.shape) != 3:
        raise ReconstructionError(f"{volume.name!r} has the axes {volume.axes!r}; choose one T/C index.")
    voxels = _voxels(volume, box)
    grid, scale = _fitting(volume, voxels, min(budget, longest**3), longest, output_scale)
    samples = grid.samples_of(voxels)
    places = _cut_evenly(grid, samples, block or _BLOCK[model.device.type]) if grid.inferable else []
    yield _plan(volume, grid, samples, scale, len(places))

    interrupt()
    restoration = Restoration.of(volume, grid, BatchBudget(model), orientations, denoise=denoise)
    yield _interpolate(volume, restoration, samples, interrupt)
    yield from _restore(volume, restoration, samples, places, interrupt)


def _interpolate(volume: Volume, restoration: Restoration, samples: Box, interrupt: Interrupt) -> RegionPlaceholder:
    grid = restoration.grid
    array: NDArray[Any] = np.empty(samples.shape, restoration.dtype)
    for place in _cut_evenly(grid, samples, (_BLOCK["cpu"][0], max(8, _RAW_EDGE // grid.downsample))):
        interrupt()
        block = restoration.block(place, infer=False)
        array[place.slices_in(samples)] = restoration.compute(volume, block)
    return RegionPlaceholder(array, _middle(array, restoration.normalization))


def _middle(array: NDArray[Any], normalization: Normalization) -> float:
    """About the median of the voxels that are not empty, normalised; of no more than some ten thousand."""
    step = math.ceil((array.size / _MEDIAN_VOXELS) ** (1 / 3))
    some = array[::step, ::step, ::step].ravel().astype(np.float64)
    some = some[np.isfinite(some) & ~np.isin(some, normalization.empty.values)]
    if not some.size:
        return 0.0
    return float((np.median(some) - normalization.low) / (normalization.high - normalization.low))


def _restore(
    volume: Volume, restoration: Restoration, samples: Box, places: list[Box], interrupt: Interrupt
) -> Iterator[RegionBlock]:
    batch_budget = restoration.batch_budget
    for number, place in enumerate(places):
        interrupt()
        values = restoration.compute(volume, restoration.block(place), interrupt)
        notice, batch_budget.notice = batch_budget.notice, ""
        yield RegionBlock(place.slices_in(samples), values, number + 1, notice)


def _voxels(volume: Volume, box: Slices | None) -> Box:
    """The box in voxels of the volume."""
    spans = []
    for part, size in zip(box or (slice(None),) * 3, volume.shape, strict=True):
        lo = max(0, part.start or 0)
        hi = min(size, size if part.stop is None else part.stop)
        if not lo < hi:
            raise ReconstructionError(f"The box {box} (z, y, x) does not touch the volume of {volume.shape}.")
        spans.append(Span(lo, hi))
    return Box.of(spans)


def _fitting(volume: Volume, voxels: Box, budget: int, longest: int, wanted: float) -> tuple[Grid, float]:
    """The largest scale up to the wanted one at which the samples of a box are no more than the budget."""
    if budget < 1:
        raise ReconstructionError(f"A budget of {budget} voxels holds nothing; give it some millions.")

    def fits(grid: Grid) -> bool:
        samples = grid.samples_of(voxels)
        return samples.size <= budget and max(samples.shape) <= longest

    best = Grid.of(volume, wanted)
    if fits(best):
        return best, wanted
    low, high = 0.4 / (max(volume.shape) * max(1.0, volume.anisotropy)), wanted  # the former is one sample
    best = Grid.of(volume, low)
    for _ in range(48):
        scale = math.sqrt(low * high)
        if fits(grid := Grid.of(volume, scale)):
            low, best = scale, grid
        else:
            high = scale
    return best, low


def _cut_evenly(grid: Grid, samples: Box, edges: tuple[int, int]) -> list[Box]:
    """Blocks of about the edges (axial, lateral; voxels of the level), beginning at the centre."""
    lengths = []
    for axis, (span, edge) in enumerate(zip(samples, (edges[0], edges[1], edges[1]), strict=True)):
        number = max(1, math.ceil(len(span) * grid.on_level(axis).step / edge - 0.25))
        lengths.append(-(-len(span) // number))

    def distance(place: Box) -> int:
        return sum(a.offset_from(b) ** 2 for a, b in zip(place, samples, strict=True))

    return sorted(samples.pieces(three(lengths)), key=distance)


def _plan(volume: Volume, grid: Grid, samples: Box, scale: float, blocks: int) -> RegionPlan:
    samplings = grid.parts(samples)
    return RegionPlan(
        shape=samples.shape,
        voxel_size=three(v * s.step for v, s in zip(volume.voxel_size, samplings, strict=True)),
        origin=three(o + v * s.start for o, v, s in zip(volume.origin, volume.voxel_size, samplings, strict=True)),
        samplings=samplings,
        output_scale=scale,
        first=samples.origin,
        blocks=blocks,
    )
