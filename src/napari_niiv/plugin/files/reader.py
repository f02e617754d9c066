"""What napari opens with this plugin: checkpoints, and the volumes that it does not read itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.models.catalog import SUFFIX
from napari_niiv.plugin.manifest_names import PLUGIN as PLUGIN
from napari_niiv.plugin.manifest_names import TRAINING as TRAINING
from napari_niiv.plugin.manifest_names import WIDGET as WIDGET

HOW_TO_CHANGE = "“Voxel size and axes…” in “Isotropic reconstruct” changes it"
_NO_LAYER: list[tuple[Any, ...]] = [(None,)]  # napari's sign for "read, but no layer"
# as in the manifest; TIFF, .npy and zarr are left to napari and the plugins that are known for them, and all folders:
# whoever accepts folders is offered every one
VOLUMES = (".h5", ".hdf5", ".ims", ".mrc", ".rec", ".st", ".map", ".nii", ".nii.gz")


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[tuple[Any, ...]]] | None:
    """The reader of checkpoints, or of volumes, or None for anything else."""
    paths = [str(p).rstrip("/\\").lower() for p in ([path] if isinstance(path, str) else path)]
    if all(p.endswith(SUFFIX) for p in paths):
        return _select_checkpoints
    return _open_volumes if all(p.endswith(VOLUMES) for p in paths) else None


def _select_checkpoints(path: str | list[str]) -> list[tuple[Any, ...]]:
    if (widget := _widget()) is not None:
        for one in [path] if isinstance(path, str) else path:
            widget.select_checkpoint(one)
    return _NO_LAYER


def _widget() -> Any:
    """The dock widget of the viewer, opened if it is not; None without a viewer."""
    from napari import current_viewer

    from napari_niiv.plugin.common.docks import open_dock

    if (viewer := current_viewer()) is None:
        return None
    return open_dock(viewer, WIDGET)


def _open_volumes(path: str | list[str]) -> list[tuple[Any, ...]]:
    """Layers of volumes, lazy; of an error, napari shows `str(error)` as a notification."""
    from napari.utils.notifications import show_info

    from napari_niiv.io.remembered import open_remembered
    from napari_niiv.plugin.common.channels import channel_data
    from napari_niiv.plugin.common.notes import tell_notes
    from napari_niiv.plugin.common.words import WINDOW_WORDS

    volumes = []
    for one in [path] if isinstance(path, str) else path:
        try:
            volumes.append(open_remembered(one))
        except DatasetChoice as choice:
            if (widget := _widget()) is None:
                raise
            widget.datasets.offer(Path(one), choice)
        except VolumeError as error:
            raise VolumeError(error.in_words(WINDOW_WORDS)) from error
    for volume in volumes:
        tell_notes(volume)
        if remembered := volume.provenance.remembered:
            show_info(f"{volume.name}: {remembered}; {HOW_TO_CHANGE}.")
    return [(*layer, "image") for volume in volumes for layer in channel_data(volume)] or _NO_LAYER
