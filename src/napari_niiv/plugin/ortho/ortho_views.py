"""Ortho views: beside the main view the two other planes, live, linked by a cross-hair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QSplitter, QWidget
from superqt.utils import QSignalThrottler

from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import VIEWS, layer_volume
from napari_niiv.plugin.live.channels import LiveChannels
from napari_niiv.plugin.live.live_reconstruction import COALESCE_MS, LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.napari_compat import bare_canvas, close_canvas, keep_docked
from napari_niiv.plugin.ortho.crosshair import CrossHair
from napari_niiv.plugin.ortho.linked_views import LayerView, LinkedViews
from napari_niiv.plugin.ortho.plane_name import PlaneName, shown_plane
from napari_niiv.plugin.ortho.source_copy import SourceCopy
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.volume import check_anisotropy

NAME = "Ortho views"
SettingsOf = Callable[[Image], LiveSettings]
"""The settings of a layer; split, maps and steps are the main viewer's alone."""


class Panel:
    """One of the ortho views: a canvas with copies of the sources and their live layers.

    Parameters
    ----------
    sources : sequence of Image
        The layers of the main viewer, the lowest first.
    settings_of : callable
        Gives the settings of each, with a model.
    memory : Memory
        Where voxels and latent grids are kept.

    Attributes
    ----------
    copies : tuple of Image
        The sources' data in this view, which follow the sources' transforms and looks.
    lives : tuple of LiveReconstruction
        The live reconstructions of the copies.
    """

    def __init__(self, sources: Sequence[Image], settings_of: SettingsOf, memory: Memory) -> None:
        self.viewer = ViewerModel()
        # napari's own take the last two axes for those on display: a double click would jump elsewhere
        self.viewer.mouse_drag_callbacks.clear()
        self.viewer.mouse_double_click_callbacks.clear()
        several = len(sources) > 1
        self._copies = tuple(SourceCopy(self.viewer, source, blended=several) for source in sources)
        self.copies: tuple[Image, ...] = tuple(copy.layer for copy in self._copies)
        self.viewer.layers.selection.clear()
        self.lives = tuple(
            LiveReconstruction(self.viewer, copy.layer, _plain(settings_of(copy.source)), memory=memory)
            for copy in self._copies
        )
        if several:
            channels = LiveChannels(self.viewer)
            for live in self.lives:
                live.join(channels)
        self.cross, self.name = CrossHair(self.viewer), PlaneName(self.viewer)
        self.canvas = bare_canvas(self.viewer)  # keys and sliders are the main viewer's
        self._plane = ""

    @property
    def plane(self) -> str:
        """The plane on display: xy, xz or yz."""
        return self._plane

    @plane.setter
    def plane(self, plane: str) -> None:
        self._plane, ndim = plane, self.viewer.dims.ndim
        self.viewer.dims.order = (*range(ndim - 3), *(axis % ndim for axis in VIEWS[plane]))

    def apply(self, settings_of: SettingsOf) -> None:
        """Reconstruct with other settings, if these are others."""
        for copy, live in zip(self._copies, self.lives, strict=True):
            live.apply(_plain(settings_of(copy.source)))

    def close(self, delete: bool) -> None:
        """Stop, disconnect from the sources, and delete the canvas unless its window is doing so."""
        for live in self.lives:
            live.close(remove=False)
        for copy in self._copies:
            copy.close()
        self.cross.close(erase=False)
        self.name.close(erase=False)
        if delete:
            close_canvas(self.canvas)


