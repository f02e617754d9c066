"""Ortho views: beside the main view the two other planes, live, linked by a cross-hair."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QSplitter, QWidget
from superqt.utils import QSignalThrottler

from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import SHARED, VIEWS, layer_volume
from napari_niiv.plugin.live.live_reconstruction import COALESCE_MS, LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.napari_compat import bare_canvas, close_canvas, keep_docked, link_layers, unlink_layers
from napari_niiv.plugin.ortho.crosshair import CrossHair
from napari_niiv.plugin.ortho.linked_views import LayerView, LinkedViews
from napari_niiv.plugin.ortho.plane_name import PlaneName, shown_plane
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.volume import check_anisotropy

NAME = "Ortho views"
LINKED = (*SHARED, "visible")
COPIED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name")


class Panel:
    """One of the ortho views: a canvas with a copy of the source and its live layer.

    Parameters
    ----------
    source : Image
        The layer of the main viewer.
    settings : LiveSettings
        With a model; split, maps and steps are the main viewer's alone.
    memory : Memory
        Where voxels and latent grids are kept.

    Attributes
    ----------
    copy : Image
        The source's data in this view, which follows the source's transforms and looks.
    live : LiveReconstruction
        The live reconstruction of the copy.
    """

    def __init__(self, source: Image, settings: LiveSettings, memory: Memory) -> None:
        self.source = source
        self.viewer = ViewerModel()
        # napari's own take the last two axes for those on display: a double click would jump elsewhere
        self.viewer.mouse_drag_callbacks.clear()
        self.viewer.mouse_double_click_callbacks.clear()
        data, state, kind = source.as_layer_data_tuple()
        self.copy = Layer.create(data, {**state, "opacity": 1.0}, kind)
        self.viewer.add_layer(self.copy)
        self.viewer.layers.selection.clear()
        link_layers([source, self.copy], LINKED)
        self._connections = Connections()
        self._connections.connect(self._copy_attribute, *(getattr(source.events, name) for name in COPIED))
        self._connections.connect(self._copy_data, source.events.data)
        self.live = LiveReconstruction(self.viewer, self.copy, _plain(settings), memory=memory)
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

    def close(self, delete: bool) -> None:
        """Stop, disconnect from the source, and delete the canvas unless its window is doing so."""
        self._connections.disconnect()
        self.live.close(remove=False)
        unlink_layers([self.source, self.copy], LINKED)
        self.cross.close(erase=False)
        self.name.close(erase=False)
        if delete:
            close_canvas(self.canvas)

    def _copy_attribute(self, event: Any) -> None:
        setattr(self.copy, event.type, getattr(self.source, event.type))

    def _copy_data(self, event: Any) -> None:
        if self.source.ndim == self.copy.ndim:  # otherwise all is closed
            self.copy.metadata = self.source.metadata
            self.copy.data = self.source.as_layer_data_tuple()[0]


class OrthoViews(QObject):
    """Two panels in a dock, which show the planes that the main viewer does not; all on the GUI thread but the work.

    The live layer of the main viewer itself belongs to the dock widget.

    Parameters
    ----------
    viewer : Viewer
    source : Image
        A layer of it.
    settings : LiveSettings
        With a model.
    memory : Memory, optional
        Where voxels and latent grids are kept.

    Raises
    ------
    VolumeError
        If the source cannot be reconstructed.
    """

    failed = Signal(str)
    closed = Signal()

    def __init__(
        self,
        viewer: Any,
        source: Image,
        settings: LiveSettings,
        *,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        volume = layer_volume(source)
        check_anisotropy(volume.anisotropy, volume.name)
        self.viewer, self.source = viewer, source
        self._open = True
        memory = memory or Memory()
        self.panels: tuple[Panel, ...] = tuple(Panel(source, settings, memory) for _ in range(2))
        self.widget = QSplitter()
        self.widget.setMinimumSize(200, 160)  # a window of 800 pixels has no more beside tall layer controls
        for panel, plane in zip(self.panels, self._planes(), strict=True):
            self.widget.addWidget(panel.canvas)
            panel.plane = plane
            panel.live.failed.connect(self.failed)
            panel.live.closed.connect(self.close)
        self.dock = viewer.window.add_dock_widget(self.widget, name=NAME, area="bottom")
        # in another window its canvases would lose their OpenGL resources (vispy #1759)
        keep_docked(self.dock)
        self._window: QWidget | None = self.widget.window()
        for panel in self.panels:
            panel.live.pixel_ratio = self.widget.devicePixelRatioF()
        self.widget.installEventFilter(self)
        self.widget.destroyed.connect(self.close)
        self.cross, self.name = CrossHair(viewer), PlaneName(viewer)
        copies = (LayerView(panel.viewer, panel.copy) for panel in self.panels)
        # a throttle, not a debounce: the panels keep up with a drag
        self._moves = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._moves.setTimeout(COALESCE_MS)
        self.links = LinkedViews([LayerView(viewer, source), *copies], self._moves.throttle)
        self._moves.triggered.connect(self.links.settle)
        self._connections = Connections()
        # after napari has fitted the main view to its new order
        self._connections.connect(self._turn, viewer.dims.events.order, position="last")
        self._connections.connect(self._removed, viewer.layers.events.removed)
        self._connections.connect(self._check_axes, source.events.data)

    def apply(self, settings: LiveSettings) -> None:
        """Reconstruct with another model, noise level, resolution or repairs, if these are others."""
        for panel in self.panels:
            panel.live.apply(_plain(settings))

    def close(self) -> None:
        """End: stop the work, disconnect from the viewer and the source, and remove the dock."""
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
        """Stop the work and disconnect from viewer and source; delete the canvases if they are alive."""
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
        if event.value == self.source:
            self.close()

    def _check_axes(self, event: Any = None) -> None:
        if self._open and self.source.ndim != self.panels[0].copy.ndim:
            self.close()


def _plain(settings: LiveSettings) -> LiveSettings:
    """What the pictures depend on alone: split, maps and steps are the main viewer's."""
    return LiveSettings(settings.model, settings.finest, denoise=settings.denoise, repairs=settings.repairs)


def _exists(widget: QWidget | None) -> bool:
    """Whether Qt has not deleted a widget yet."""
    try:
        return widget is not None and widget.objectName() is not None
    except RuntimeError:
        return False
