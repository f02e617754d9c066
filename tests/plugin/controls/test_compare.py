"""Source against reconstruction: held, and split by a line."""

import itertools

import numpy as np
import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.key_bindings import KeymapHandler
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_niiv.plugin.controls.compare import KEY, Compare
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.live.split import fraction_at, line_position, right_of_line
from napari_niiv.plugin.live.view import visible

SHAPE, SLOPES = (12, 48, 64), (5.0, 1.0, 2.0)


def side_view(viewer, source):
    viewer.layers.append(source)
    viewer.canvas.size = (300, 400)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.current_step = (0, 20, 0)
    viewer.scene.camera.zoom = 5
    viewer.scene.camera.center = (0, 22, 31.5)
    return viewer


@pytest.fixture
def viewer():
    source = Image(ramp(SHAPE, SLOPES), scale=(4, 1, 1), name="ramp", contrast_limits=(0, 250))
    return side_view(ViewerModel(), source)


def edges(layer, viewer):
    """Left and right edge of what a layer shows, in the world."""
    axis = viewer.dims.displayed[-1]
    ends = np.zeros((2, 3))
    ends[:, axis] = -0.5, layer.data.shape[axis] - 0.5
    return tuple(layer.data_to_world(end)[axis] for end in ends)


def pixel(layer, viewer):
    return layer.affine.affine_matrix[viewer.dims.displayed[-1], viewer.dims.displayed[-1]]


# where the line is


@pytest.mark.parametrize("orientation", ["right", "left"])
def test_a_place_in_the_window_and_its_fraction(viewer, orientation):
    viewer.scene.camera.orientation2d = ("down", orientation)
    sign = 1 if orientation == "right" else -1
    assert line_position(viewer, 0.5) == pytest.approx(31.5)
    assert line_position(viewer, 0.75) == pytest.approx(31.5 + sign * 100 / 5)
    for fraction in (0, 0.3, 1):
        assert fraction_at(viewer, line_position(viewer, fraction)) == pytest.approx(fraction)
    assert fraction_at(viewer, line_position(viewer, 0.5) + sign * 1e4) == 1


@pytest.mark.parametrize(
    ("order", "scale", "turn"),
    [
        *itertools.product(itertools.permutations(range(3)), [(4, 1, 1), (4, -1, 1), (4, 1, -1)], [0]),
        *itertools.product([(0, 1, 2), (0, 2, 1)], [(4, 1, 1)], [90, 180]),
    ],
)
def test_exactly_what_lies_right_of_the_line_is_kept(order, scale, turn):
    source = Image(np.zeros(SHAPE), scale=scale, rotate=(0, 0, turn) if turn else None, contrast_limits=(0, 9))
    viewer = side_view(ViewerModel(), source)
    viewer.dims.order = order
    centre = np.mean(source.extent.world, axis=0)
    viewer.dims.point = tuple(centre)
    viewer.scene.camera.center = (0, *centre[list(order[1:])])
    view = visible(viewer, source)
    count = (view.request.rows.count, view.request.columns.count)
    picture = 1.0 + np.arange(np.prod(count), dtype=np.float32).reshape(count)

    def places(view, shape):
        """Where in the world, along the screen's horizontal, each pixel is."""
        grid = np.zeros((*shape, 4))
        grid[..., 3] = 1
        grid[..., view.axes[0]], grid[..., view.axes[1]] = np.indices(shape)
        return (grid @ view.affine.T)[..., order[-1]]

    line = line_position(viewer, 0.47)
    found, part = right_of_line(viewer, source, view, picture, 0.47)
    before, after = places(view, count), places(found, part.shape)
    right = before >= line
    assert 0 < part.size < picture.size
    assert part.size == right.sum()
    np.testing.assert_allclose(np.sort(after, axis=None), np.sort(before[right]), atol=1e-6)
    nearest = np.isclose(after, after.min(), atol=1e-6)  # the line itself
    assert np.all(part[nearest] == 9)
    assert set(part[~nearest]) <= set(picture[right])
    assert picture.min() == 1  # the picture is not written on


