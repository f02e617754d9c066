"""Boxes of the volumes held in memory, exchanged for others while a training goes on."""

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
from napari_niiv.geometry import Span
from napari_niiv.training.data.patches import PatchSampler
from napari_niiv.training.data.volumes import Box, TrainingVolume

MOST_BOXES = 32
_TRIES = 8  # boxes read in search of one with structure in it
FLAT = 0.02  # standard deviation of normalised intensities below which a box counts as empty

Make = Callable[[TrainingVolume, Tensor, Box, Box], Tensor]
"""From (subject, what was read, the box read, its core) to the box that patches are drawn from."""


@dataclass(frozen=True)
class Shape:
    """Of the boxes of a pool, in voxels of the volume.

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

    Boxes are read by a thread of its own, one ahead. Empty ones are passed over where others can be found.

    Parameters
    ----------
    subjects : sequence of TrainingVolume
    shape : Shape
    make : callable
        Called on the thread that trains.
    memory : float
        Bytes of the voxels that patches are drawn from.
    device : torch.device
        Where they are kept.
    seed : int
    """

    def __init__(
        self,
        subjects: Sequence[TrainingVolume],
        shape: Shape,
        make: Make,
        *,
        memory: float,
        device: torch.device,
        seed: int,
    ) -> None:
        self._shape, self._make, self._device, self._seed = shape, make, device, seed
        self._random = np.random.default_rng(seed)
        voxels = [s.shape[0] * s.shape[1] * s.shape[2] for s in subjects]
        self.whole = 4 * shape.growth * sum(voxels) <= memory and max(voxels) <= shape.largest
        if self.whole:
            self._slots = [(s, s.shape) for s in subjects]
        else:
            shapes = [tuple(map(min, s.shape, (shape.depth, shape.edge, shape.edge))) for s in subjects]
            bytes_each = 4 * shape.growth * max(float(np.prod(s)) for s in shapes)
            count = min(max(int(memory / bytes_each), 1), MOST_BOXES)
            # in proportion to the volumes' size, at least one of each
            share = np.maximum(1, np.floor(count * np.array(voxels) / sum(voxels))).astype(int)
            self._slots = [
                (subject, (int(extent[0]), int(extent[1]), int(extent[2])))
                for subject, extent, n in zip(subjects, shapes, share, strict=True)
                for _ in range(n)
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
        return float(np.mean([np.prod(extent) for _, extent in self._slots]))

    @property
    def filled(self) -> float:
        """Voxels read for the boxes that are there."""
        return float(sum(np.prod(extent) for _, extent in self._slots[: len(self._boxes)]))

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

    def sampler(self, downsample: int, context: int) -> PatchSampler:
        """Patches of the boxes, pooled laterally (and along z, where there is context) by a whole factor."""
        if downsample not in self._samplers:
            pooled = [_pooled(box, downsample, context) for box in self._boxes]
            self._samplers[downsample] = PatchSampler(pooled, context, self._seed + downsample)
        return self._samplers[downsample]

    def settle(self) -> None:
        """No more samplers will be asked for: the boxes themselves need not be kept."""
        self._boxes = []

    def exchange(self, context: int) -> None:
        """Put a new box in the place of the oldest."""
        slot = self._oldest
        self._oldest = (slot + 1) % len(self._slots)
        box = self._next(slot, self._oldest)
        for downsample, sampler in self._samplers.items():
            sampler.replace(slot, _pooled(box, downsample, context))

    def close(self) -> None:
        """Let the reading thread go."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _next(self, slot: int, then: int | None) -> Tensor:
        """The box for a slot; the one for the slot after it is read meanwhile."""
        ahead = self._ahead or self._reader.submit(self._read, slot)
        values, box, core = ahead.result()
        self._ahead = None if then is None else self._reader.submit(self._read, then)
        subject = self._slots[slot][0]
        return self._make(subject, values.to(self._device), box, core)

    def _read(self, slot: int) -> tuple[Tensor, Box, Box]:
        """What a box needs: voxels with their halo, where they are, and which are the box itself."""
        subject, extent = self._slots[slot]
        best, most = None, -1.0
        for _ in range(1 if self.whole else _TRIES):
            starts = [
                int(self._random.integers(n - e + 1)) for n, e in zip(subject.shape, extent, strict=True)
            ]
            spans = [Span(a, a + e) for a, e in zip(starts, extent, strict=True)]
            around = [s.padded(self._shape.halo, n) for s, n in zip(spans, subject.shape, strict=True)]
            box = (around[0], around[1], around[2])
            values = subject.read(box)
            core = tuple(Span(s.lo - b.lo, s.hi - b.lo) for s, b in zip(spans, box, strict=True))
            there = values[core[0].slice, core[1].slice, core[2].slice]
            structure = float(torch.nan_to_num(there).std()) if there.numel() > 1 else 0.0
            if structure > most:
                best, most = (values, box, (core[0], core[1], core[2])), structure
            if structure > FLAT:
                break
        assert best is not None
        return best


def _pooled(box: Tensor, factor: int, context: int) -> Tensor:
    """Averaged over squares, or cubes where neighbouring slices matter; NaN where one of the voxels is."""
    if factor == 1:
        return box
    depth = factor if context else 1
    if min(box.shape[1:]) < factor or box.shape[0] < depth:
        raise TrainingError("A volume is too small to be trained on at a coarser level.")
    return F.avg_pool3d(box[None, None], (depth, factor, factor))[0, 0]
