"""A checkpoint dropped on the canvas is selected in the dock widget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_niiv.models.catalog import SUFFIX

PLUGIN, WIDGET, TRAINING = "napari-niiv", "Isotropic reconstruct", "Train on this volume"


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[tuple[Any, ...]]] | None:
    """The reader of checkpoints, or None for anything else."""
    paths = [path] if isinstance(path, str) else path
    return _select if all(p.lower().endswith(SUFFIX) for p in paths) else None


def _select(path: str | list[str]) -> list[tuple[Any, ...]]:
    from napari import current_viewer

    if (viewer := current_viewer()) is not None:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        for one in [path] if isinstance(path, str) else path:
            widget.select_checkpoint(one)
    return [(None,)]  # napari's sign for "read, but no layer"