def test_a_line_beyond_the_picture(viewer):
    source = viewer.layers["ramp"]
    view = visible(viewer, source)
    picture = np.zeros((view.request.rows.count, view.request.columns.count), np.uint8)
    assert right_of_line(viewer, source, view, picture, 1.0) is None
    whole, same = right_of_line(viewer, source, view, picture, 0.0)
    np.testing.assert_array_equal(same, picture)
    np.testing.assert_array_equal(whole.affine, view.affine)


# the split of a live layer


def test_the_line_stays_on_the_screen(viewer, live):
    live.split = 0.4
    camera = viewer.scene.camera
    for change in (lambda: setattr(camera, "zoom", 9), lambda: setattr(camera, "center", (0, 20, 34.0))):
        change()
        left, right = edges(live.layer, viewer)  # at once: no picture came
        assert left == pytest.approx(line_position(viewer, 0.4), abs=pixel(live.layer, viewer))
        assert right > left
    live.split = None
    assert edges(live.layer, viewer)[0] == pytest.approx(-0.5, abs=0.2)


def test_every_picture_is_cut(viewer, live, qtbot, monkeypatch):
    shown = []
    show = type(live.layer).show

    def spy(layer, view, picture, *args, **kwargs):
        show(layer, view, picture, *args, **kwargs)
        shown.append((live._picture.newest[1].quality, edges(layer, viewer)[0]))

    live.split = 0.6
    monkeypatch.setattr(type(live.layer), "show", spy)
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 30), index=30.0)
    assert {quality for quality, _ in shown} == {"placeholder", "fast", "refined"}
    line = line_position(viewer, 0.6)
    assert all(left == pytest.approx(line, abs=pixel(live.layer, viewer)) for _, left in shown)


def test_the_cut_picture_is_right_and_has_a_bright_edge(viewer, live):
    live.split = 0.5
    picture = np.asarray(live.layer.data)[:, 20]
    assert np.all(picture[:, 0] == 250)
    z, x = picture.shape[0] // 2, picture.shape[1] // 2
    voxel = live.source.world_to_data(live.layer.data_to_world((z, 20, x)))
    assert picture[z, x] == pytest.approx(np.dot((voxel[0], 20, voxel[2]), SLOPES), abs=0.02)


def test_nothing_right_of_the_line_hides_the_layer_for_a_while(viewer, live):
    live.split = 1.0
    assert not live.layer.visible
    live.split = 0.9
    assert not live.layer.visible  # that is right of the volume
    live.split = 0.7
    assert live.layer.visible
    live.split = 1.0
    live.split = None
    assert live.layer.visible


def test_a_split_does_not_show_what_the_user_hid(viewer, live):
    live.layer.visible = False
    live.split = 0.3
    live.compare(True)
    live.compare(False)
    live.split = None
    assert not live.layer.visible


def test_holding_shows_the_source_and_goes_on(viewer, live, qtbot):
    live.compare(True)
    assert not live.layer.visible
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 33), index=33.0)
    assert not live.layer.visible
    live.compare(False)
    assert live.layer.visible
    assert live.layer.data[0, 33, 0] == pytest.approx(live._picture.newest[1].image[0, 0])


# the controls


@pytest.fixture
def controls(viewer, interpolating_model, qtbot):
    live_layers = LiveLayers(viewer)
    live_layers.model = interpolating_model
    controls = Compare(viewer, live_layers)
    with qtbot.waitSignal(live_layers.open(viewer.layers["ramp"]).shown, timeout=20_000):
        pass
    yield controls
    controls.close()
    live_layers.close_all()


