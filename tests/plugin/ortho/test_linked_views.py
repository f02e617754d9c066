"""Linked views and their cross-hair, without a window."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.ortho.crosshair import CrossHair, on_canvas
from napari_niiv.plugin.ortho.linked_views import LayerView, LinkedViews

SHAPE, SCALE = (12, 48, 64), (4.0, 1.0, 1.0)
ORDERS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))  # xy, xz, yz


def build(shape=SHAPE, scale=SCALE, orders=ORDERS, **options):
    """Three viewers of a volume; the first leads."""
    viewers = [ViewerModel() for _ in orders]
    layers = [Image(np.zeros(shape, np.uint8), scale=scale, **options) for _ in orders]
    for viewer, layer, order in zip(viewers, layers, orders, strict=True):
        viewer.add_layer(layer)
        viewer.canvas.size = (300, 400)
        viewer.dims.order = (*range(len(shape) - 3), *(d + len(shape) - 3 for d in order))
    viewers[0].dims.point = (*[0] * (len(shape) - 3), 20.0, 30.0, 40.0)
    viewers[0].reset_view()
    return viewers, layers


def link(viewers, layers):
    return LinkedViews([LayerView(v, layer) for v, layer in zip(viewers, layers, strict=True)])


def test_all_begin_and_stay_at_the_same_point():
    viewers, layers = build()
    links = link(viewers, layers)
    for viewer, point in zip(viewers, [(20, 30, 40), (24, 31, 12), (4, 5, 6)], strict=True):
        viewer.dims.point = point
        assert [v.dims.point for v in viewers] == [point] * 3
    links.close()
    viewers[0].dims.point = (0, 0, 0)
    viewers[1].scene.camera.zoom = 77
    assert viewers[1].dims.point == (4, 5, 6)
    assert viewers[0].scene.camera.zoom != 77


def test_many_moves_can_be_followed_by_one():
    viewers, layers = build()
    moves = []
    views = [LayerView(v, layer) for v, layer in zip(viewers, layers, strict=True)]
    links = LinkedViews(views, lambda: moves.append(1))
    for y in range(5):
        viewers[1].dims.point = (8, y, 7)
    assert len(moves) >= 5
    assert viewers[2].dims.point == (20, 30, 40)
    links.settle()
    assert viewers[0].dims.point == viewers[2].dims.point == (8, 4, 7)


def test_the_cross_hair_begins_where_the_user_looks():
    viewers, layers = build()
    viewers[0].scene.camera.zoom *= 10
    viewers[0].scene.camera.center = (0, 10, 12)
    link(viewers, layers)
    assert viewers[0].dims.point == viewers[2].dims.point == (20, 10, 12)
    assert viewers[0].scene.camera.center == (0, 10, 12)


def test_zoom_is_the_same_and_a_pan_moves_the_shared_axes():
    viewers, layers = build()
    link(viewers, layers)
    xy, xz, yz = (viewer.scene.camera for viewer in viewers)
    for camera in (xy, xz, yz):
        camera.zoom *= 1.5
        assert xy.zoom == xz.zoom == yz.zoom
    xz.center = (0, 21, 31)  # z, x
    assert yz.center[1] == 21
    assert xy.center[2] == 31
    yz.center = (0, 22, 28)  # z, y
    assert xz.center[1:] == (22, 31)
    assert xy.center[1:] == (28, 31)


def test_a_point_that_leaves_a_view_is_followed_along_its_axis_alone():
    viewers, layers = build()
    link(viewers, layers)
    xy, xz, yz = (viewer.scene.camera for viewer in viewers)
    xy.zoom *= 8
    xy.center = (0, 44, 60)  # the user looks elsewhere
    viewers[0].dims.point = (40, 30, 40)
    assert xz.center[1] == yz.center[1] == 40
    assert xy.center[1:] == (44, 60)
    viewers[2].dims.point = (40, 8, 40)
    assert xy.center[1:] == (8, 60)


def test_a_leader_in_3d_keeps_its_camera():
    viewers, layers = build()
    links = link(viewers, layers)
    viewers[0].dims.ndisplay = 3
    camera = viewers[0].scene.camera
    before = camera.zoom, camera.center
    viewers[1].scene.camera.zoom *= 3
    viewers[1].dims.point = (16, 18, 19)
    camera.zoom, zoom = before[0] * 1.1, viewers[1].scene.camera.zoom
    assert camera.center == before[1]
    assert viewers[0].dims.point == (16, 18, 19)
    assert viewers[2].scene.camera.zoom == viewers[1].scene.camera.zoom == zoom
    viewers[0].dims.ndisplay = 2
    links.follow()
    assert viewers[2].scene.camera.zoom == camera.zoom


def test_time_and_channels_follow_a_leader_with_more_axes():
    viewers, layers = build((3, *SHAPE), (1, *SCALE))
    viewers[0].add_layer(Image(np.zeros((5, 2, 90, 60, 70), np.uint8)))
    link(viewers, layers)
    viewers[0].dims.point = (4, 1, 16, 18, 19)
    assert [v.dims.point for v in viewers[1:]] == [(1, 16, 18, 19)] * 2
    viewers[2].dims.set_point(2, 22)
    assert viewers[0].dims.point == (4, 1, 16, 22, 19)
    # the leader's slider may go where the volume ends, the cross-hair stays inside
    viewers[0].dims.point = (4, 1, 80, 59, 69)
    assert viewers[0].dims.point == (4, 1, 80, 47, 63)
    assert viewers[1].dims.point == (1, 44, 47, 63)


def test_units_of_the_leaders_world_are_heeded():
    viewers, layers = build(scale=np.array(SCALE) / 1000, units=("um",) * 3)
    viewers[0].add_layer(Image(np.zeros(SHAPE), scale=SCALE, units=("nm",) * 3))
    assert str(viewers[0].layers.units[0]) != str(viewers[1].layers.units[0])
    link(viewers, layers)
    viewers[0].dims.point = (24.0, 25.0, 30.0)
    assert viewers[1].dims.point == pytest.approx((0.024, 0.025, 0.03))
    assert viewers[1].scene.camera.zoom == pytest.approx(1000 * viewers[0].scene.camera.zoom)
    viewers[1].scene.camera.center = (0, 0.02, 0.04)
    assert viewers[0].scene.camera.center[2] == pytest.approx(40)


# the cross-hair


def mouse(cross, *path, button=1, modifiers=()):
    """Press at the first place on the canvas, move to the others, release; places from the canvas' centre."""
    viewer, event = cross.viewer, SimpleNamespace(button=button, modifiers=modifiers)
    for kind, place in (
        ("mouse_press", path[0]),
        *(("mouse_move", p) for p in path[1:]),
        ("mouse_release", path[-1]),
    ):
        event.type, event.pos = kind, np.array(place)[::-1] + np.array((200, 150))
        position = np.array(viewer.dims.point)
        camera = viewer.scene.camera
        position[list(viewer.dims.displayed)] = np.array(camera.center[-2:]) + np.array(place) / camera.zoom
        event.position = tuple(position)
        if kind == "mouse_press":
            moves = cross.drag(viewer, event)
        next(moves, None)


