"""What an export tells whoever runs it: frozen, so that threads can share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["restore", "pyramid", "tiff"]


@dataclass(frozen=True)
class ExportStarted:
    """The plan: the first event.

    Attributes
    ----------
    path, unfinished : Path
        What will be written, and the folder in which it grows.
    shape : tuple of int
        Of the output, its T and C axes included.
    axes : str
        Their names.
    voxel_size : tuple of float
        Along z, y, x, in `unit`.
    unit : str
    dtype : str
    levels : int
        Resolutions, the full one included.
    resumed : int
        Output voxels of the full resolution that an earlier run has done already.
    """

    path: Path
    unfinished: Path
    shape: tuple[int, ...]
    axes: str
    voxel_size: tuple[float, float, float]
    unit: str
    dtype: str
    levels: int
    resumed: int


@dataclass(frozen=True)
class ExportNotice:
    """Something the user should know, in one sentence; the export goes on."""

    message: str


@dataclass(frozen=True)
class ExportProgress:
    """Progress of a stage, after each block of it and while one takes long.

    Attributes
    ----------
    stage : {"restore", "pyramid", "tiff"}
        Stages come in this order: full resolution, coarser ones, and the TIFF file.
    done, total : int
        Output voxels of the stage, those of an earlier run included.
    voxels_per_second : float
        Of this run and stage.
    seconds_left : float or None
        Of the stage; None until something is done.
    """

    stage: Stage
    done: int
    total: int
    voxels_per_second: float
    seconds_left: float | None

    @property
    def fraction(self) -> float:
        """Part of the stage that is done, 0 … 1."""
        return self.done / self.total


@dataclass(frozen=True)
class ExportFinished:
    """The end; nothing comes after.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    voxel_size : tuple of float
        Along z, y, x, in `unit`.
    unit : str
    seconds : float
        Of this run.
    """

    path: Path
    shape: tuple[int, ...]
    voxel_size: tuple[float, float, float]
    unit: str
    seconds: float


ExportEvent = ExportStarted | ExportNotice | ExportProgress | ExportFinished