def test_button_and_key_hold(viewer, controls):
    (live,) = controls._live_layers
    controls.hold.native.pressed.emit()
    assert not live.layer.visible
    controls.hold.native.released.emit()
    assert live.layer.visible
    keys = KeymapHandler()
    keys.keymap_providers = [viewer]
    assert keys.press_key(KEY)
    assert not live.layer.visible
    keys.release_key(KEY)
    assert live.layer.visible
    assert f"key {KEY}" in controls.hold.tooltip


def test_the_key_is_free_and_unbound_at_the_end(viewer, controls):
    from napari.utils.shortcuts import default_shortcuts

    assert not any(str(key) == KEY for keys in default_shortcuts.values() for key in keys)
    controls.close()
    assert not viewer.keymap


def test_a_users_key_is_left_alone(viewer, controls):
    controls.close()

    def mine(viewer): ...

    viewer.bind_key(KEY, mine)
    others = Compare(viewer, LiveLayers(viewer))
    assert "key" not in others.hold.tooltip
    others.close()
    assert list(viewer.keymap.values()) == [mine]
    viewer.bind_key(KEY, None)
    others = Compare(viewer, LiveLayers(viewer))
    viewer.bind_key(KEY, mine, overwrite=True)  # afterwards
    others.close()
    assert list(viewer.keymap.values()) == [mine]


def test_the_slider_moves_the_line_of_all_also_of_later_ones(viewer, controls, qtbot):
    (live,) = controls._live_layers
    controls.position.value = 30  # splits the window
    assert controls.split.value
    assert live.split == pytest.approx(0.3)
    other = Image(ramp(SHAPE, SLOPES), scale=(4, 1, 1), name="other")
    viewer.layers.append(other)
    assert controls._live_layers.open(other).split == pytest.approx(0.3)
    live._drag_split(0.62)  # by the mouse
    assert controls.position.value == 62
    assert [one.split for one in controls._live_layers] == [0.62, 0.62]
    controls.split.value = False
    assert [one.split for one in controls._live_layers] == [None, None]


# the mouse


def test_the_mouse_drags_the_line_and_not_the_picture(lent_viewer, interpolating_model, qtbot):
    viewer = lent_viewer
    source = viewer.add_image(ramp(SHAPE, SLOPES), scale=(4, 1, 1), name="ramp")
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    callbacks = (viewer.mouse_drag_callbacks, viewer.mouse_move_callbacks)
    before = [list(each) for each in callbacks]
    live = LiveReconstruction(viewer, source, LiveSettings(interpolating_model))
    wait_final(qtbot, live)
    canvas = viewer.window._qt_viewer.canvas.native
    width = canvas.width()
    live.split = 0.5
    centre = viewer.scene.camera.center

    def send(kind, x, button=Qt.MouseButton.NoButton, held=Qt.MouseButton.NoButton):
        canvas._last_time = 0  # vispy drops moves in quick succession
        place = QPointF(x, canvas.height() / 2)
        event = QMouseEvent(kind, place, canvas.mapToGlobal(place), button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(canvas, event)

    def drag(start, stop, style):
        left = Qt.MouseButton.LeftButton
        send(QEvent.Type.MouseMove, start)
        qtbot.waitUntil(lambda: str(viewer.cursor.style) == style)  # napari throttles moves
        send(QEvent.Type.MouseButtonPress, start, left, left)
        for x in np.linspace(start, stop, 5):
            send(QEvent.Type.MouseMove, x, held=left)
        send(QEvent.Type.MouseButtonRelease, stop, left)
        viewer.window._qt_viewer.canvas.on_draw()  # then napari learns where the mouse moved the camera

    with qtbot.waitSignal(live.settings_changed):
        drag(width // 2 + 2, width * 3 // 10 + 2, "pointing")
    assert live.split == pytest.approx(0.3, abs=2 / width)
    assert viewer.scene.camera.center == centre
    drag(width * 7 // 10, width * 6 // 10, "standard")  # away from the line the camera pans
    assert live.split == pytest.approx(0.3, abs=2 / width)
    assert viewer.scene.camera.center != centre
    live.close()
    assert [list(each) for each in callbacks] == before
