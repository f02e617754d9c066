"""What an export tells whoever runs it: frozen, so that threads can share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_niiv.events import Notice

Stage = Literal["check", "restore", "pyramid", "tiff"]
"""A part of an export: the full resolution, coarser ones, the TIFF file; or a look at what the disk has kept."""

ExportNotice = Notice
"""Something the user should know, in one sentence; the export goes on."""


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
        Names of the output's axes, such as "czyx".
    voxel_size : tuple of float
        Along z, y, x, in `unit`.
    unit : str
        Such as "micrometer".
    dtype : str
        Type of the voxels, such as "uint8".
    levels : int
        Resolutions, the full one included.
    resumed : int
        Output voxels of the full resolution that an earlier run has done already; not all of them, if the disk has lost
        some.
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
class ExportProgress:
    """Progress of a stage, after each block of it and while one takes long.

    Attributes
    ----------
    stage : {"check", "restore", "pyramid", "tiff"}
        Stages come in this order: full resolution, coarser ones, and the TIFF file. What is written is checked when an
        export is gone on with, before coarser resolutions are made of it, and before it gets its name.
    done, total : int
        Output voxels of the stage, those of an earlier run included.
    voxels_per_second : float
        Speed of this run in this stage.
    remaining : float or None
        Seconds that the stage will still take; None until something is done.
    """

    stage: Stage
    done: int
    total: int
    voxels_per_second: float
    remaining: float | None

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
        What is written.
    shape : tuple of int
        Of the output, its T and C axes included.
    voxel_size : tuple of float
        Along z, y, x, in `unit`.
    unit : str
    elapsed : float
        Seconds that this run took.
    """

    path: Path
    shape: tuple[int, ...]
    voxel_size: tuple[float, float, float]
    unit: str
    elapsed: float


ExportEvent = ExportStarted | Notice | ExportProgress | ExportFinished
