"""The channels of a volume in the ortho views: each panel shows them together, in their colours."""

import gc
import threading

import numpy as np
import pytest

from tests.plugin.conftest import ramp
from tests.plugin.test_widget import open_widget

pytest.importorskip("napari")

from napari.qt import QtViewer
from vispy.gloo import glir

from napari_niiv.plugin.common.layers import BLENDED, COVER, SHARED
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.ortho.ortho_views import NAME, OrthoViews

SHAPE, SCALE = (12, 48, 64), (4.0, 1.0, 1.0)
SLOPES = np.array([(5.0, 1.0, 2.0), (3.0, 2.0, 1.0)])
BOTH = np.stack([ramp(SHAPE, slopes) for slopes in SLOPES])
LIMIT = 255.0


@pytest.fixture
def viewer(lent_viewer):
    lent_viewer.window.resize(900, 700)
    return lent_viewer


@pytest.fixture
def sources(viewer):
    layers = viewer.add_image(
        BOTH, channel_axis=0, scale=SCALE, name=["a", "b"], blending="additive", contrast_limits=[(0, LIMIT)] * 2
    )
    viewer.dims.point = (20.0, 24.0, 30.0)
    return layers


@pytest.fixture
def ortho(viewer, sources, interpolating_model, qtbot):
    ortho = OrthoViews(viewer, sources, lambda source: LiveSettings(interpolating_model))
    wait_final(qtbot, ortho)
    yield ortho
    ortho.close()


@pytest.fixture
def widget(viewer, sources, interpolating_model, monkeypatch, qtbot):
    """The dock widget with the second channel chosen, and the ortho views that its button opened."""
    monkeypatch.setattr(ModelChoice, "load", lambda self, value=None: self._adopt(interpolating_model, None))
    widget = open_widget(viewer)
    widget.ortho_button.native.click()
    wait_final(qtbot, widget.ortho)
    assert widget.layer.value is sources[1]
    return widget


def wait_final(qtbot, ortho):
    def settled():
        for panel in ortho.panels:
            for live in panel.lives:
                assert live.last is not None
                assert live.last.final
                assert live.last.response.request.plane == panel.plane
                assert live.layer.visible or not live.source.visible

    qtbot.waitUntil(settled, timeout=20_000)


def picture(panel):
    """What a panel's canvas shows, without lines and name: array of rows, columns, RGB."""
    panel.name.overlay.visible = False
    for line in panel.cross.lines:
        line.visible = False
    return panel.canvas.screenshot(flash=False)[..., :3].astype(float)


def expected(panel, shape, channels=(0, 1)):
    """What the canvas must show of two ramps in magenta and green, and where that is known exactly."""
    view = panel.viewer
    (height, width), shown = shape[:2], list(view.dims.displayed)
    centre, zoom = np.array(view.scene.camera.center[-2:]), view.scene.camera.zoom
    rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    voxel = np.empty((height, width, 3))
    voxel[:] = np.round(np.array(view.dims.point) / SCALE)
    middle = np.array([height, width]) / 2
    for axis, place, half, at in zip(shown, (rows, columns), middle, centre, strict=True):
        voxel[..., axis] = ((place - half) / zoom + at) / SCALE[axis]
    colours = np.zeros((height, width, 3))
    for channel in channels:
        values = np.clip(voxel @ SLOPES[channel], 0, LIMIT) / LIMIT * 255
        colours[..., (0, 2) if channel == 0 else (1,)] = values[..., None]
    inner = np.all((voxel > 1.5) & (voxel < np.array(SHAPE) - 2.5), axis=-1)
    assert inner.mean() > 0.1
    return colours, inner


def same(panel, channels=(0, 1)):
    """How far the canvas is from the right colours at most, of 255."""
    found = picture(panel)
    colours, inner = expected(panel, found.shape, channels)
    return np.abs(found - colours)[inner].max()


def in_opengl(parser):
    """The textures, buffers and programs of canvases."""
    return [thing for thing in parser._objects.values() if isinstance(thing, glir.GlirObject)]


def test_each_panel_shows_both_channels_added_up_and_none_that_is_hidden(sources, ortho, qtbot):
    assert [panel.plane for panel in ortho.panels] == ["xz", "yz"]
    assert [same(panel) < 3 for panel in ortho.panels] == [True, True]
    for hidden, left in ((0, 1), (1, 0)):
        sources[hidden].visible = False
        assert [same(panel, [left]) < 3 for panel in ortho.panels] == [True, True]
        sources[hidden].visible = True
        wait_final(qtbot, ortho)
        assert [same(panel) < 3 for panel in ortho.panels] == [True, True]