@pytest.fixture
def cross():
    viewers, _ = build()
    viewer = viewers[1]
    viewer.reset_view()  # z from -2 to 46, x from -0.5 to 63.5
    viewer.dims.point = (22.0, 30.0, 31.5)
    viewer.scene.camera.zoom = 5.0
    return CrossHair(viewer)


def test_the_lines_cross_at_the_point(cross):
    viewer, (across, down) = cross.viewer, cross.lines
    assert on_canvas(viewer) == (150, 200)
    viewer.dims.point = (24.0, 30.0, 41.5)
    assert across.position == ((160, 0), (160, 400))
    assert down.position == ((0, 250), (300, 250))
    viewer.scene.camera.zoom = 10.0
    viewer.scene.camera.center = (0, 22.0, 30.5)
    viewer.canvas.size = (400, 500)
    assert across.position == ((220, 0), (220, 500))
    assert down.position == ((0, 360), (400, 360))
    viewer.scene.camera.orientation = ("towards", "up", "left")
    assert on_canvas(viewer) == (180, 140)
    assert across.visible
    viewer.dims.ndisplay = 3
    assert not across.visible
    assert not down.visible


def test_a_click_puts_the_cross_there(cross):
    mouse(cross, (20, -50))
    assert cross.viewer.dims.point == (26, 30, 21.5)
    mouse(cross, (-21, 49), (-20, 50))  # a hand that shakes
    assert cross.viewer.dims.point == (18, 30, 41.5)


@pytest.mark.parametrize(
    ("path", "point"),
    [
        (((-100, 3), (-80, 20), (-60, 50)), (22, 30, 41.5)),
        (((-4, 100), (20, 50)), (26, 30, 31.5)),
        (((2, -2), (20, 50)), (26, 30, 41.5)),
        (((-100, 100), (20, 50)), (22, 30, 31.5)),
    ],
    ids=["line of x", "line of z", "both", "elsewhere: a pan"],
)
def test_each_line_can_be_dragged(cross, path, point):
    pans = []
    cross.viewer.scene.camera.events.mouse_pan.connect(lambda event: pans.append(event.value))
    mouse(cross, *path)
    assert cross.viewer.dims.point == pytest.approx(point)
    assert pans == ([] if point == (22, 30, 31.5) else [False, True])


def test_other_uses_of_the_mouse_are_left_alone(cross):
    before = cross.viewer.dims.point
    mouse(cross, (20, -50), button=2)
    mouse(cross, (20, -50), modifiers=("Alt",))
    points = cross.viewer.add_points(np.zeros((1, 3)))
    points.mode = "add"
    mouse(cross, (20, -50))
    assert cross.viewer.dims.point == before


def test_closing_the_cross_hair_leaves_nothing(cross):
    viewer = cross.viewer
    overlays, callbacks = len(viewer.canvas.overlays), len(viewer.mouse_drag_callbacks)
    cross.close()
    assert len(viewer.canvas.overlays) == overlays - 2
    assert len(viewer.mouse_drag_callbacks) == callbacks - 1
    viewer.dims.point = (0, 0, 0)
    assert cross.lines[0].position[0][0] == 150
