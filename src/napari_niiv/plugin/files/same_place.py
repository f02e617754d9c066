"""A layer is given another size, and the viewer goes on looking at the same voxels of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.common.layers import layer_units
from napari_niiv.plugin.files.layer_file import axis_names


@contextmanager
def same_place(viewer: ViewerModel, layer: Image, names: str = "") -> Iterator[None]:
    """While a layer's voxel size or axes are changed: the same slice stays in view, and the camera fits what it became.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
        Of the viewer, aligned with its last dimensions, as napari does.
    names : str
        What the axes are renamed to, in their present order; empty if they are not.
    """
    names = names or axis_names(layer)
    offset = viewer.dims.ndim - layer.ndim
    point = np.array(viewer.dims.point[offset:], dtype=float)
    # names that do not fit are refused by who renames
    voxels = dict(zip(names, layer.world_to_data(point * layer_units(viewer, layer)), strict=False))
    try:
        yield
    finally:
        viewer.reset_view()
        there = np.asarray(layer.data_to_world([voxels.get(name, 0.0) for name in axis_names(layer)]))
        offset = viewer.dims.ndim - layer.ndim
        viewer.dims.point = (*viewer.dims.point[:offset], *(there / layer_units(viewer, layer)))
