"""Several sources live at once: the live reconstructions of a viewer, and the settings that they have in common."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_niiv.errors import NiivError
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.layers import REPAIRS, repairs_of
from napari_niiv.plugin.common.preferences import memory
from napari_niiv.plugin.common.removal import at_once
from napari_niiv.plugin.live.settings import LiveSettings

if TYPE_CHECKING:
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.reconstruction.cache import Memory
    from napari_niiv.sections.repairs import Repairs


# settings that a source, with the other channels of its volume, may have of its own
OWN = ("model", "finest", "denoise", "project")


class LiveLayers(QObject):
    """The live reconstructions of a viewer, at most one for each source, and the owner of their settings.

    The channels of a volume begin and end together, but for one whose own layer is deleted.

    All settings are common to all sources but those in `OWN` and `repairs`, which a source may have of its own, live or
    not; the latter lie in the layer's metadata, as exports and trainings need them too. Whatever changes the
    settings, a control or the mouse in a picture, all live reconstructions get the new ones, and then `changed` is
    emitted: controls, ortho views and 3-D views listen to it alone. `opened` brings each new live reconstruction,
    `ended` one that ended by itself, as its layer or its source was deleted. `seen` brings a source of which a picture,
    or in 3-D the volume, has appeared, and whether that is the best there will be.

    Parameters
    ----------
    viewer : ViewerModel

    Attributes
    ----------
    settings : LiveSettings
        Those common to all sources; those in `OWN` are of sources that have none of their own, `repairs` is None.
    """

    opened = Signal(object)
    seen = Signal(object, bool)
    ended = Signal(object)
    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.settings = LiveSettings()
        self._by_source: dict[Image, LiveReconstruction] = {}
        self._own: weakref.WeakKeyDictionary[Image, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._memory: Memory | None = None

    def __len__(self) -> int:
        return len(self._by_source)

    def __iter__(self) -> Iterator[LiveReconstruction]:
        return iter(list(self._by_source.values()))

    def get(self, source: Image | None) -> LiveReconstruction | None:
        """The live reconstruction of a source, if it has one."""
        return None if source is None else self._by_source.get(source)

    def settings_of(self, source: Image | None) -> LiveSettings:
        """The settings of a source, live or not; None has those common to all."""
        if source is None:
            return self.settings
        return replace(self.settings, **self._own.get(source, {}), repairs=repairs_of(source))

    def estimate_of(self, source: Image | None) -> float | None:
        """The noise level that "auto" comes to for a source that is live; None as long as it is not known."""
        live = self.get(source)
        return None if live is None else live.estimate

    def change(self, **changes: Any) -> None:
        """Replace some of the settings common to all sources."""
        before, self.settings = self.settings, replace(self.settings, **changes)
        if self.settings != before:
            self._apply()

    def set_own(self, source: Image | None, **changes: Any) -> None:
        """Replace settings in `OWN` of one source and its other channels.

        Parameters
        ----------
        source : Image or None
            None stands for those that have none of their own.
        **changes
            Fields of `LiveSettings`.
        """
        if source is None:
            self.change(**changes)
            return
        before = self.settings_of(source)
        if replace(before, **changes) != before:
            self._keep(source, changes)
            self._apply()

    def adopt(self, source: Image, copy: Image) -> None:
        """Give a layer that takes the place of another, and its other channels, the settings of that."""
        self._keep(copy, self._own.get(source, {}))

    def set_repairs(self, source: Image, repairs: Repairs | None) -> None:
        """Set what is done to the sections of one source; None where that is not known."""
        if repairs != repairs_of(source):
            source.metadata[REPAIRS] = repairs
            self._apply()

    @property
    def model(self) -> Niiv | None:
        """The model of sources that have none of their own; when it is set, it becomes that of all."""
        return self.settings.model

    @model.setter
    def model(self, model: Niiv) -> None:
        for own in self._own.values():
            own.pop("model", None)
        self.change(model=model)

    @property
    def memory(self) -> Memory:
        """What all views of the viewer may keep, together."""
        self._memory = self._memory or memory()
        return self._memory

    def open(self, source: Image) -> LiveReconstruction:
        """Make a source live, if it is not, and with it the other channels of its volume.

        Raises
        ------
        VolumeError
            If one of them cannot be reconstructed; then none is live.
        """
        channels = channels_of(self._viewer, source)
        try:
            lives = [self.get(each) or self._begin(each) for each in channels]
        except NiivError:
            self._close(channels)
            raise
        if len(lives) > 1:
            from napari_niiv.plugin.live.channels import LiveChannels

            group = next((live.channels for live in lives if live.channels), None) or LiveChannels(self._viewer)
            for live in lives:
                live.join(group)
        return self._by_source[source]

    def join(self) -> None:
        """Make channels live that came to volumes of which others are."""
        for live in self:
            if live.source in self._viewer.layers:
                self.open(live.source)

    def together(self, source: Image | None) -> list[Image]:
        """A source that is live, and the other channels of its volume that are live with it, the lowest first."""
        if (live := self.get(source)) is None:
            return []
        group, layers = live.channels, list(self._viewer.layers)
        found = [each.source for each in self if each is live or (group and each.channels is group)]
        return sorted(found, key=lambda each: layers.index(each) if each in layers else -1)

    def close(self, source: Image | None, remove: bool = True) -> None:
        """End the live reconstruction of a source, if it has one, and those of the other channels of its volume."""
        self._close(self.together(source), remove)

    def close_all(self, remove: bool = True) -> None:
        """End all of them; the layers stay if `remove` is false, as in a viewer that is gone."""
        self._close(list(self._by_source), remove)

    def _close(self, sources: Iterable[Image], remove: bool = True) -> None:
        with at_once(self._viewer.layers):
            for source in sources:
                if (live := self._by_source.pop(source, None)) is not None:
                    live.close(remove)

    def _begin(self, source: Image) -> LiveReconstruction:
        # with torch, by now imported elsewhere
        from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction

        live = LiveReconstruction(self._viewer, source, self.settings_of(source), memory=self.memory)
        self._by_source[source] = live
        live.settings_changed.connect(lambda: self._adopt(live))
        live.shown.connect(lambda shown: self.seen.emit(source, shown.final))
        live.closed.connect(lambda: self._forget(live))
        self.opened.emit(live)
        return live

    def _keep(self, source: Image, changes: dict[str, Any]) -> None:
        for each in channels_of(self._viewer, source):
            self._own.setdefault(each, {}).update(changes)

    def _adopt(self, live: LiveReconstruction) -> None:
        """Take what was changed in one picture, such as a split that was dragged there, for all."""
        settings, known = live.settings, self.settings_of(live.source)
        if settings == known:
            return
        own = {name: getattr(settings, name) for name in OWN}
        self._keep(live.source, {name: value for name, value in own.items() if value != getattr(known, name)})
        common = {name: getattr(self.settings, name) for name in OWN}
        self.settings = replace(settings, **common, repairs=None)
        self._apply()

    def _apply(self) -> None:
        with at_once(self._viewer.layers):  # maps of trust go
            for live in self:
                live.apply(self.settings_of(live.source))
        self.changed.emit()

    def _forget(self, live: LiveReconstruction) -> None:
        """Drop one that ended by itself."""
        if self._by_source.get(live.source) is live:
            del self._by_source[live.source]
            self.ended.emit(live)
