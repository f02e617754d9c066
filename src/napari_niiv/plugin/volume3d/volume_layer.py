"""The layer of a 3-D view: a finer volume that lies exactly over its source."""

from __future__ import annotations

from typing import Any

import napari.layers
import numpy as np
from napari.layers.utils.plane import ClippingPlane
from numpy.typing import NDArray

from napari_niiv.geometry import Sampling
from napari_niiv.plugin.common.layers import LIVE
from napari_niiv.plugin.live import picture_layer
from napari_niiv.plugin.volume3d.cut import Plane


class Image(picture_layer.Image):  # the name is napari's type of the layer
    """A volume over its source, which it leaves the sliders to; its thumbnail would cost too much while it grows."""

    _cut: ClippingPlane | None = None

    def refresh(self, event: Any = None, *, thumbnail: bool = False, **parts: Any) -> None:
        """Redraw, without a thumbnail unless it is asked for."""
        super().refresh(event, thumbnail=thumbnail, **parts)

    def as_layer_data_tuple(self) -> Any:
        """What is saved: its data, which are a volume."""
        return napari.layers.Image.as_layer_data_tuple(self)

    def put(self, data: NDArray[Any], place: dict[str, Any]) -> None:
        """Exchange the volume and its place with one redraw."""
        self._changing = True
        try:
            for name, value in place.items():
                setattr(self, name, value)
            self.data: Any = data
        finally:
            self._changing = False
        self.refresh(extent=False, highlight=False)

    def cut_at(self, plane: Plane | None) -> None:
        """Cut the volume by one plane of ours, or not at all; planes of the user's stay."""
        planes = self.experimental_clipping_planes
        ours = next((p for p in planes if p is self._cut), None)
        if plane is None:
            if ours is not None:
                ours.enabled = False
            return
        values = {"position": plane[0], "normal": plane[1], "enabled": True}
        if ours is None:
            self._cut = ClippingPlane(**values)
            planes.append(self._cut)
        else:
            ours.update(values)


def overlay(source: napari.layers.Image, data: NDArray[Any], place: dict[str, Any], look: dict[str, Any]) -> Image:
    """A layer that has the colours of its source, with other data at another place, drawn as `look` says."""
    layer = Image(
        data,
        name=f"{source.name} (isotropic, 3-D)",
        axis_labels=source.axis_labels,
        contrast_limits=source.contrast_limits,
        gamma=source.gamma,
        colormap=source.colormap,
        metadata={LIVE: True},
        **look,
        **place,
    )
    layer.source_layer = source
    return layer


def placement(source: napari.layers.Image, samplings: tuple[Sampling, ...]) -> dict[str, Any]:
    """Transforms of a layer whose samples lie at these positions, in voxels along z, y, x of its source."""
    n = source.ndim
    start, step = np.zeros(n), np.ones(n)
    start[-3:], step[-3:] = [s.start for s in samplings], [s.step for s in samplings]
    affine = np.array(source.affine.affine_matrix)
    world = np.asarray(source.data_to_world(start))
    return {
        "units": source.units,
        "scale": np.asarray(source.scale) * step,
        "rotate": source.rotate,
        "shear": source.shear,
        "translate": np.linalg.solve(affine[:n, :n], world - affine[:n, n]),
        "affine": affine,
    }
