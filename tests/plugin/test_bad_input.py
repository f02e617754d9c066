"""Views and sources that are not as they should be."""

import threading

import numpy as np
import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_niiv.plugin.controls import status as module
from napari_niiv.plugin.live import live_reconstruction as live_layer
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.reconstruction.views import reconstructor

SHAPE, SLOPES = (12, 48, 64), (5.0, 1.0, 2.0)


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(ramp(SHAPE, SLOPES), scale=(4, 1, 1), name="ramp", contrast_limits=(0, 250))
    viewer.canvas.size = (300, 400)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.current_step = (0, 20, 0)
    viewer.reset_view()
    return viewer


@pytest.fixture
def live(viewer, interpolating_model, qtbot):
    live = LiveReconstruction(viewer, viewer.layers["ramp"], LiveSettings(interpolating_model))
    live.failed.connect(lambda sentence: pytest.fail(sentence))
    wait_final(qtbot, live)
    yield live
    live.close()


def assert_exact(live):
    """What the layer shows is the ramp, away from the borders."""
    data = np.asarray(live.layer.data)
    inside = 0
    for r in range(1, data.shape[0], 5):
        for c in range(1, data.shape[2], 5):
            z, _, x = live.source.world_to_data(live.layer.data_to_world((r, 20, c)))
            if 1 <= z <= SHAPE[0] - 2 and 1 <= x <= SHAPE[2] - 2:
                inside += 1
                assert data[r, 20, c] == pytest.approx(np.dot((z, 20, x), SLOPES), abs=0.02)
    assert inside > 5


def test_a_locked_or_hidden_source_is_shown(viewer, live, qtbot):
    live.source.editable, live.source.locked = False, True
    live.source.visible = False
    wait_final(qtbot, live, lambda: setattr(viewer.scene.camera, "zoom", viewer.scene.camera.zoom * 1.3))
    assert live.layer.visible
    assert_exact(live)
    live.compare(True)
    live.compare(False)
    assert not live.source.visible  # that is the user's


def test_a_locked_live_layer_goes_on(viewer, live, qtbot):
    live.layer.editable, live.layer.locked = False, True
    wait_final(qtbot, live, lambda: setattr(viewer.scene.camera, "zoom", viewer.scene.camera.zoom * 1.3))
    assert_exact(live)
    live.close()
    assert list(viewer.layers) == [live.source]


def test_a_grid(viewer, live, qtbot):
    live.split = 0.4
    wait_final(qtbot, live, lambda: setattr(viewer.canvas.grid, "enabled", True))
    count = live.last.response.request.columns.count
    live.split = None
    assert_exact(live)
    wait_final(qtbot, live, lambda: setattr(viewer.canvas.grid, "enabled", False))
    assert live.last.response.request.columns.count >= count
    assert_exact(live)


@pytest.mark.parametrize("size", [(300, 3), (2, 2), (1, 400)])
def test_a_window_of_a_few_pixels(viewer, live, qtbot, size):
    live.split = 0.5
    wait_final(qtbot, live, lambda: setattr(viewer.canvas, "size", size))
    assert min(live.last.response.image.shape) >= 1
    live.split = None
    wait_final(qtbot, live, lambda: setattr(viewer.canvas, "size", (300, 400)))
    assert_exact(live)


def test_a_window_without_any_pixels_shows_nothing_for_a_while(viewer, live, qtbot):
    live.split = 0.5
    viewer.canvas.size = (0, 0)
    qtbot.waitUntil(lambda: not live.layer.visible)
    wait_final(qtbot, live, lambda: setattr(viewer.canvas, "size", (300, 400)))
    assert live.layer.visible


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_extreme_zooms(viewer, live, qtbot, factor):
    """Without and with a split, there and back again."""
    zoom = viewer.scene.camera.zoom
    for split in (None, 0.5):
        live.split = split
        shown = wait_final(qtbot, live, lambda: setattr(viewer.scene.camera, "zoom", zoom * factor))
        assert 1 <= min(shown.response.image.shape) <= max(shown.response.image.shape) <= 4096
        wait_final(qtbot, live, lambda: setattr(viewer.scene.camera, "zoom", zoom))
    live.split = None
    assert_exact(live)


# sources that take their time


