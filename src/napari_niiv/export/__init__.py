"""Whole volumes into files: shard by shard, in bounded memory, resumable.

The names below are imported when first used: the configuration needs no torch, the export does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


_HOMES = {"ExportConfig": "config", "discard": "store", "export": "run", "unfinished_path": "store"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'events')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
