"""The layer that a live picture is put on."""

from __future__ import annotations

from typing import Any

import napari.layers
import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.plugin.common.layers import FROZEN, voxel_size
from napari_niiv.plugin.live.one_slice import one_slice
from napari_niiv.plugin.live.view import View, broadcast_picture
from napari_niiv.plugin.napari_compat import own_extent


class Image(napari.layers.Image):  # the name is napari's type of the layer: icon and writers derive from it
    """An image that reports its source's extent, so that a fine tile changes neither range nor step of the sliders."""

    source_layer: napari.layers.Image | None = None
    steps_between = False  # whether the z slider stops between the source's slices
    _changing = False
    _picture: NDArray[Any] | None = None
    _view: View | None = None

    @property
    def extent(self) -> Any:
        """Extent of the source; its step along z is the voxel's width or so, if the slider stops between slices."""
        source = self.source_layer
        if source is None or source.ndim != self.ndim:  # data of other dimensions came: this layer goes in a moment
            return own_extent(self)
        extent = source.extent
        if not self.steps_between:
            return extent
        z, y, x = voxel_size(self.source_layer)
        step = np.array(extent.step)
        # a whole number to a slice, so that each slice is met; a trifle less, or rounding could lose the last one
        step[-3] *= (1 - 1e-9) / max(1, round(z / (y * x) ** 0.5))
        return extent._replace(step=step)

    @property
    def placed(self) -> tuple[View, tuple[int, int]] | None:
        """Place and shape of the picture that is on the layer; None before there is one."""
        if self._view is None or self._picture is None:
            return None
        rows, columns = self._picture.shape
        return self._view, (rows, columns)

    def as_layer_data_tuple(self) -> Any:
        """What is saved, copied or handed on: the picture alone, one voxel thick and at its place.

        The layer's data, the picture repeated along the sliders, would pass for a volume.

        Raises
        ------
        ReconstructionError
            If there is no picture yet.
        """
        if self._view is None or self._picture is None:
            raise ReconstructionError(f"There is no picture on {self.name!r} to save yet; wait until one is shown.")
        _, state, kind = super().as_layer_data_tuple()
        data, transforms = one_slice(self._view, self._picture)
        plain = {"scale": np.ones(self.ndim), "translate": np.zeros(self.ndim), "affine": np.eye(self.ndim + 1)}
        request = self._view.request
        note = {"plane": request.plane, "index": request.index}
        name = f"{self.name} {request.plane} {request.index:g}"
        return data.copy(), {**state, **plain, **transforms, "name": name, "metadata": {FROZEN: note}}, kind

    def refresh(self, event: Any = None, **parts: Any) -> None:
        """Redraw; put off while a picture and its place are exchanged together."""
        if not self._changing:
            super().refresh(event, **parts)

    def show(self, view: View, picture: NDArray[Any], shape: tuple[int, ...], thumbnail: bool) -> None:
        """Exchange picture and place with one redraw; the extent, which is the source's, stays as it is.

        Assigning `data` makes the viewer look at all layers anew, so a picture of the size of the last one is written
        over it; so would the event of a new place, which drawing a picture takes in anyway.
        """
        fresh = broadcast_picture(view, picture, shape)
        same_axes = self._view is not None and self._view.axes == view.axes
        fits = same_axes and (fresh.shape, fresh.dtype) == (self.data.shape, self.data.dtype)
        self._view = view
        self._changing = True
        try:
            with self.events.extent.blocker(), self.events.affine.blocker():
                if not np.array_equal(self.affine.affine_matrix, view.affine):
                    self.affine: Any = view.affine
                if fits and self._picture is not None:
                    np.copyto(self._picture, picture)
                else:
                    self._picture = picture.copy()
                    self.data: Any = broadcast_picture(view, self._picture, shape)
        finally:
            self._changing = False
        self.refresh(extent=False, highlight=False, thumbnail=thumbnail)
