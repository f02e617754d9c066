"""The camera of 3-D views, and how volumes are drawn there."""

import gc
import weakref
from itertools import product

import numpy as np
import pytest

from tests.plugin.conftest import ramp
from tests.plugin.volume3d.conftest import SCALE, SHAPE, add_ramp

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.volume3d.volume_views import VolumeViews

EXTENT = np.array([(1, 3.5, 4.5), (49, 35.5, 44.5)])  # of the ramp in the world


@pytest.fixture
def views(viewer, interpolating_model):
    """The 3-D views of a viewer whose layers are live."""
    live_layers = LiveLayers(viewer)
    live_layers.change(model=interpolating_model)
    views = VolumeViews(viewer, live_layers)
    yield views
    views.close()
    live_layers.close_all()


@pytest.fixture
def block(viewer, views):
    """A dense volume in side view, live."""
    source = add_ramp(viewer)
    views._live_layers.open(source)
    return source


@pytest.fixture
def sparse(viewer, views):
    """A volume that is dark almost everywhere, as in light microscopy, live."""
    data = ramp(SHAPE, (1, 1, 1)) ** 8
    source = viewer.add_image(data, scale=SCALE, name="sparse")
    views._live_layers.open(source)
    return source


def enter(qtbot, views, source):
    """Go to 3-D and wait for the volume."""
    views._viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: views.get(source) is not None and views.get(source).layer is not None, timeout=20_000)
    return views.get(source).layer


def camera_state(viewer):
    camera = viewer.scene.camera
    return np.array([*camera.center, camera.zoom, *camera.view_direction, *camera.up_direction])


def faces_seen(view_direction):
    """How many faces of a block along the axes point to the camera by more than a glance."""
    normals = np.concatenate([np.eye(3), -np.eye(3)])
    return int((normals @ view_direction < -0.3).sum())


@pytest.mark.parametrize("depth", ["towards", "away"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)], ids=str)
def test_three_faces_are_in_full_view(viewer, views, block, qtbot, order, depth):
    camera = viewer.scene.camera
    camera.orientation = (depth, "down", "right")
    viewer.dims.order = order
    assert enter(qtbot, views, block).rendering == "translucent"
    view, up = np.array(camera.view_direction), np.array(camera.up_direction)
    assert faces_seen(view) == 3
    assert view[1] > 0.3  # one of them is the top, as the second axis points down
    assert up[1] < -0.7
    lo, hi = EXTENT[:, order]
    np.testing.assert_allclose(camera.center, (lo + hi) / 2)
    corners = np.array(list(product(*zip(lo, hi, strict=True)))) - camera.center
    right = np.cross(view, up)
    fill = np.array([np.abs(corners @ d).max() for d in (up, right)]) * 2 * camera.zoom / viewer.canvas.size
    assert fill.max() == pytest.approx(0.95)


def test_each_of_2d_and_3d_keeps_its_own_view(viewer, views, block, qtbot):
    camera = viewer.scene.camera
    camera.zoom *= 1.5
    camera.center = (0, 20, 30)
    viewer.dims.set_current_step(1, 7)
    flat, point = camera_state(viewer)[:4], viewer.dims.point
    enter(qtbot, views, block)
    first = camera_state(viewer)
    viewer.dims.ndisplay = 2
    np.testing.assert_allclose(camera_state(viewer)[:4], flat)
    assert viewer.dims.point == point
    enter(qtbot, views, block)
    np.testing.assert_allclose(camera_state(viewer), first, atol=1e-9)
    camera.angles, camera.zoom = (10, 20, 30), camera.zoom * 2
    camera.center = (9, 8, 7)
    own = camera_state(viewer)
    for _ in range(2):
        viewer.dims.ndisplay = 2
        np.testing.assert_allclose(camera_state(viewer)[:4], flat)
        enter(qtbot, views, block)
        np.testing.assert_allclose(camera_state(viewer), own, atol=1e-9)
    viewer.reset_view()  # straight ahead again: the user's choice
    viewer.dims.ndisplay = 2
    enter(qtbot, views, block)
    assert faces_seen(camera.view_direction) == 1


def test_a_camera_that_is_moved_before_the_volume_is_there_stays(viewer, views, block, qtbot):
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (1, 2, 3)
    own = camera_state(viewer)
    enter(qtbot, views, block)
    np.testing.assert_allclose(camera_state(viewer), own)


