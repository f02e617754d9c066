"""Whole volumes into files: shard by shard, in bounded memory, resumable."""

from napari_niiv.export.config import ExportConfig
from napari_niiv.export.events import (
    ExportEvent,
    ExportFinished,
    ExportNotice,
    ExportProgress,
    ExportStarted,
)
from napari_niiv.export.run import export
from napari_niiv.export.store import discard, unfinished_path

__all__ = [
    "ExportConfig",
    "ExportEvent",
    "ExportFinished",
    "ExportNotice",
    "ExportProgress",
    "ExportStarted",
    "discard",
    "export",
    "unfinished_path",
]