def test_looks_are_those_of_each_channel(sources, ortho):
    changes = {
        "blending": "translucent",
        "opacity": 0.5,
        "colormap": "cyan",
        "gamma": 0.7,
        "contrast_limits": [3, 90],
    }
    assert set(changes) == {*SHARED, *BLENDED}
    for name, value in changes.items():
        others = [getattr(sources[1], name)] * 2
        setattr(sources[0], name, value)
        for panel in ortho.panels:
            for layer in (panel.copies[0], panel.lives[0].layer):
                seen = getattr(layer, name)
                assert (seen.name if name == "colormap" else seen) == value
            assert [getattr(layer, name) for layer in (panel.copies[1], panel.lives[1].layer)] == others


def test_each_channel_has_its_own_settings(viewer, sources, ortho, interpolating_model):
    settings = {
        source: LiveSettings(interpolating_model, finest, split=0.5)
        for source, finest in zip(sources, (1, 2), strict=True)
    }
    ortho.apply(settings.__getitem__)
    for panel in ortho.panels:
        assert [live.finest for live in panel.lives] == [1, 2]
        assert [live.split for live in panel.lives] == [None, None]


def test_closing_leaves_nothing(viewer, sources, interpolating_model, qtbot):
    ways = {
        "close": lambda ortho: ortho.close(),
        "dock x": lambda ortho: ortho.dock.destroyOnClose(),
        "a channel deleted": lambda ortho: viewer.layers.remove(sources[1]),
    }
    for way, end in ways.items():
        events = [viewer.dims.events.point, viewer.scene.camera.events.zoom, viewer.layers.events.removed]
        for source in sources:
            of = source.events
            events += [of.data, of.scale, of.gamma, of.opacity, of.blending, of.visible, of.set_data]
        before = [len(event.callbacks) for event in events]
        layers, callbacks, threads = list(viewer.layers), len(viewer.mouse_drag_callbacks), threading.active_count()
        ortho = OrthoViews(viewer, sources, lambda source: LiveSettings(interpolating_model))
        wait_final(qtbot, ortho)
        lives = [live for panel in ortho.panels for live in panel.lives]
        assert len(lives) == 4
        parsers = [panel.canvas.canvas._scene_canvas.context.shared.parser for panel in ortho.panels]
        assert all(in_opengl(parser) for parser in parsers)
        with qtbot.waitSignal(ortho.closed, timeout=5000):
            end(ortho)
        qtbot.waitUntil(lambda lives=lives: not any(live._scheduler.alive for live in lives), timeout=5000)
        assert not any(in_opengl(parser) for parser in parsers)
        assert NAME not in viewer.window.dock_widgets
        assert threading.active_count() <= threads
        assert len(viewer.mouse_drag_callbacks) == callbacks
        if way != "a channel deleted":  # which napari takes its own callbacks from
            assert [len(event.callbacks) for event in events] == before
            assert list(viewer.layers) == layers

    def only_the_main_one():
        gc.collect()
        return len(QtViewer._instances) == 1

    qtbot.waitUntil(only_the_main_one, timeout=5000)


def test_they_follow_the_channels_of_the_chosen_layer(viewer, sources, widget, qtbot):
    first, second = sources
    views = widget.ortho
    assert views.sources == (first, second)
    assert [same(panel) < 3 for panel in views.panels] == [True, True]
    widget.layer.value = first  # another channel of what they show
    assert widget.ortho is views
    viewer.layers.remove(second)
    assert widget.ortho is None
    qtbot.waitUntil(lambda: widget.ortho is not None, timeout=5000)
    assert widget.ortho.sources == (first,)
    wait_final(qtbot, widget.ortho)
    assert [same(panel, [0]) < 3 for panel in widget.ortho.panels] == [True, True]
    viewer.add_layer(second)
    qtbot.waitUntil(lambda: widget.ortho is not None and len(widget.ortho.sources) == 2, timeout=5000)
    assert widget.ortho.sources == (first, second)
    wait_final(qtbot, widget.ortho)
    assert [same(panel) < 3 for panel in widget.ortho.panels] == [True, True]
    widget.layer.value = first
    viewer.layers.remove(first)  # the chosen one
    qtbot.waitUntil(lambda: widget.ortho is not None, timeout=5000)
    assert widget.ortho.sources == (second,)
    assert widget.ortho_button.value
    viewer.layers.remove(second)
    assert widget.ortho is None
    assert NAME not in viewer.window.dock_widgets


def test_they_close_with_the_live_layers_of_their_channels(viewer, sources, widget, qtbot):
    viewer.layers.remove(next(layer for layer in viewer.layers if layer.name == "b (isotropic)"))
    qtbot.waitUntil(lambda: list(viewer.layers) == sources, timeout=5000)
    assert widget.ortho is None
    assert not widget.on.value
    widget.on.value = True
    assert widget.ortho.sources == tuple(sources)
    wait_final(qtbot, widget.ortho)
    covers = [layer for panel in widget.ortho.panels for layer in panel.viewer.layers if COVER in layer.metadata]
    assert len(covers) == 2
    widget.on.value = False
    assert widget.ortho is None
    assert list(viewer.layers) == sources
