"""Buttons that turn a viewer to one of the planes."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import PushButton
from napari.components import ViewerModel

from napari_niiv.plugin.common.forms import row
from napari_niiv.plugin.common.layers import VIEWS


class PlaneButtons:
    """One button for each of the xy, xz and yz planes.

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
        self.rows: list[Any] = [row("View", *self.buttons.values(), beside)]
        for name, button in self.buttons.items():
            button.changed.connect(lambda _=None, name=name: self.show(name))

    def show(self, plane: str) -> None:
        """Look at the xy, xz or yz plane."""
        dims = self._viewer.dims
        if dims.ndim < 3:
            return
        dims.ndisplay = 2
        last = tuple(axis % dims.ndim for axis in VIEWS[plane])
        dims.order = (*range(dims.ndim - 3), *last)
        self._viewer.reset_view()
