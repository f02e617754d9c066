"""The volume that is selected in napari's layer list, as the choice of a dock widget follows it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject

from napari_niiv.errors import VolumeError
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.layers import ISOTROPIC, LIVE, PROVENANCE, is_source, layer_volume
from napari_niiv.plugin.common.removal import once_after_removals


class SelectedVolume:
    """Has a volume chosen when its layer, or its live layer, is selected: by the user, or by napari as it is opened.

    What the plugin itself opens is left to who opens it: of many files dropped on the widget, the first is chosen.
    Nothing is chosen that cannot be restored, such as labels or the result of an export; neither is what napari
    selects when another layer goes, another channel of the chosen volume as it is opened, or a layer without voxel
    size and file that a plugin adds.

    Parameters
    ----------
    parent : QObject
        With it this ends.
    viewer : ViewerModel
    chosen : callable
        The layer that is chosen now.
    choose : callable
        Gets the layer to be chosen.
    """

    def __init__(
        self,
        parent: QObject,
        viewer: ViewerModel,
        chosen: Callable[[], Image | None],
        choose: Callable[[Image], None],
    ) -> None:
        self._viewer, self._chosen, self._choose = viewer, chosen, choose
        self._new: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._removed = False
        self._last = _reference(self._selected())  # that was selected when the list was at rest
        self._at_rest = once_after_removals(parent, self._follow)
        connections, layers = Connections(), viewer.layers
        connections.connect(self._note_new, layers.events.inserted)
        connections.connect(self._note_removed, layers.events.removed)
        connections.connect(self._note_selected, layers.selection.events.active)
        when_destroyed(parent, connections.disconnect)

    def _note_new(self, event: Any) -> None:
        self._new.add(event.value)
        self._at_rest.throttle()

    def _note_removed(self, event: Any) -> None:
        self._removed = True
        self._at_rest.throttle()

    def _note_selected(self, event: Any) -> None:
        self._at_rest.throttle()

    def _selected(self) -> Layer | None:
        """The one selected layer itself; as `active`, a plugin is given a proxy of it."""
        selected = list(self._viewer.layers.selection)
        return selected[0] if len(selected) == 1 else None

    def _follow(self) -> None:
        layer, new, removed, last = self._selected(), set(self._new), self._removed, self._last()
        self._new.clear()
        self._removed = False
        # one of ours that has just come was not selected by hand: what was chosen stays
        if layer is None or layer is last or (layer in new and LIVE in layer.metadata):
            return
        self._last = _reference(layer)
        if LIVE in layer.metadata:
            layer = getattr(layer, "source_layer", None)
        chosen = self._chosen()
        if layer is None or layer is chosen or not is_source(layer) or layer not in self._viewer.layers:
            return
        if layer not in new:
            if not removed and can_be_restored(layer):
                self._choose(layer)
        elif PROVENANCE in layer.metadata and layer.source.path is None:
            return
        elif chosen not in channels_of(self._viewer, layer) and can_be_restored(layer, opened=True):
            self._choose(layer)


def _reference(layer: Layer | None) -> Callable[[], Layer | None]:
    return weakref.ref(layer) if layer is not None else lambda: None


def restorable(layers: list[Image]) -> list[Image]:
    """Those of the layers that can be restored; all of them, if none can."""
    return [layer for layer in layers if can_be_restored(layer)] or layers


def can_be_restored(layer: Image, opened: bool = False) -> bool:
    """Whether a layer is anisotropic, or may be, as it has no voxel size: one just there, if its file gives none."""
    try:
        volume = layer_volume(layer)
    except VolumeError:
        return False
    unsaid = volume.unit == "pixel" and set(volume.voxel_size) == {1.0}
    return volume.anisotropy > ISOTROPIC or (unsaid and (not opened or layer.source.path is not None))
