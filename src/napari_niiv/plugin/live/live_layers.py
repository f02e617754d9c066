"""Several sources live at once: the live reconstructions of a viewer."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_niiv.plugin.common.preferences import memory

if TYPE_CHECKING:
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.reconstruction.cache import Memory
    from napari_niiv.reconstruction.views.request import Trust


class LiveLayers(QObject):
    """The live reconstructions of a viewer: at most one for each source; model and split are common to all.

    `opened` tells of each new one, `ended` of one that ended by itself, as its layer or its source was deleted,
    `split_moved` of a split line dragged by the mouse, and `trust_changed` of a map deleted by the user.

    Parameters
    ----------
    viewer : ViewerModel
    """

    opened = Signal(object)
    ended = Signal(object)
    split_moved = Signal(float)
    trust_changed = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._live_layers: dict[Image, LiveReconstruction] = {}
        self._finest: weakref.WeakKeyDictionary[Image, float] = weakref.WeakKeyDictionary()
        self._model: Niiv | None = None
        self._split: float | None = None
        self._comparing = self._steps = self._project = False
        self._trust: tuple[Trust, ...] = ()
        self._memory: Memory | None = None

    def __len__(self) -> int:
        return len(self._live_layers)

    def __iter__(self) -> Iterator[LiveReconstruction]:
        return iter(list(self._live_layers.values()))

    def get(self, source: Image | None) -> LiveReconstruction | None:
        """The live reconstruction of a source, if it has one."""
        return None if source is None else self._live_layers.get(source)

    @property
    def model(self) -> Niiv | None:
        """The model of all; those that are live redraw when it is set."""
        return self._model

    @model.setter
    def model(self, model: Niiv) -> None:
        self._model = model
        for live in self:
            if live.model is not model:
                live.model = model

    @property
    def split(self) -> float | None:
        """The part of the window that shows the sources, as in `LiveReconstruction`."""
        return self._split

    @split.setter
    def split(self, value: float | None) -> None:
        self._split = value
        for live in self:
            live.split = value

    @property
    def steps(self) -> bool:
        """Whether the z slider stops between the slices, as in `LiveReconstruction`."""
        return self._steps

    @steps.setter
    def steps(self, value: bool) -> None:
        self._steps = value
        for live in self:
            live.steps = value

    @property
    def project(self) -> bool:
        """Whether all pictures keep what was measured, as in `LiveReconstruction`."""
        return self._project

    @project.setter
    def project(self, value: bool) -> None:
        self._project = value
        for live in self:
            live.project = value

    @property
    def trust(self) -> tuple[Trust, ...]:
        """The maps over all pictures, as in `LiveReconstruction`."""
        return self._trust

    @trust.setter
    def trust(self, kinds: tuple[Trust, ...]) -> None:
        self._trust = kinds
        for live in self:
            live.trust = kinds

    @property
    def memory(self) -> Memory:
        """What all views of the viewer may keep, together."""
        self._memory = self._memory or memory()
        return self._memory

    def compare(self, on: bool) -> None:
        """While on, the sources show in place of all reconstructions."""
        self._comparing = on
        for live in self:
            live.compare(on)

    def finest(self, source: Image | None) -> float:
        """The finest pixel of a source, in lateral voxels, live or not; 0 follows the zoom."""
        return 0.0 if source is None else self._finest.get(source, 0.0)

    def set_finest(self, source: Image, value: float) -> None:
        """Set the finest pixel of a source."""
        self._finest[source] = value
        if (live := self.get(source)) is not None:
            live.finest = value

    def open(self, source: Image) -> LiveReconstruction:
        """Make a source live, if it is not.

        Raises
        ------
        VolumeError
            If the source cannot be reconstructed.
        """
        from napari_niiv.plugin.live.live_reconstruction import (
            LiveReconstruction,  # with torch, by now imported elsewhere
        )

        if (held := self.get(source)) is not None:
            return held
        if self._model is None:
            raise RuntimeError("a model comes first")
        live = LiveReconstruction(
            self._viewer, source, self._model, finest=self.finest(source), memory=self.memory
        )
        self._live_layers[source] = live
        live.split, live.steps = self._split, self._steps
        live.project, live.trust = self._project, self._trust
        live.compare(self._comparing)
        live.split_moved.connect(self._move_split)
        live.trust_changed.connect(self._change_trust)
        live.closed.connect(lambda: self._went(live))
        self.opened.emit(live)
        return live

    def close(self, source: Image | None, remove: bool = True) -> None:
        """End the live reconstruction of a source, if it has one."""
        if (live := self.get(source)) is not None:
            del self._live_layers[live.source]
            live.close(remove)

    def close_all(self, remove: bool = True) -> None:
        """End them all; the layers of a viewer that is gone stay."""
        for live in self:
            self.close(live.source, remove)

    def _went(self, live: LiveReconstruction) -> None:
        if self._live_layers.get(live.source) is live:
            del self._live_layers[live.source]
            self.ended.emit(live)

    def _change_trust(self, kinds: tuple[Trust, ...]) -> None:
        self.trust = kinds
        self.trust_changed.emit(kinds)

    def _move_split(self, value: float) -> None:
        self.split = value
        self.split_moved.emit(value)
