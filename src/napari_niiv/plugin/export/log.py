"""The events of an export put into words; no Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_niiv.export.events import (
    ExportEvent,
    ExportFinished,
    ExportNotice,
    ExportProgress,
    ExportStarted,
)
from napari_niiv.plugin.common.words import large, output_words, time_left

STAGES = {
    "check": "checking what is written",
    "restore": "restoring",
    "pyramid": "averaging for zooming out",
    "tiff": "writing the TIFF file",
}


@dataclass
class ExportLog:
    """What the events of one export come to.

    Attributes
    ----------
    tiff : bool
        Whether the output is a TIFF file.
    message : str
        What is being done, in words.
    fraction : float
        Part of the stage that is done, 0 … 1.
    remaining : str
        How long the stage will still take, as a clock shows it; empty where that is not known.
    output : str
        Shape and voxel size of the output, in words.
    started, finished : event or None
    """

    tiff: bool = False
    message: str = "Looking at the volume…"
    fraction: float = 0.0
    remaining: str = ""
    output: str = ""
    started: ExportStarted | None = None
    finished: ExportFinished | None = None

    def add(self, event: ExportEvent) -> None:
        """Take account of an event."""
        match event:
            case ExportStarted():
                self.started = event
                self.message = "Going on where it stopped…" if event.resumed else "Restoring…"
                self.fraction = event.resumed / math.prod(event.shape)
                self.output = output_words(event.shape, event.axes, event.voxel_size, event.unit)
            case ExportProgress():
                self.fraction, self.remaining = event.fraction, time_left(event.remaining)
                self.message = self._stage(event)
            case ExportNotice():
                self.message = event.message
            case ExportFinished():
                self.finished, self.fraction, self.remaining = event, 1.0, ""

    def _stage(self, event: ExportProgress) -> str:
        stages = ["restore", "tiff"] if self.tiff else ["restore", "pyramid"]
        if not self.tiff and self.started is not None and self.started.levels == 1:
            stages = ["restore"]
        numbered = len(stages) > 1 and event.stage in stages
        step = f"Step {stages.index(event.stage) + 1} of {len(stages)}, " if numbered else ""
        message = f"{step}{STAGES[event.stage]}"
        if event.voxels_per_second:
            message += f" · {large(event.voxels_per_second)} voxels/s"
        return message[:1].upper() + message[1:]


def outcome(log: ExportLog, problem: str, kept: str) -> str:
    """How an export ended, in words; of one that was stopped, what is kept, such as "3 of 12 parts are kept"."""
    if problem:
        return problem
    if (done := log.finished) is not None:
        return f"Saved in {done.path}: {log.output}."
    return (
        f"Stopped: {kept}; choose Resume to go on." if kept else "Stopped: nothing was kept, as no part was complete."
    )
