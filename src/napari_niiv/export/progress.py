"""How far a stage of an export is."""

from __future__ import annotations

import time

from napari_niiv.export.events import ExportProgress, Stage


class ProgressMeter:
    """Counts the voxels of a stage, and tells how fast they come.

    Parameters
    ----------
    stage : {"check", "restore", "pyramid", "tiff"}
    total : int
        Voxels of the stage.
    done : int
        Voxels that an earlier run has written.
    """

    def __init__(self, stage: Stage, total: int, done: int = 0) -> None:
        self._stage, self._total, self._done = stage, total, done
        self._new, self._began = 0, time.monotonic()

    def advance(self, voxels: int) -> ExportProgress:
        """The event that so many more voxels are done; 0 while only time goes by."""
        self._done += voxels
        self._new += voxels
        rate = self._new / max(time.monotonic() - self._began, 1e-9)
        remaining = (self._total - self._done) / rate if self._new else None
        return ExportProgress(self._stage, self._done, self._total, rate, remaining)
