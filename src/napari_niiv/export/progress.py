"""How far a stage of an export is, how fast it goes, and how long it will still take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from napari_niiv.export.events import ExportProgress, Stage

# seconds that the speed is an average over, and the least weight that a new block leaves to those before
_MEMORY, _LEAST_KEPT = 120.0, 0.95
# the time left is told to be longer only by so much at once: what is less is noise
_RISE = 1.1


class ProgressMeter:
    """Counts the voxels of a stage, and tells how fast they come.

    The speed is an exponential average over the blocks of this run. The first block is left out once there are others,
    as it waits for what is loaded and compiled. The time left does not go up and down with the blocks: it is told to be
    longer only when it is by a tenth.

    Parameters
    ----------
    stage : {"check", "restore", "pyramid", "tiff"}
    total : int
        Voxels of the stage.
    done : int
        Voxels that an earlier run has written.
    clock : callable
        Gives seconds.
    """

    def __init__(self, stage: Stage, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage, self._total, self._done, self._clock = stage, total, done, clock
        self._since = clock()  # the last block
        self._blocks, self._largest = 0, 0
        # of the blocks that are remembered, weighted by their age
        self._voxels = self._seconds = 0.0
        self._told = math.inf

    def advance(self, voxels: int) -> ExportProgress:
        """The event that so many more voxels are done; 0 while only time goes by."""
        self._done += voxels
        if voxels:
            self._count(voxels)
        if not self._blocks:
            return ExportProgress(self._stage, self._done, self._total, 0.0, None)
        rate = self._voxels / max(self._seconds, 1e-9)
        left = self._left(rate)
        if left < self._told or left > _RISE * self._told or self._blocks == 1:
            self._told = left
        return ExportProgress(self._stage, self._done, self._total, rate, self._told)

    def _count(self, voxels: int) -> None:
        now = self._clock()
        seconds, self._since = now - self._since, now
        self._blocks += 1
        if self._blocks <= 2:
            self._voxels = self._seconds = 0.0
            self._told = math.inf
        kept = max(_LEAST_KEPT, math.exp(-seconds / _MEMORY))
        self._voxels, self._seconds = kept * self._voxels + voxels, kept * self._seconds + seconds
        self._largest = max(self._largest, voxels)

    def _left(self, rate: float) -> float:
        """Seconds, of which the block under way has taken some; if it is late, later ones are expected to be."""
        since = self._clock() - self._since
        begun = min(since * rate, self._largest, self._total - self._done)
        late = since - begun / rate
        return (self._total - self._done - begun) * (self._seconds + late) / self._voxels
