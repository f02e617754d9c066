"""Which part of a layer goes to 3-D."""

import math

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.geometry import Box, Span
from napari_niiv.plugin.volume3d.chosen_box import chosen_box

ALL = 10**9


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def source(viewer):
    layer = viewer.add_image(np.zeros((12, 32, 40), np.uint8), scale=(4, 1, 1), translate=(3, 4, 5))
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    return layer


def test_the_whole_volume_where_it_fits(viewer, source):
    viewer.scene.camera.zoom *= 8
    assert chosen_box(viewer, source, 48 * 32 * 40) is None
    assert chosen_box(viewer, source, 48 * 32 * 40 - 1) is not None


def test_what_was_visible_in_2d(viewer, source, qtbot):
    """An xz view: y is as deep as the longer side, around the slice on display."""
    viewer.dims.set_current_step(1, 15)
    viewer.scene.camera.center = (0, 3 + 4 * 6, 5 + 20)
    height, width = viewer.canvas.viewbox_size(viewer.layers)
    viewer.scene.camera.zoom = width * 1.15 / 10  # ten units wide with the margin
    tall = 10 * height / width
    z, y, x = chosen_box(viewer, source, 1000)
    assert (x.lo, x.hi) == (15, 26)
    assert (z.lo, z.hi) == (math.floor(6.5 - tall / 8), math.ceil(6.5 + tall / 8))
    half = max(10, tall) / 2
    assert (y.lo, y.hi) == (math.floor(15.5 - half), math.ceil(15.5 + half))
    before = Box(z, y, x)
    viewer.dims.ndisplay = 3
    assert chosen_box(viewer, source, 1000) == before
    viewer.dims.ndisplay = 2
    viewer.dims.set_current_step(1, 1)
    assert chosen_box(viewer, source, 1000)[1] == Span(0, math.ceil(1.5 + half))
    viewer.scene.camera.center = (0, 3000, 25)
    assert chosen_box(viewer, source, 1000) is None  # out of sight


def test_a_rectangle_of_the_user(viewer, source):
    viewer.dims.set_current_step(1, 20)  # y = 24 in the world
    corners = np.array([(11, 24, 15), (11, 24, 25), (27, 24, 25), (27, 24, 15)], float)
    shapes = viewer.add_shapes([corners], shape_type="rectangle")
    viewer.layers.selection = {shapes}
    z, y, x = chosen_box(viewer, source, ALL)
    assert (z, x) == (Span(2, 7), Span(10, 21))
    assert y == Span(12, 29)  # 16 long, around 20
    viewer.layers.selection = {source}
    assert chosen_box(viewer, source, ALL) is None
    viewer.layers.selection = {shapes}
    shapes.data = []
    assert chosen_box(viewer, source, ALL) is None


def test_a_rectangle_in_other_units_and_dimensions(viewer):
    source = viewer.add_image(np.zeros((2, 12, 32, 40), np.uint8), scale=(1, 4, 1, 1), units=("s", "um", "um", "um"))
    viewer.dims.current_step = (1, 6, 0, 0)
    corners = np.array([(10, 20), (10, 30), (18, 30), (18, 20)], float)  # y, x
    shapes = viewer.add_shapes([corners], shape_type="rectangle", units=("um", "um"))
    viewer.layers.selection = {shapes}
    z, y, x = chosen_box(viewer, source, ALL)
    assert (y, x) == (Span(10, 19), Span(20, 31))
    assert (z.lo, z.hi) == (5, 8)  # 10 µm around slice 6, which is 4 thick
    shapes.units = ("nm", "nm")
    shapes.scale = (1000, 1000)
    viewer.dims.set_point(1, 24_000)  # the viewer's world is in nanometres now
    assert chosen_box(viewer, source, ALL) == Box(z, y, x)


def test_a_view_across_time_takes_all(viewer):
    source = viewer.add_image(np.zeros((5, 12, 32, 40), np.uint8), scale=(1, 4, 1, 1))
    viewer.dims.order = (1, 2, 0, 3)
    assert chosen_box(viewer, source, 100) is None
