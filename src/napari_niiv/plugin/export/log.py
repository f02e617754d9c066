"""What an export has told so far, and how that is put into words; no Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from napari_niiv.export.events import (
    ExportEvent,
    ExportFinished,
    ExportNotice,
    ExportProgress,
    ExportStarted,
)
from napari_niiv.plugin.common.words import large, output_words, time_left

STAGES = {
    "restore": "restoring",
    "pyramid": "averaging for zooming out",
    "tiff": "writing the TIFF file",
}


@dataclass
class ExportLog:
    """The events of one export.

    Parameters
    ----------
    flat : bool
        Whether it is a TIFF file.
    """

    flat: bool = False
    words: str = "Looking at the volume…"
    fraction: float = 0.0
    left: str = ""
    output: str = ""
    started: ExportStarted | None = None
    finished: ExportFinished | None = None

    def add(self, event: ExportEvent) -> None:
        """Take note of an event."""
        match event:
            case ExportStarted():
                self.started = event
                self.words = "Going on where it stopped…" if event.resumed else "Restoring…"
                self.fraction = event.resumed / math.prod(event.shape)
                self.output = output_words(event.shape, event.axes, event.voxel_size, event.unit)
            case ExportProgress():
                self.fraction, self.left = event.fraction, time_left(event.seconds_left)
                self.words = self._stage(event)
            case ExportNotice():
                self.words = event.message
            case ExportFinished():
                self.finished, self.fraction, self.left = event, 1.0, ""

    def _stage(self, event: ExportProgress) -> str:
        stages = ["restore", "tiff"] if self.flat else ["restore", "pyramid"]
        if not self.flat and self.started is not None and self.started.levels == 1:
            stages = ["restore"]
        step = f"Step {stages.index(event.stage) + 1} of {len(stages)}, " if len(stages) > 1 else ""
        words = f"{step}{STAGES[event.stage]}"
        if event.voxels_per_second:
            words += f" · {large(event.voxels_per_second)} voxels/s"
        return words[:1].upper() + words[1:]


def outcome(log: ExportLog, problem: str, target: Path) -> str:
    """How an export ended, in words."""
    if problem:
        return problem
    if (done := log.finished) is not None:
        return f"Saved in {done.path}: {log.output}."
    if log.started is None:
        return "Stopped before anything was written."
    return f"Stopped; what is finished is kept beside {target.name}, to go on with later."
