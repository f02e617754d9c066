"""The ortho views in a real (virtual) window."""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.plugin.conftest import ramp

pytest.importorskip("napari")

from napari.qt import QtViewer
from qtpy.QtCore import QPoint, Qt

from napari_niiv.errors import VolumeError
from napari_niiv.plugin.crosshair import on_canvas
from napari_niiv.plugin.ortho import NAME, OrthoViews
from napari_niiv.plugin.reader import PLUGIN, WIDGET

SHAPE, SCALE, ORIGIN = (12, 48, 64), (4.0, 1.0, 1.0), (3.0, 4.0, 5.0)
SLOPES = (5.0, 1.0, 2.0)
DATA = ramp(SHAPE, SLOPES)
LAYER = {"scale": SCALE, "translate": ORIGIN, "name": "ramp", "contrast_limits": (0, 300)}


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 800)
    return viewer


@pytest.fixture
def source(viewer):
    layer = viewer.add_image(DATA, **LAYER)
    viewer.dims.point = (23.0, 30.0, 40.0)
    return layer


@pytest.fixture
def ortho(viewer, source, interpolating_model, qtbot):
    ortho = OrthoViews(viewer, source, interpolating_model)
    wait_exact(qtbot, ortho)
    yield ortho
    ortho.close()


def difference(panel, slopes=SLOPES):
    """How far a panel's live layer is from the ramp at the panel's point, or None if it does not show this slice."""
    layer, view = panel.live.layer, panel.viewer
    shown = sorted(view.dims.displayed)
    if not layer.visible or panel.live._scheduler.generation not in panel.live._views:
        return None
    data = np.asarray(layer.data)
    if data.shape[shown[0]] <= 1 or data.shape[shown[1]] <= 1:
        return None
    voxel = (np.array(view.dims.point) - ORIGIN) / SCALE
    across = ({0, 1, 2} - set(shown)).pop()
    pixel = np.round(layer.world_to_data(view.dims.point)).astype(int)
    at = voxel.copy()  # of the pixel's centre in its own slice
    at[shown] = ((np.array(layer.data_to_world(pixel)) - ORIGIN) / SCALE)[shown]
    at[across] = at[across] if across == 0 else round(at[across])
    pixel[across] = 0
    if np.any(pixel < 0) or np.any(pixel >= data.shape):
        return None
    return abs(float(data[tuple(pixel)]) - float(np.dot(at, slopes)))


def wait_exact(qtbot, ortho, slopes=SLOPES):
    def exact():
        found = [difference(panel, slopes) for panel in ortho.panels]
        return None not in found and max(found) < 0.02

    qtbot.waitUntil(exact, timeout=20_000)


def planes(ortho):
    return [panel.plane for panel in ortho.panels]


