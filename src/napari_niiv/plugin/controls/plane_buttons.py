"""Buttons that turn a viewer to one of the planes, and tell which it shows."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import PushButton
from napari.components import ViewerModel

from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.common.layers import VIEWS


class PlaneButtons:
    """One button for each of the xy, xz and yz planes; that of the plane in view is down.

    Parameters
    ----------
    viewer : ViewerModel
    beside : PushButton
        Comes last in their row.

    Attributes
    ----------
    buttons : dict of str to PushButton
        By the names of the planes.
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, viewer: ViewerModel, beside: PushButton) -> None:
        self._viewer = viewer
        self.buttons = {name: PushButton(text=name, tooltip=f"look at the {name} plane") for name in VIEWS}
        self.rows: list[Any] = [Row("View", *self.buttons.values(), beside)]
        for name, button in self.buttons.items():
            button.native.setCheckable(True)
            button.changed.connect(lambda _=None, name=name: self.show(name))
        connections = Connections()
        connections.connect(self._mark, viewer.dims.events.order, viewer.dims.events.ndisplay)
        # a function, as Qt would not keep what a method belongs to
        when_destroyed(self.rows[0].native, connections.disconnect)
        self._mark()

    def show(self, plane: str) -> None:
        """Look at the xy, xz or yz plane."""
        dims = self._viewer.dims
        if dims.ndim < 3:
            self._mark()
            return
        dims.ndisplay = 2
        last = tuple(axis % dims.ndim for axis in VIEWS[plane])
        dims.order = (*range(dims.ndim - 3), *last)
        self._viewer.reset_view()
        self._mark()  # a click on the plane in view has raised its button

    def _mark(self, event: Any = None) -> None:
        dims = self._viewer.dims
        for name, button in self.buttons.items():
            across = VIEWS[name][0] % dims.ndim if dims.ndim >= 3 else None
            shown = dims.ndisplay == 2 and across is not None and dims.order[-3] == across
            button.native.setChecked(shown)
