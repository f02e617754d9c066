"""The isotropic grid of a volume, and how it is cut into blocks that are computed each by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import Box, Sampling, Shape, Span, output_size, rounded_up, three
from napari_niiv.volume import Volume, downsampled

INTERPOLATE_BELOW = 1.25  # anisotropy under which there is nothing to infer
_BLOCK = {"cuda": (128, 256), "mps": (96, 192), "cpu": (128, 128)}  # voxels read: axial, lateral
DEVICES = tuple(_BLOCK)
_BLOCK_VOXELS = {"cuda": 1 << 26, "mps": 1 << 25, "cpu": 3 << 23}  # of the output: bounds the memory of one
_ALIGNED = 128  # samples: edges of blocks are multiples, so that those of files can be whole blocks
BLOCK_BYTES = 128 << 20
_RAW_EDGE = 2048  # pixels of the source: lateral edge of what is read at once, however far zoomed out


@dataclass(frozen=True)
class Block:
    """A part of a grid, and what it takes to compute it.

    Attributes
    ----------
    samplings : tuple of Sampling
        Positions of its samples, in voxels of the level that is read.
    core, padded : Box
        Voxels of the level that the samples lie between, and these with their halo.
    raw : Box
        What is read: the padded box in voxels of the source, with a margin along y and x.
    inside : Box
        The padded box, counted in what is read, in voxels of the level.
    inferred : bool
        Whether the network has a part in it.
    """

    samplings: tuple[Sampling, Sampling, Sampling]
    core: Box
    padded: Box
    raw: Box
    inside: Box
    inferred: bool


@dataclass(frozen=True)
class Grid:
    """The isotropic samples of a 3-D volume at one output scale.

    Attributes
    ----------
    source, shape : tuple of int
        Voxels of the source and samples of the output along z, y, x; both cover the same extent.
    downsample : int
        Lateral level that is read: its voxels are `downsample` of the source's along y and x.
    anisotropy : float
        Axial over lateral size of the level's voxels.
    """

    source: Shape
    shape: Shape
    downsample: int
    anisotropy: float

    @classmethod
    def of(cls, volume: Volume, scale: float) -> Grid:
        """The grid with `scale` samples per isotropic voxel.

        Raises
        ------
        ReconstructionError
            If the scale makes no sense.
        """
        if not 0 < scale <= 16:
            raise ReconstructionError(f"The output scale {scale:g} is outside 0 to 16; 1 gives isotropic voxels.")
        d = 1
        while 2 * d * scale <= 1:  # the level that the live view would read at this pitch
            d *= 2
        depth, height, width = volume.shape
        shape = (
            output_size(depth, volume.anisotropy * scale),
            output_size(height, scale),
            output_size(width, scale),
        )
        return cls((depth, height, width), shape, d, volume.anisotropy / d)

    @property
    def level(self) -> Shape:
        """Shape of the level that is read."""
        z, y, x = self.source
        return z, downsampled(y, self.downsample), downsampled(x, self.downsample)

    @property
    def inferable(self) -> bool:
        """Whether there is something to infer; else interpolation is the right answer."""
        return self.anisotropy >= INTERPOLATE_BELOW

    def sampling(self, axis: int) -> Sampling:
        """Positions of all samples along an axis, in voxels of the source."""
        return Sampling.covering(self.source[axis], self.shape[axis])

    def on_level(self, axis: int) -> Sampling:
        """The same positions in voxels of the level."""
        return self.sampling(axis).coarsened(self.downsample if axis else 1)

    def samples(self, axis: int, voxels: Span) -> Span:
        """The samples that a span of the source's voxels touches."""
        step = self.source[axis] / self.shape[axis]
        first = min(math.floor(voxels.lo / step + 1e-6), self.shape[axis] - 1)
        last = min(math.ceil(voxels.hi / step - 1e-6), self.shape[axis])
        return Span(first, max(last, first + 1))

    def samples_of(self, voxels: Box) -> Box:
        """The samples that a box of the source's voxels touches."""
        return Box.of(self.samples(axis, span) for axis, span in enumerate(voxels))

    def parts(self, place: Box) -> tuple[Sampling, Sampling, Sampling]:
        """Positions of the samples at `place`, in voxels of the source."""
        return three(self.sampling(axis).part(span.lo, len(span)) for axis, span in enumerate(place))

    def block(self, place: Box, halo: Shape, inferred: bool, edge: int = 1, margin: int = 0) -> Block:
        """What it takes to compute the samples at `place`.

        Parameters
        ----------
        place : Box
            Samples of the grid.
        halo : tuple of int
            Voxels of the level that are read around, along z, y, x.
        inferred : bool
            Whether the network has a part in it.
        edge : int
            Along y and x, what is read begins and ends with multiples of this before the halo: whole cells.
        margin : int
            Voxels of the level that are read around that, along y and x.
        """
        samplings = three(self.on_level(axis).part(span.lo, len(span)) for axis, span in enumerate(place))
        core = Box.of(s.support(size) for s, size in zip(samplings, self.level, strict=True))
        _, height, width = self.level
        whole = Box(core.z, core.y.outward(edge, height), core.x.outward(edge, width))
        padded = whole.padded(halo, self.level)
        factors = (1, self.downsample, self.downsample)
        wide = padded.padded((0, margin, margin), self.level)
        inside = padded.relative_to(wide.origin)
        return Block(samplings, core, padded, wide.scaled(factors, self.source), inside, inferred)


def block_edges(
    grid: Grid, device: str, itemsize: int, block: tuple[int, int] | None = None, shape: Shape | None = None
) -> Shape:
    """Samples of a block along z, y, x, with which a whole volume is cut.

    Parameters
    ----------
    grid : Grid
    device : str
        Type of the device; larger blocks have less halo, and suit a GPU.
    itemsize : int
        Bytes of an output voxel.
    block : tuple of int, optional
        Voxels of the level that is read, axial and lateral, instead of what suits the device.
    shape : tuple of int, optional
        Of the part of the grid that is wanted; all of it by default.
    """
    axial, lateral = block or _BLOCK[device]
    if block is None:
        lateral = min(lateral, max(16, _RAW_EDGE // grid.downsample))
    wanted = [edge / grid.on_level(axis).step for axis, edge in enumerate((axial, lateral, lateral))]
    if block is not None:
        return three(max(1, round(edge)) for edge in wanted)
    shape = shape or grid.shape
    counts = [max(1, math.ceil(n / edge - 0.25)) for n, edge in zip(shape, wanted, strict=True)]
    edges = [rounded_up(-(-n // count), _ALIGNED) for n, count in zip(shape, counts, strict=True)]
    limit = min(_BLOCK_VOXELS[device], BLOCK_BYTES // itemsize)
    while math.prod(edges) > limit:
        longest = edges.index(max(edges))
        edges[longest] = rounded_up(edges[longest] // 2, _ALIGNED)
    return three(edges)