class Slow:
    """An array whose reads off the GUI thread wait for a gate; napari's own, on it, do not."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.gate, self.reading = threading.Event(), threading.Event()
        self.gate.set()

    def __getitem__(self, key):
        if threading.current_thread() is not threading.main_thread():
            self.reading.set()
            self.gate.wait(30)
        return self.data[key]


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(live_layer, "SLOW_SOURCE_MS", 150)
    slow = Slow(ramp(SHAPE, SLOPES))
    yield slow
    slow.gate.set()


@pytest.fixture
def slow_viewer(viewer, slow):
    viewer.layers.clear()
    viewer.layers.append(Image(slow, scale=(4, 1, 1), name="slow", contrast_limits=(0, 250)))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.current_step = (0, 20, 0)
    viewer.reset_view()
    return viewer


def test_a_source_that_takes_its_time_is_named_and_waited_for(
    slow, slow_viewer, interpolating_model, qtbot, monkeypatch
):
    slow.gate.clear()
    live = LiveReconstruction(slow_viewer, slow_viewer.layers["slow"], LiveSettings(interpolating_model))
    with qtbot.waitSignal(live.waiting, timeout=5000) as waited:
        pass
    assert waited.args == ["Waiting for the data of slow…"]
    beats = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(None))
    timer.start(0)
    slow_viewer.scene.camera.zoom *= 1.2  # the view goes on meanwhile
    qtbot.waitUntil(lambda: len(beats) > 20)
    timer.stop()
    assert not live.layer.visible
    wait_final(qtbot, live, slow.gate.set, index=20.0)
    assert live.layer.visible
    assert_exact(live)
    with qtbot.assertNotEmitted(live.waiting, wait=200):
        pass
    live.close()


def test_a_slow_model_is_not_taken_for_slow_data(viewer, live, qtbot, monkeypatch):
    gate, waiting = threading.Event(), threading.Event()
    restore = reconstructor.restore_axial

    def held(*args):
        waiting.set()
        gate.wait(30)
        return restore(*args)

    monkeypatch.setattr(reconstructor, "restore_axial", held)
    live._slow_timer.setInterval(50)
    viewer.dims.set_current_step(1, 25)
    qtbot.waitUntil(waiting.is_set, timeout=5000)
    viewer.dims.set_current_step(1, 26)  # which has to wait for the model to end
    with qtbot.assertNotEmitted(live.waiting, wait=200):
        pass
    wait_final(qtbot, live, gate.set, index=26.0)


@pytest.mark.parametrize("how", ["source", "close"])
def test_leaving_while_a_read_is_held_up(slow, slow_viewer, interpolating_model, qtbot, how):
    slow.gate.clear()
    source = slow_viewer.layers["slow"]
    live = LiveReconstruction(slow_viewer, source, LiveSettings(interpolating_model))
    qtbot.waitUntil(slow.reading.is_set, timeout=5000)
    with qtbot.waitSignal(live.closed, timeout=1000):
        slow_viewer.layers.remove(source) if how == "source" else live.close()
    qtbot.waitUntil(lambda: live.layer not in slow_viewer.layers, timeout=5000)
    with qtbot.assertNotEmitted(live.waiting, wait=200):
        pass
    slow.gate.set()
    qtbot.waitUntil(lambda: not live._scheduler.alive, timeout=5000)


def test_the_widget_tells_what_it_waits_for(dock_viewer, slow, qtbot, monkeypatch):
    for name in ("show_error", "show_info", "show_warning"):
        monkeypatch.setattr(module, name, lambda sentence: pytest.fail(sentence))
    viewer = dock_viewer
    viewer.add_layer(Image(slow, scale=(4, 1, 1), name="slow", contrast_limits=(0, 250)))
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    qtbot.waitUntil(lambda: "pixel" in widget.status.value, timeout=30_000)
    slow.gate.clear()
    viewer.dims.set_current_step(0, 3)
    qtbot.waitUntil(lambda: widget.status.value == "Waiting for the data of slow…", timeout=5000)
    assert widget.indicator.state == "waiting"
    slow.gate.set()
    qtbot.waitUntil(lambda: "pixel" in widget.status.value, timeout=5000)
    qtbot.waitUntil(lambda: widget.indicator.state == "measured", timeout=5000)