def test_in_and_out_in_a_hurry(viewer, views, block, qtbot):
    flat, point = camera_state(viewer)[:4], viewer.dims.point
    for ndisplay in (3, 2, 3, 2):
        viewer.dims.ndisplay = ndisplay
    np.testing.assert_allclose(camera_state(viewer)[:4], flat)
    enter(qtbot, views, block)
    viewer.dims.ndisplay = 2  # in the middle of the computation
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    np.testing.assert_allclose(camera_state(viewer)[:4], flat)
    assert viewer.dims.point == point
    qtbot.waitUntil(lambda: not [layer for layer in viewer.layers if "3-D" in layer.name])
    assert views.get(block) is None


def test_cameras_that_the_user_has_apart_are_napari_s(viewer, views, block, qtbot):
    viewer.scene.camera.synced = False
    flat = camera_state(viewer)[:4]
    enter(qtbot, views, block)
    first = camera_state(viewer)
    assert faces_seen(viewer.scene.camera.view_direction) == 3
    viewer.dims.ndisplay = 2
    np.testing.assert_allclose(camera_state(viewer)[:4], flat)
    enter(qtbot, views, block)
    np.testing.assert_allclose(camera_state(viewer), first)


def test_light_microscopy_is_projected_straight_ahead(viewer, views, sparse, qtbot):
    zoom = viewer.scene.camera.zoom
    layer = enter(qtbot, views, sparse)
    assert layer.rendering == "mip"
    assert viewer.scene.camera.angles == (0, 0, 0)
    assert viewer.scene.camera.zoom == zoom
    views._live_layers.change(cut=0.5, cut_axis="y")
    assert len(layer.experimental_clipping_planes) == 1


def test_what_the_user_sets_of_the_volume_stays(viewer, views, block, qtbot):
    layer = enter(qtbot, views, block)
    layer.rendering, layer.opacity, layer.colormap = "attenuated_mip", 0.5, "magma"
    viewer.dims.ndisplay = 2
    assert (block.rendering, block.opacity, block.colormap.name) == ("mip", 1, "magma")
    again = enter(qtbot, views, block)
    assert again is not layer
    assert (again.rendering, again.opacity, again.colormap.name) == ("attenuated_mip", 0.5, "magma")
    again.rendering = "translucent"
    viewer.dims.ndisplay = 2
    assert enter(qtbot, views, block).rendering == "translucent"


def test_a_rendering_of_the_source_is_taken(viewer, views, block, qtbot):
    block.rendering = "average"
    assert enter(qtbot, views, block).rendering == "average"


def test_nothing_of_a_viewer_is_kept(interpolating_model, qtbot):
    viewer = ViewerModel()
    source = add_ramp(viewer)
    live_layers = LiveLayers(viewer)
    live_layers.change(model=interpolating_model)
    views = VolumeViews(viewer, live_layers)
    live_layers.open(source)
    layer = enter(qtbot, views, source)
    layer.rendering = "iso"
    went = [weakref.ref(thing) for thing in (layer, views.get(source))]
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: views.get(source) is None and len(viewer.layers) == 2)
    del layer
    qtbot.waitUntil(lambda: gc.collect() is not None and [ref() for ref in went] == [None, None], timeout=10_000)
    views.close()
    live_layers.close_all()


def test_the_camera_shows_the_volume_that_is_chosen(viewer, views, block, sparse, qtbot):
    viewer.layers.selection = {sparse}
    enter(qtbot, views, sparse)
    qtbot.waitUntil(lambda: views.get(block).layer is not None, timeout=20_000)
    assert viewer.scene.camera.angles == (0, 0, 0)  # not turned to the other, a dense one
    viewer.dims.ndisplay = 2
    viewer.layers.selection = {block}
    enter(qtbot, views, block)
    assert faces_seen(viewer.scene.camera.view_direction) == 3


def test_a_cut_is_of_the_volume_that_it_was_made_in(viewer, views, block, qtbot):
    enter(qtbot, views, block)
    views._live_layers.change(cut=0.5)
    viewer.dims.ndisplay = 2
    enter(qtbot, views, block)
    assert views._live_layers.settings.cut == 0.5
    viewer.dims.ndisplay = 2
    views._live_layers.close(block)
    other = add_ramp(viewer)
    views._live_layers.open(other)
    enter(qtbot, views, other)
    assert views._live_layers.settings.cut == 0