class OrthoViews(QObject):
    """Two panels in a dock, which show the planes that the main viewer does not; all on the GUI thread but the work.

    The live layers of the main viewer itself belong to the dock widget. The end of one of the sources is theirs.

    Parameters
    ----------
    viewer : Viewer
    sources : sequence of Image
        A layer of it, or the channels of a volume, the lowest first.
    settings_of : callable
        Gives the settings of each, with a model.
    memory : Memory, optional
        Where voxels and latent grids are kept.

    Raises
    ------
    VolumeError
        If one of the sources cannot be reconstructed.
    """

    failed = Signal(str)
    closed = Signal()

    def __init__(
        self,
        viewer: Any,
        sources: Sequence[Image],
        settings_of: SettingsOf,
        *,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        for source in sources:
            volume = layer_volume(source)
            check_anisotropy(volume.anisotropy, volume.name)
        self.viewer, self.sources = viewer, tuple(sources)
        self._open = True
        memory = memory or Memory()
        self.panels: tuple[Panel, ...] = tuple(Panel(sources, settings_of, memory) for _ in range(2))
        self.widget = QSplitter()
        self.widget.setMinimumSize(200, 160)  # a window of 800 pixels has no more beside tall layer controls
        for panel, plane in zip(self.panels, self._planes(), strict=True):
            self.widget.addWidget(panel.canvas)
            panel.plane = plane
            for live in panel.lives:
                live.failed.connect(self.failed)
                live.closed.connect(self.close)
        self.dock = viewer.window.add_dock_widget(self.widget, name=NAME, area="bottom")
        # in another window its canvases would lose their OpenGL resources (vispy #1759)
        keep_docked(self.dock)
        self._window: QWidget | None = self.widget.window()
        for live in (live for panel in self.panels for live in panel.lives):
            live.pixel_ratio = self.widget.devicePixelRatioF()
        self.widget.installEventFilter(self)
        self.widget.destroyed.connect(self.close)
        self.cross, self.name = CrossHair(viewer), PlaneName(viewer)
        copies = (LayerView(panel.viewer, panel.copies[0]) for panel in self.panels)
        # a throttle, not a debounce: the panels keep up with a drag
        self._moves = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._moves.setTimeout(COALESCE_MS)
        self.links = LinkedViews([LayerView(viewer, sources[0]), *copies], self._moves.throttle)
        self._moves.triggered.connect(self.links.settle)
        self._connections = Connections()
        # after napari has fitted the main view to its new order
        self._connections.connect(self._turn, viewer.dims.events.order, position="last")
        self._connections.connect(self._removed, viewer.layers.events.removed)
        self._connections.connect(self._check_axes, *(source.events.data for source in sources))

    def apply(self, settings_of: SettingsOf) -> None:
        """Reconstruct with another model, noise level, resolution or repairs, if these are others."""
        for panel in self.panels:
            panel.apply(settings_of)

    def close(self) -> None:
        """End: stop the work, disconnect from the viewer and the sources, and remove the dock."""
        if not self._open:
            return
        alive = _exists(self._window)  # otherwise it is taking its canvases along, which must not be touched
        self._release(alive)
        if alive:
            self.widget.destroyed.disconnect(self.close)
            if self.widget.parent() is not None:  # the dock's own button has taken it out already
                self.viewer.window.remove_dock_widget(self.dock)
            self.widget.deleteLater()
        self.closed.emit()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Watch the panels' splitter: its dock lets go of it, or it becomes wide or tall."""
        if event is None or watched is not self.widget:
            return False
        if event.type() == QEvent.Type.ParentChange and self.widget.parent() is None:
            self.close()
        elif event.type() == QEvent.Type.Resize:
            wide = self.widget.width() > self.widget.height()
            self.widget.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
        return False

    def _release(self, alive: bool) -> None:
        """Stop the work and disconnect from viewer and sources; delete the canvases if they are alive."""
        self._open, self._window = False, None
        self._connections.disconnect()
        self._moves.cancel()
        self.links.close()
        self.cross.close(erase=alive)
        self.name.close(erase=alive)
        panels, self.panels = self.panels, ()
        for panel in panels:
            panel.close(delete=alive)

    def _planes(self) -> tuple[str, ...]:
        """The planes that the main viewer does not show; those of before if it shows none of the three."""
        main = shown_plane(self.viewer)
        before = tuple(panel.plane for panel in self.panels)
        return tuple(p for p in VIEWS if p != main) if main else before if all(before) else ("xz", "yz")

    def _turn(self, event: Any = None) -> None:
        """Show what the main viewer does not; nothing changes where it goes to 3-D."""
        with self.links.quiet():
            for panel, plane in zip(self.panels, self._planes(), strict=True):
                if panel.plane != plane:
                    panel.plane = plane
        self.links.follow()

    def _removed(self, event: Any) -> None:
        if event.value in self.sources:
            self.close()

    def _check_axes(self, event: Any = None) -> None:
        if not self._open:
            return
        if any(source.ndim != copy.ndim for source, copy in zip(self.sources, self.panels[0].copies, strict=True)):
            self.close()


def _plain(settings: LiveSettings) -> LiveSettings:
    """What the pictures depend on, and whether the sources are compared; split, maps, steps are the main viewer's."""
    return LiveSettings(
        settings.model,
        settings.finest,
        project=settings.project,
        denoise=settings.denoise,
        repairs=settings.repairs,
        comparing=settings.comparing,
    )


def _exists(widget: QWidget | None) -> bool:
    """Whether Qt has not deleted a widget yet."""
    try:
        return widget is not None and widget.objectName() is not None
    except RuntimeError:
        return False
