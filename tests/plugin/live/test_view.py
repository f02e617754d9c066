"""What the viewer shows, in every order of the axes; no display needed."""

import itertools

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.common.layers import layer_volume, voxel_size
from napari_niiv.plugin.live.view import broadcast_picture, visible

ORDERS_3D = list(itertools.permutations(range(3)))


def viewer_with(layer: Image, order: tuple[int, ...], zoom: float = 3.0, size=(300, 400)) -> ViewerModel:
    viewer = ViewerModel()
    viewer.layers.append(layer)
    viewer.canvas.size = size
    viewer.dims.order = order
    viewer.scene.camera.zoom = zoom
    return viewer


def positions(sampling) -> np.ndarray:
    return sampling.start + sampling.step * np.arange(sampling.count)


@pytest.mark.parametrize("order", ORDERS_3D)
@pytest.mark.parametrize("rotate", [0, 20])
def test_the_picture_lies_where_its_samples_are(order, rotate):
    """Pixel (r, c) of the picture is in the world where the source's voxel coordinates of that sample are."""
    layer = Image(
        np.zeros((9, 40, 50)),
        scale=(8, 1.5, 1.5),
        translate=(5, -3, 7),
        rotate=(0, 0, rotate) if rotate else None,
    )
    viewer = viewer_with(layer, order)
    viewer.dims.point = tuple(np.mean(layer.extent.world, axis=0))
    viewer.scene.camera.center = (0, *np.mean(layer.extent.world, axis=0)[list(order[1:])])
    view = visible(viewer, layer)
    assert view is not None
    rows, columns = positions(view.request.rows), positions(view.request.columns)
    across = ({0, 1, 2} - set(view.axes)).pop()
    for r, c in [(0, 0), (len(rows) - 1, len(columns) - 1), (len(rows) // 2, 3)]:
        pixel, voxel = np.zeros(4), np.zeros(3)
        pixel[view.axes[0]], pixel[view.axes[1]], pixel[3] = r, c, 1
        voxel[view.axes[0]], voxel[view.axes[1]] = rows[r], columns[c]
        np.testing.assert_allclose((view.affine @ pixel)[:3], layer.data_to_world(voxel), atol=1e-6)
    assert view.request.plane == {0: "xy", 1: "xz", 2: "yz"}[across]


@pytest.mark.parametrize("order", ORDERS_3D)
def test_the_window_covers_what_is_seen_and_no_more_than_the_volume(order):
    layer = Image(np.zeros((20, 200, 300)), scale=(6, 1, 1))
    viewer = viewer_with(layer, order, zoom=8.0, size=(160, 240))
    world = np.array([57.0, 90.0, 140.0])
    viewer.dims.point = tuple(world)
    viewer.scene.camera.center = (0, *world[list(order[1:])])
    view = visible(viewer, layer)
    half = dict(zip(order[1:], np.array([160, 240]) / 8.0 / 2, strict=True))
    for axis, sampling in zip(view.axes, (view.request.rows, view.request.columns), strict=True):
        lo = (world[axis] - half[axis]) / layer.scale[axis]
        hi = (world[axis] + half[axis]) / layer.scale[axis]
        first, last = sampling.start - sampling.step / 2, sampling.end + sampling.step / 2
        assert first <= lo + 1e-6
        assert last >= hi - 1e-6
        assert first >= -0.5 - 1e-6
        assert last <= layer.data.shape[axis] - 0.5 + 1e-6
        assert sampling.step * layer.scale[axis] <= 1 / 8 + 1e-9  # at most one screen pixel
    across = ({0, 1, 2} - set(view.axes)).pop()
    assert view.request.index == pytest.approx(world[across] / layer.scale[across], abs=0.5)


def test_cost_follows_the_screen_not_the_volume():
    pixels = []
    for size in (500, 50_000):
        layer = Image(np.broadcast_to(np.float32(0), (64, size, size)), scale=(8, 1, 1), contrast_limits=(0, 1))
        viewer = viewer_with(layer, (1, 0, 2), zoom=1.0, size=(400, 400))
        viewer.dims.point = (250.0,) * 3
        viewer.scene.camera.center = (0, 250, 250)
        view = visible(viewer, layer)
        pixels.append(view.request.rows.count * view.request.columns.count)
    assert pixels[0] == pixels[1]


def test_time_and_channel_axes_select_an_index():
    layer = Image(np.zeros((3, 2, 9, 40, 50)), scale=(1, 1, 8, 1, 1))
    viewer = viewer_with(layer, (0, 1, 3, 2, 4))
    viewer.dims.current_step = (2, 1, 0, 17, 0)
    viewer.scene.camera.center = (0, 30, 25)
    view = visible(viewer, layer)
    assert view.request.leading == (2, 1)
    assert (view.request.plane, view.request.index) == ("xz", 17)
    assert broadcast_picture(view, np.ones((4, 6)), layer.data.shape).shape == (3, 2, 4, 40, 6)
    viewer.dims.order = (2, 1, 3, 0, 4)  # time on display
    assert visible(viewer, layer) is None


def test_a_layer_aligns_with_the_last_axes_of_the_viewer():
    layer = Image(np.zeros((9, 40, 50)), scale=(8, 1, 1))
    viewer = viewer_with(layer, (0, 1, 2))
    viewer.layers.append(Image(np.zeros((4, 9, 40, 50))))
    viewer.dims.order = (0, 2, 1, 3)
    viewer.scene.camera.center = (0, 30, 25)
    assert visible(viewer, layer).request.plane == "xz"


def test_nothing_is_asked_for_outside_the_volume_or_in_3d():
    layer = Image(np.zeros((9, 40, 50)), scale=(8, 1, 1))
    viewer = viewer_with(layer, (1, 0, 2))
    viewer.scene.camera.center = (0, 30, 1e6)
    assert visible(viewer, layer) is None
    viewer.scene.camera.center = (0, 30, 25)
    assert visible(viewer, layer) is not None
    viewer.dims.ndisplay = 3
    assert visible(viewer, layer) is None


@pytest.mark.parametrize("zoom", [1e-3, 1e3])
def test_extreme_zooms_ask_for_a_bounded_picture(zoom):
    layer = Image(np.zeros((9, 40, 50)), scale=(8, 1, 1))
    viewer = viewer_with(layer, (1, 0, 2), zoom=zoom)
    viewer.scene.camera.center = (0, 30, 25)
    request = visible(viewer, layer).request
    assert 1 <= request.rows.count <= 4096
    assert 1 <= request.columns.count <= 4096


def test_a_finest_pixel_and_a_screen_of_many_pixels_change_the_pitch():
    layer = Image(np.zeros((9, 400, 500)), scale=(8, 1, 1))
    viewer = viewer_with(layer, (1, 0, 2), zoom=4.0)
    viewer.scene.camera.center = (0, 30, 250)
    assert visible(viewer, layer).pixel_size == pytest.approx(0.25, rel=0.01)
    assert visible(viewer, layer, pixel_ratio=2).pixel_size == pytest.approx(0.125, rel=0.01)
    assert visible(viewer, layer, finest=1.0).pixel_size == pytest.approx(1.0, rel=0.02)
    viewer.scene.camera.zoom = 0.5  # never finer than the screen
    assert visible(viewer, layer, finest=1.0).pixel_size == pytest.approx(2.0, rel=0.02)


def test_units_of_layer_and_world_may_differ():
    layer = Image(np.zeros((9, 40, 50)), scale=(80, 10, 10), units=("nm", "nm", "nm"))
    viewer = viewer_with(layer, (1, 0, 2), zoom=0.3)
    viewer.layers.append(Image(np.zeros((9, 40, 50)), units=("um", "um", "um")))
    view = visible(viewer, layer)
    assert view is None or view.pixel_size > 0
    mixed = Image(np.zeros((9, 40, 50)), scale=(0.08, 10, 10), units=("um", "nm", "nm"))
    assert voxel_size(mixed) == pytest.approx((80, 10, 10))
    assert layer_volume(mixed).anisotropy == pytest.approx(8)
