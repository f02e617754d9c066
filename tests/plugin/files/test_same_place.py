"""The same slice stays in view while a layer is given its voxel size or axes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.files.layer_file import rename_axes, set_voxel_size
from napari_niiv.plugin.files.same_place import same_place

SHAPE = (20, 30, 40)


def at(viewer, layer) -> list[int]:
    """Which voxel the sliders are at: of the only layer, napari's own numbers."""
    return [round(v) for v in layer.world_to_data(viewer.dims.point[-layer.ndim :])]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_a_size_from_the_file(order):
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(SHAPE, np.uint8))
    viewer.dims.order = order
    viewer.dims.point = (4, 21, 33)
    with same_place(viewer, layer):
        set_voxel_size(layer, (0.03, 0.004, 0.004), "micrometer")
    assert at(viewer, layer) == [4, 21, 33]
    assert viewer.dims.current_step == (4, 21, 33)
    centre = np.array(layer.data_to_world((9.5, 14.5, 19.5)))
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre[list(order[-2:])], atol=1e-6)


def test_leading_axes_stay_where_they_are():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((5, *SHAPE), np.uint8))
    viewer.dims.point = (3, 4, 21, 33)
    with same_place(viewer, layer):
        set_voxel_size(layer, (40.0, 5.0, 5.0), "nanometer")
    assert at(viewer, layer) == [3, 4, 21, 33]


def test_beside_a_layer_of_more_dimensions():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, *SHAPE), np.uint8))
    layer = viewer.add_image(np.zeros(SHAPE, np.uint8))
    viewer.dims.point = (3, 4, 21, 33)
    with same_place(viewer, layer):
        layer.scale = (8, 1, 1)
    assert at(viewer, layer) == [4, 21, 33]
    assert viewer.dims.point[0] == 3


def test_renamed_axes_keep_their_places():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(SHAPE, np.uint8))
    viewer.dims.point = (4, 21, 33)
    with same_place(viewer, layer, "yxz"):
        rename_axes(layer, "yxz")
    assert layer.data.shape == (40, 20, 30)
    assert at(viewer, layer) == [33, 4, 21]


def test_what_is_refused_leaves_the_slice():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(SHAPE, np.uint8))
    viewer.dims.point = (4, 21, 33)
    with pytest.raises(ValueError, match="no"), same_place(viewer, layer):
        raise ValueError("no")
    assert at(viewer, layer) == [4, 21, 33]
