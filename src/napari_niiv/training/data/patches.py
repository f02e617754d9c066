"""Random patches of xy slices, with neighbouring slices, from boxes in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_niiv.errors import TrainingError

# edge of the squares whose structure is measured, pixels
_CELL = 8
# places compared for each patch drawn
_CANDIDATES = 4
# chance of a patch without any structure, beside one full of it
_FLOOR = 0.05


class PatchSampler:
    """Draw batches of patches; either lateral axis plays the axial one, with random flips of all three axes.

    Empty places are drawn less: of several random places, one is taken with a chance that grows with the structure in
    it. Places that hold NaN are not drawn at all. A batch is one gather on the boxes' device, without a loop.

    Parameters
    ----------
    boxes : sequence of Tensor, shape (z, y, x)
        Normalised, on one device; drawn from in proportion to their number of voxels. NaN marks holes.
    slices : int
        That a patch holds: a cell's own and its neighbours.
    seed : int
        Of the random choices.

    Raises
    ------
    TrainingError
        If a box has fewer slices than a sample needs.
    """

    def __init__(self, boxes: Sequence[Tensor], slices: int, seed: int) -> None:
        device = boxes[0].device
        depth = min(b.shape[0] for b in boxes)
        self._slices = slices
        if depth < self._slices:
            raise TrainingError(
                f"A volume has {depth} slices and a sample needs {self._slices}; use a volume with more slices, "
                "or a model with less context."
            )
        self._smallest = min(min(b.shape[1:]) for b in boxes)
        counts = [b.numel() for b in boxes]
        self._voxels = torch.empty(sum(counts), dtype=torch.float32, device=device)
        self._share = torch.tensor(counts, device=device).float()
        self._first = [sum(counts[:i]) for i in range(len(counts))]
        self._shapes = [tuple(b.shape) for b in boxes]
        tables = [_table_shape(s) for s in self._shapes]
        sizes = [z * y * x for z, y, x in tables]
        # summed-area tables: structure, and holes
        self._tables = torch.zeros(2, sum(sizes), dtype=torch.int64, device=device)
        self._first_entry = [sum(sizes[:i]) for i in range(len(sizes))]
        self._layout = torch.tensor(
            [
                (*shape, first, entry, *table)
                for shape, first, entry, table in zip(self._shapes, self._first, self._first_entry, tables, strict=True)
            ],
            device=device,
        )
        deviations = [_deviation(b) for b in boxes]
        known = torch.cat([d[d.isfinite()] for d in deviations])
        self._typical = max(float(known.square().mean().sqrt()), 1e-9) if len(known) else 1.0
        for slot, box in enumerate(boxes):
            self.replace(slot, box)
        self._generator = torch.Generator(device).manual_seed(seed)

    @property
    def device(self) -> torch.device:
        """Where the patches are."""
        return self._voxels.device

    def replace(self, slot: int, box: Tensor) -> None:
        """Put another box, of the same shape, in the place of one."""
        if tuple(box.shape) != self._shapes[slot]:
            raise ValueError(f"a box of shape {tuple(box.shape)} does not fit {self._shapes[slot]}")
        box = box.to(self.device)
        deviation = _deviation(box)
        structure = (255 * (deviation.nan_to_num() / self._typical).clamp(max=1)).long()
        tables = torch.stack([_summed(structure), _summed(deviation.isnan().long())]).flatten(1)
        entry, first = self._first_entry[slot], self._first[slot]
        self._tables[:, entry : entry + tables.shape[1]] = tables
        self._voxels[first : first + box.numel()] = box.nan_to_num().flatten()

    def draw(self, count: int, lateral: int, axial: int, noise: float = 0.0) -> Tensor:
        """A batch.

        Parameters
        ----------
        count : int
        lateral, axial : int
            Size of a patch, in pixels; reduced to what the smallest box offers.
        noise : float
            Standard deviation of the white noise that is added to the patches.

        Returns
        -------
        Tensor, shape (count, slices, lateral, axial)
        """
        sizes = (self._slices, min(lateral, self._smallest), min(axial, self._smallest))
        places, chance = self._places(_CANDIDATES * count, sizes)
        # the largest of u^(1/chance): a weighted choice without repetition
        keys = places.dice[6].clamp(1e-6, 1 - 1e-6).log() / chance.clamp_min(1e-12)
        chosen = keys.topk(count).indices
        patches = self._voxels[places.voxels(torch.where(chance[chosen] > 0, chosen, chosen[:1]), sizes)]
        if noise:
            patches += noise * torch.randn(patches.shape, generator=self._generator, device=patches.device)
        return patches

    def free_of_holes(self, lateral: int, axial: int) -> bool:
        """Whether there are places without NaN for patches of this size, as far as a thousand tries tell."""
        sizes = (self._slices, min(lateral, self._smallest), min(axial, self._smallest))
        return bool((self._places(1000, sizes)[1] > 0).any())

    def _places(self, count: int, sizes: tuple[int, int, int]) -> tuple[_Places, Tensor]:
        """Random places, and the chance that each deserves (0 with holes)."""
        device, generator = self.device, self._generator
        which = torch.multinomial(self._share, count, replacement=True, generator=generator)
        dice = torch.rand(8, count, generator=generator, device=device)
        layout = self._layout[which].T
        depth, height, width, _, entry, _, rows, columns = layout
        swap = dice[7] < 0.5
        extents = (depth, torch.where(swap, width, height), torch.where(swap, height, width))
        z, lateral, axial = (
            (die * (extent - size + 1)).long() for die, extent, size in zip(dice[:3], extents, sizes, strict=True)
        )
        y, x = torch.where(swap, axial, lateral), torch.where(swap, lateral, axial)
        high, wide = (torch.where(swap, sizes[2 - i], sizes[1 + i]) for i in (0, 1))
        edges = (
            (z, z + sizes[0]),
            (y // _CELL, (y + high + _CELL - 1) // _CELL),
            (x // _CELL, (x + wide + _CELL - 1) // _CELL),
        )
        structure, holes = torch.zeros(2, count, dtype=torch.int64, device=device)
        for corner in range(8):
            a, b, c = (edges[axis][corner >> axis & 1] for axis in range(3))
            sign = 1 if corner.bit_count() % 2 else -1  # three upper edges, or one: added
            sums = sign * self._tables[:, entry + (a * rows + b) * columns + c]
            structure, holes = structure + sums[0], holes + sums[1]
        cells = sizes[0] * (edges[1][1] - edges[1][0]) * (edges[2][1] - edges[2][0])
        chance = torch.where(holes > 0, 0, (structure / (255 * cells)).clamp(_FLOOR, 1))
        return _Places((z, lateral, axial), swap, layout, dice), chance


@dataclass(frozen=True)
class _Places:
    """Where patches may be cut: starts along z and the two lateral axes, which of them plays the axial one."""

    starts: tuple[Tensor, Tensor, Tensor]
    swap: Tensor
    layout: Tensor
    dice: Tensor

    def voxels(self, chosen: Tensor, sizes: tuple[int, int, int]) -> Tensor:
        """Indices of the voxels of some of the patches, randomly flipped; shape (chosen, *sizes)."""
        _, height, width, first, *_ = self.layout[:, chosen]
        swap, dice = self.swap[chosen], self.dice[:, chosen]
        one = torch.ones_like(width)
        strides = (height * width, torch.where(swap, one, width), torch.where(swap, width, one))
        index: Tensor = first.view(-1, 1, 1, 1)
        for axis, (start, stride, size) in enumerate(zip(self.starts, strides, sizes, strict=True)):
            steps = torch.arange(size, device=index.device).expand(len(chosen), -1)
            steps = torch.where((dice[3 + axis] < 0.5)[:, None], size - 1 - steps, steps)
            shape = [len(chosen), 1, 1, 1]
            shape[1 + axis] = size
            index = index + ((start[chosen, None] + steps) * stride[:, None]).view(shape)
        return index


def _table_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = shape
    return z + 1, -(-y // _CELL) + 1, -(-x // _CELL) + 1


def _deviation(box: Tensor) -> Tensor:
    """Standard deviation in squares of each slice; NaN where a square holds a hole."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x[:, None], _CELL, ceil_mode=True, count_include_pad=False)[:, 0]

    return (mean(box.square()) - mean(box).square()).clamp_min(0).sqrt()


def _summed(values: Tensor) -> Tensor:
    """Summed-area table with a border of zeros at the beginning of each axis."""
    return F.pad(values.cumsum(0).cumsum(1).cumsum(2), (1, 0, 1, 0, 1, 0))
