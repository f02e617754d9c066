"""Boxes of the volumes in memory, exchanged for others while a training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_niiv.errors import TrainingError
from napari_niiv.geometry import Box, Shape, Span, three
from napari_niiv.training.data.held_out import EMPTY_DEVIATION
from napari_niiv.training.data.patches import PatchSampler
from napari_niiv.training.data.rotation import rotated
from napari_niiv.training.data.volumes import TrainingVolume

MOST_BOXES = 32
# boxes read in search of one with structure in it
_TRIES = 8

MakeBox = Callable[[TrainingVolume, Tensor, Box, Box], Tensor]
"""From (volume, voxels read, the box that they are, its core counted in it) to the box that patches are drawn from."""


@dataclass(frozen=True)
class BoxSize:
    """How large the boxes of a pool are, in voxels of the volume.

    Attributes
    ----------
    depth, edge : int
        Extent along z and along y and x, where the volume is larger.
    halo : int
        Read around a box, where the volume goes on.
    growth : float
        Voxels that patches are drawn from, for each that is read.
    largest : float
        Voxels of a volume that may be one box, whole.
    """

    depth: int
    edge: int
    halo: int = 0
    growth: float = 1.0
    largest: float = math.inf


class Pool:
    """Random boxes of some volumes, within a limit of memory; whole volumes where they fit.

    Boxes are read by a thread of its own, one ahead. Empty ones are passed over where others can be found. Boxes are
    rotated about z by random angles: of whole volumes there is a rotated copy beside each, of others every second is.

    Parameters
    ----------
    volumes : sequence of TrainingVolume
    size : BoxSize
    make : MakeBox
        Called on the thread that trains.
    memory : float
        Bytes of the voxels that patches are drawn from.
    device : torch.device
        Where they are kept.
    seed : int
    rotated_from : float
        Edge, in pixels, of the smallest boxes that are rotated: what is left of smaller ones has no room for a patch.

    Attributes
    ----------
    whole : bool
        Whether the boxes are whole volumes.
    remakes : bool
        Whether a box of a whole volume, made again, would be another; else an exchange only rotates.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        size: BoxSize,
        make: MakeBox,
        *,
        memory: float,
        device: torch.device,
        seed: int,
        rotated_from: float = math.inf,
    ) -> None:
        self._halo, self._make, self._device, self._seed = size.halo, make, device, seed
        self._random = np.random.default_rng(seed)
        self.growth = size.growth
        self._rotations = np.random.default_rng((seed, 1))  # the other one is the reading thread's
        self._rotated_from, self.remakes = rotated_from, False
        voxels = [math.prod(v.shape) for v in volumes]
        self.whole = 4 * size.growth * sum(voxels) <= memory and max(voxels) <= size.largest
        rooms = [min(v.shape[1:]) >= rotated_from for v in volumes]
        # a copy of each beside it, and one to rotate anew, if there is memory for them
        self.copies = self.whole and all(rooms) and 4 * 3 * size.growth * sum(voxels) <= memory
        self._slots: list[tuple[TrainingVolume, Shape]]
        if self.whole:
            self._slots = [(v, v.shape) for v in volumes]
        else:
            shapes = [three(map(min, v.shape, (size.depth, size.edge, size.edge))) for v in volumes]
            bytes_each = 4 * size.growth * max(float(math.prod(s)) for s in shapes)
            count = min(max(int(memory / bytes_each), 1), MOST_BOXES)
            # in proportion to the volumes' size, at least one of each
            share = np.maximum(1, np.floor(count * np.array(voxels) / sum(voxels))).astype(int)
            self._slots = [
                (volume, shape) for volume, shape, n in zip(volumes, shapes, share, strict=True) for _ in range(n)
            ]
            order = self._random.permutation(len(self._slots))
            self._slots = [self._slots[i] for i in order]
        self._boxes: list[Tensor] = []
        self._samplers: dict[int, PatchSampler] = {}
        self._oldest = 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="napari-niiv reading")
        self._ahead: Future[tuple[Tensor, Box, Box]] | None = None

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def work(self) -> float:
        """Voxels read for one box, on average."""
        return float(np.mean([math.prod(shape) for _, shape in self._slots]))

    @property
    def filled(self) -> float:
        """Voxels read for the boxes that are there."""
        return float(sum(math.prod(shape) for _, shape in self._slots[: len(self._boxes)]))

    def fill(self, enough: Callable[[], bool] = lambda: False) -> Iterator[float]:
        """Read the first boxes, at least one of them; yields the part that is done.

        Parameters
        ----------
        enough : callable
            Asked after each box; the boxes that are there then are all there will be.
        """
        for number in range(len(self._slots)):
            self._boxes.append(self._next(number, number + 1 if number + 1 < len(self._slots) else None))
            yield (number + 1) / len(self._slots)
            if enough():
                break
        if self._ahead is not None:  # what is being read is of no use, but must not disturb what follows
            self._ahead.exception()
            self._ahead = None
        del self._slots[len(self._boxes) :]

    def sampler(self, downsample: int, slices: int) -> PatchSampler:
        """Patches of so many slices of the boxes, pooled laterally (and along z, unless of one slice) by a factor."""
        if downsample not in self._samplers:
            boxes = [*self._boxes, *map(self._rotated, self._boxes)] if self.copies else self._boxes
            pooled = [_pooled(box, downsample, slices) for box in boxes]
            self._samplers[downsample] = PatchSampler(pooled, slices, self._seed + downsample)
        return self._samplers[downsample]

    def settle(self) -> None:
        """No more samplers will be asked for: boxes that are not rotated again need not be kept."""
        if not self.copies:
            self._boxes = []

    def exchange(self, slices: int) -> None:
        """Put a new box, or another rotation of a whole volume, in the place of the oldest."""
        slot = self._oldest
        self._oldest = (slot + 1) % len(self._slots)
        if self.whole and not self.remakes:
            if self.copies:
                self._put(len(self._slots) + slot, self._rotated(self._boxes[slot]), slices)
            return
        box = self._next(slot, self._oldest)
        self._put(slot, box, slices)
        if self.copies:
            self._boxes[slot] = box
            self._put(len(self._slots) + slot, self._rotated(box), slices)

    def _put(self, slot: int, box: Tensor, slices: int) -> None:
        for downsample, sampler in self._samplers.items():
            sampler.replace(slot, _pooled(box, downsample, slices))

    def _rotated(self, box: Tensor) -> Tensor:
        return rotated(box, float(self._rotations.uniform(0, 2 * math.pi)))

    def close(self) -> None:
        """Let the reading thread go."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _next(self, slot: int, then: int | None) -> Tensor:
        """The box for a slot; the one for the slot after it is read meanwhile."""
        ahead = self._ahead or self._reader.submit(self._read, slot)
        values, box, core = ahead.result()
        self._ahead = None if then is None else self._reader.submit(self._read, then)
        made = self._make(self._slots[slot][0], values.to(self._device), box, core)
        rotates = not self.whole and min(made.shape[1:]) >= self._rotated_from and self._rotations.random() < 0.5
        return self._rotated(made) if rotates else made

    def _read(self, slot: int) -> tuple[Tensor, Box, Box]:
        """What a box needs: voxels with their halo, where they are, and which are the box itself."""
        volume, shape = self._slots[slot]
        best, most = None, -1.0
        for _ in range(1 if self.whole else _TRIES):
            starts = [int(self._random.integers(n - e + 1)) for n, e in zip(volume.shape, shape, strict=True)]
            wanted = Box.of(Span(lo, lo + e) for lo, e in zip(starts, shape, strict=True))
            box = wanted.padded((self._halo,) * 3, volume.shape)
            core = wanted.relative_to(box.origin)
            values = volume.read(box)
            known = values[core.slices]
            known = known[~known.isnan()]
            # of what is measured, and by how much that is
            share = known.numel() / core.size
            structure = share * float(known.std()) if known.numel() > 1 else 0.0
            if structure > most:
                best, most = (values, box, core), structure
            if structure > EMPTY_DEVIATION:
                break
        assert best is not None
        return best


def _pooled(box: Tensor, factor: int, slices: int) -> Tensor:
    """Averaged over squares, or cubes where neighbouring slices matter; NaN where one of the voxels is."""
    if factor == 1:
        return box
    depth = factor if slices > 1 else 1
    if min(box.shape[1:]) < factor or box.shape[0] < depth:
        raise TrainingError("A volume is too small to be trained on at a coarser level.")
    return F.avg_pool3d(box[None, None], (depth, factor, factor))[0, 0]