def press(qtbot, panel, *path, row=0, column=0):
    """Press at the first place, move to the others, release; rows and columns from the canvas' centre."""
    native = panel.canvas.canvas.native
    height, width = panel.viewer.canvas.size
    places = [QPoint(width // 2 + c, height // 2 + r) for r, c in path]
    qtbot.mousePress(native, Qt.MouseButton.LeftButton, pos=places[0])
    for place in places[1:]:
        qtbot.mouseMove(native, place)
        qtbot.wait(20)
    qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, pos=places[-1])


def test_every_panel_is_exact_at_the_point_wherever_it_goes(viewer, ortho, qtbot):
    assert planes(ortho) == ["xz", "yz"]
    for point in [(31.0, 20.0, 33.0), (11.0, 41.0, 50.0)]:
        viewer.dims.point = point
        wait_exact(qtbot, ortho)
        for panel in ortho.panels:
            assert panel.viewer.dims.point == point


def test_a_panel_moves_the_others(viewer, ortho, qtbot):
    first, second = ortho.panels
    first.viewer.dims.point = (16.0, 22.3, 44.0)  # sliders stop at slices
    assert viewer.dims.point == (15.0, 22.0, 44.0)
    assert first.viewer.dims.point == second.viewer.dims.point == (15.0, 22.0, 44.0)
    assert viewer.dims.current_step[0] == 3
    wait_exact(qtbot, ortho)


def test_zoom_is_the_same_and_a_pan_moves_the_shared_axis(viewer, ortho):
    xz, yz = (panel.viewer for panel in ortho.panels)
    for camera in (viewer.scene.camera, xz.scene.camera, yz.scene.camera):
        camera.zoom *= 1.5
        assert viewer.scene.camera.zoom == xz.scene.camera.zoom == yz.scene.camera.zoom
    xz.scene.camera.center = (0, 20, 31)  # z, x
    assert yz.scene.camera.center[1] == 20
    assert viewer.scene.camera.center[2] == 31
    yz.scene.camera.center = (0, 21, 28)  # z, y
    assert xz.scene.camera.center[1:] == (21, 31)
    assert viewer.scene.camera.center[1:] == (28, 31)


def test_what_leaves_the_view_is_followed(viewer, ortho):
    xz, yz = (panel.viewer for panel in ortho.panels)
    viewer.scene.camera.zoom *= 8
    before = viewer.scene.camera.center[1:]
    viewer.dims.point = (43.0, 30.0, 40.0)
    assert xz.scene.camera.center[1] == yz.scene.camera.center[1] == 43
    assert viewer.scene.camera.center[1:] == before
    yz.dims.point = (43.0, 8.0, 40.0)
    assert viewer.scene.camera.center[1] == 8


def test_the_panels_show_what_the_main_viewer_does_not(viewer, ortho, qtbot):
    for order, expected in [
        ((1, 0, 2), ["xy", "yz"]),
        ((2, 0, 1), ["xy", "xz"]),
        ((2, 1, 0), ["xy", "xz"]),
        ((0, 1, 2), ["xz", "yz"]),
    ]:
        viewer.dims.order = order
        assert planes(ortho) == expected
        zooms = {round(float(v.scene.camera.zoom), 6) for v in (viewer, *(p.viewer for p in ortho.panels))}
        assert len(zooms) == 1
        wait_exact(qtbot, ortho)


def test_panels_stay_flat_when_the_main_viewer_goes_3d(viewer, ortho, qtbot):
    viewer.dims.ndisplay = 3
    assert planes(ortho) == ["xz", "yz"]
    ortho.panels[0].viewer.dims.point = (19.0, 25.0, 30.0)
    assert viewer.dims.point == (19.0, 25.0, 30.0)
    assert not any(line.visible for line in ortho.cross.lines)
    wait_exact(qtbot, ortho)
    viewer.dims.ndisplay = 2
    assert all(line.visible for line in ortho.cross.lines)
    wait_exact(qtbot, ortho)


def test_a_click_moves_the_cross_hair_and_a_line_can_be_dragged(viewer, ortho, qtbot):
    xz, yz = ortho.panels
    camera = xz.viewer.scene.camera
    centre, zoom = np.array(camera.center[1:]), camera.zoom
    press(qtbot, xz, (-30, 42))
    row, column = centre + np.array([-30, 42]) / zoom
    z, y, x = viewer.dims.point
    assert abs(z - row) <= 2  # a slider may stop at the nearest slice
    assert abs(x - column) <= 0.5
    assert y == 30
    assert np.abs(on_canvas(xz.viewer) - np.array(xz.viewer.canvas.size) / 2 - (-30, 42)).max() <= 2 * zoom + 1
    wait_exact(qtbot, ortho)
    # far from both lines a drag pans; on the line of x it moves x alone
    press(qtbot, xz, (40, -60), (20, -60), (10, -60))
    assert viewer.dims.point == pytest.approx((z, y, x))
    qtbot.waitUntil(lambda: camera.center[1] > centre[0])
    row, column = (np.array(on_canvas(xz.viewer)) - np.array(xz.viewer.canvas.size) / 2).astype(int)
    press(qtbot, xz, (row + 40, column), (row + 40, column - 10), (row + 60, column - 40))
    assert viewer.dims.point == pytest.approx((z, y, x - 40 / zoom), abs=0.5 + 1 / zoom)
    assert camera.mouse_pan
    wait_exact(qtbot, ortho)


def test_the_cross_hair_adds_no_layer_and_leaves_none(viewer, source, ortho):
    assert list(viewer.layers) == [source]
    row, column = on_canvas(viewer)
    across, down = ortho.cross.lines
    assert across.position[0][0] == across.position[1][0] == row
    assert down.position[0][1] == down.position[1][1] == column
    overlays = len(viewer.canvas.overlays)
    ortho.close()
    assert len(viewer.canvas.overlays) == overlays - 2


def test_panels_look_like_their_source(viewer, source, ortho, qtbot):
    source.contrast_limits, source.colormap, source.name = (10, 200), "magma", "renamed"
    for panel in ortho.panels:
        assert panel.copy.data is source.data
        assert tuple(panel.live.layer.contrast_limits) == (10, 200)
        assert panel.live.layer.colormap.name == "magma"
        assert panel.copy.name == "renamed"
    ortho.panels[0].copy.gamma = 0.5
    assert source.gamma == ortho.panels[1].live.layer.gamma == 0.5
    source.data = 2 * DATA
    wait_exact(qtbot, ortho, tuple(2 * s for s in SLOPES))
    source.translate = (0, 0, 0)
    assert all(tuple(panel.copy.translate) == (0, 0, 0) for panel in ortho.panels)


def test_a_model_can_be_exchanged(viewer, ortho, qtbot, interpolating_model):
    import copy

    other = copy.deepcopy(interpolating_model)
    shown = [panel.live.shown for panel in ortho.panels]
    with qtbot.waitSignals(shown, timeout=20_000, check_params_cbs=[lambda s: s.final] * 2):
        ortho.model = other
    assert all(panel.live.model is other for panel in ortho.panels)
    wait_exact(qtbot, ortho)


def test_time_follows_the_main_viewer(viewer, interpolating_model, qtbot):
    data = np.stack([DATA, 100 + DATA])
    layer = viewer.add_image(data, scale=(1, *SCALE), translate=(0, *ORIGIN), contrast_limits=(0, 400))
    viewer.add_points(np.zeros((1, 5)))  # the viewer may have more axes than the source
    viewer.dims.point = (0, 0, 23.0, 30.0, 40.0)
    ortho = OrthoViews(viewer, layer, interpolating_model)
    finals = [lambda s: s.final and s.response.request.leading == (1,)] * 2
    with qtbot.waitSignals([p.live.shown for p in ortho.panels], timeout=20_000, check_params_cbs=finals):
        viewer.dims.set_point(1, 1)
    assert [p.viewer.dims.point for p in ortho.panels] == [(1, 23, 30, 40)] * 2
    ortho.panels[0].viewer.dims.set_point(3, 33)
    assert viewer.dims.point == (0, 1, 23, 30, 33) or viewer.dims.point == (0, 1, 23, 33, 40)
    ortho.close()


def test_units_of_the_world_are_heeded(viewer, interpolating_model):
    viewer.add_image(DATA, scale=SCALE, units=("nm",) * 3)
    layer = viewer.add_image(DATA, scale=np.array(SCALE) / 1000, units=("um",) * 3)
    factor = 1.0 if str(viewer.layers.units[0]) == "micrometer" else 1000.0
    ortho = OrthoViews(viewer, layer, interpolating_model)
    viewer.dims.point = np.array((0.02, 0.025, 0.03)) * factor
    assert ortho.panels[0].viewer.dims.point == pytest.approx((0.02, 0.025, 0.03))
    assert ortho.panels[0].viewer.scene.camera.zoom == pytest.approx(viewer.scene.camera.zoom * factor)
    ortho.close()


@pytest.mark.parametrize("how", ["close", "dock x", "source deleted", "axes changed"])
def test_closing_leaves_nothing(viewer, source, interpolating_model, qtbot, how):
    events = (viewer.dims.events.point, viewer.dims.events.order, viewer.scene.camera.events.zoom)
    events += (viewer.layers.events.removed, source.events.data, source.events.scale, source.events.gamma)
    before = [len(e.callbacks) for e in (*events, viewer.canvas.events.size)]
    callbacks, threads = len(viewer.mouse_drag_callbacks), threading.active_count()
    ortho = OrthoViews(viewer, source, interpolating_model)
    schedulers = [panel.live._scheduler for panel in ortho.panels]
    wait_exact(qtbot, ortho)
    with qtbot.waitSignal(ortho.closed, timeout=5000):
        if how == "close":
            ortho.close()
        elif how == "dock x":
            ortho.dock.destroyOnClose()
        elif how == "source deleted":
            viewer.layers.remove(source)
        else:
            source.data = np.stack([DATA, DATA])
    qtbot.waitUntil(lambda: not any(s.alive for s in schedulers), timeout=5000)
    assert NAME not in viewer.window.dock_widgets
    if how in ("close", "dock x"):  # otherwise napari's own change too
        assert [len(e.callbacks) for e in (*events, viewer.canvas.events.size)] == before
    assert len(viewer.mouse_drag_callbacks) == callbacks
    assert threading.active_count() <= threads
    ortho.close()  # twice does no harm
    del ortho

    def only_the_main_one():
        gc.collect()
        return len(QtViewer._instances) == 1

    qtbot.waitUntil(only_the_main_one, timeout=5000)
    viewer.dims.set_point(0, 11)  # nothing listens any more
    viewer.scene.camera.zoom *= 1.1


@pytest.mark.parametrize("data", [np.zeros((40, 50)), np.zeros((40, 50, 3), np.uint8)], ids=["2-D", "RGB"])
def test_what_is_no_volume_is_refused(viewer, interpolating_model, data):
    layer = viewer.add_image(data)
    with pytest.raises(VolumeError):
        OrthoViews(viewer, layer, interpolating_model)
    assert not viewer.window.dock_widgets


def test_the_button_opens_and_closes_them(viewer, source, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.three.native.click()  # before the model is there
    qtbot.waitUntil(lambda: widget.ortho is not None, timeout=30_000)
    wait_exact_shape = [p.live.source.data.shape for p in widget.ortho.panels]
    assert wait_exact_shape == [SHAPE] * 2
    widget.ortho.dock.destroyOnClose()
    assert widget.three.value is False
    assert widget.ortho is None
    widget.on.value = False
    widget.three.native.click()
    assert widget.on.value is True
    assert widget.ortho is not None
    other = viewer.add_image(DATA, **{**LAYER, "name": "other"})
    widget.layer.value = other
    assert widget.ortho.source == other
    viewer.layers.remove(other)
    assert widget.ortho is None or widget.ortho.source == source
    widget.show_ortho(False)
    assert widget.ortho is None
    viewer.layers.clear()
    widget.three.native.click()
    assert widget.three.value is False
    assert widget.status.value.startswith("Choose a layer")


SCRIPT = """
import sys
import numpy as np
import napari
from qtpy.QtCore import QTimer
from napari_niiv.models.niiv import Architecture, Niiv
from napari_niiv.plugin.ortho import OrthoViews
from vispy.gloo.glir import GlirProgram

GlirProgram.delete = lambda self: None
viewer = napari.Viewer()
layer = viewer.add_image(np.random.rand(8, 32, 32), scale=(4, 1, 1))
ortho = OrthoViews(viewer, layer, Niiv(Architecture(features=4, blocks=1)).place("cpu"))
window = ortho.widget.window()
left = [2]
for panel in ortho.panels:
    panel.live.shown.connect(lambda shown: QTimer.singleShot(0, window.close))
ortho.closed.connect(lambda: print("closed"))
napari.run()
print([panel.live._scheduler._closed for panel in ortho.panels])
"""


def test_the_window_can_be_closed_meanwhile():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["closed", "[True, True]"]
    assert "Traceback" not in done.stderr
