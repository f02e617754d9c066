"""Several sources live at once."""

import threading

import numpy as np
import pytest

from tests.plugin.conftest import ramp

pytest.importorskip("napari")

from napari_niiv.plugin.controls import status as module
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET

SHAPE = (6, 20, 24)
DATA = (ramp(SHAPE, (5.0, 1.0, 2.0)) + 7).astype(np.uint16)


@pytest.fixture
def viewer(dock_viewer):
    viewer = dock_viewer
    viewer.window.resize(1000, 700)
    for name, z, opacity in [("first", 4, 1), ("second", 6, 0.5)]:  # through which the first is seen
        viewer.add_image(DATA, scale=(z, 1, 1), name=name, opacity=opacity)
    viewer.dims.order = (1, 0, 2)
    return viewer


@pytest.fixture
def live_layers(viewer, interpolating_model):
    live_layers = LiveLayers(viewer)
    live_layers.model = interpolating_model
    yield live_layers
    live_layers.close_all()


@pytest.fixture
def widget(viewer, monkeypatch, qtbot):
    """The dock widget with both layers live, the first one chosen."""
    messages: list[str] = []
    for name in ("show_error", "show_info", "show_warning"):
        monkeypatch.setattr(module, name, messages.append)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    for name in ("second", "first"):
        widget.layer.value = viewer.layers[name]
        qtbot.waitUntil(lambda: "pixel" in widget.status.value, timeout=30_000)
    assert not messages
    return widget


def test_each_source_has_one_of_its_own(in_napari, viewer, live_layers, qtbot):
    first, second = (live_layers.open(viewer.layers[name]) for name in ("first", "second"))
    assert live_layers.open(viewer.layers["first"]) is first
    assert len(live_layers) == 2
    qtbot.waitUntil(lambda: first.last is not None and second.last is not None, timeout=20_000)
    live_layers.close(first.source)
    assert live_layers.get(first.source) is None
    assert live_layers.get(second.source) is second
    with qtbot.waitSignal(second.shown, timeout=20_000):
        viewer.dims.set_current_step(1, 3)
    assert {layer.name for layer in viewer.layers} == {"first", "second", "second (isotropic)"}


def test_a_model_is_for_all_and_a_resolution_for_one(viewer, live_layers, qtbot, interpolating_model):
    import copy

    live_layers.set_own(viewer.layers["second"], finest=2.0)  # kept though it is not live yet
    first, second = (live_layers.open(viewer.layers[name]) for name in ("first", "second"))
    assert (first.finest, second.finest) == (0, 2)
    other = copy.deepcopy(interpolating_model)
    live_layers.model = other
    assert first.model is other
    assert second.model is other
    live_layers.set_own(first.source, finest=4.0)
    assert (first.finest, second.finest) == (4, 2)


def test_a_noise_level_is_for_one_volume_and_goes_with_what_takes_its_place(viewer, live_layers):
    first, second = (viewer.layers[name] for name in ("first", "second"))
    live_layers.set_own(first, denoise=0.04)
    assert [live_layers.settings_of(each).denoise for each in (first, second, None)] == [0.04, "auto", "auto"]
    third = viewer.add_image(DATA, scale=(4, 1, 1), name="third")
    live_layers.adopt(first, third)
    live_layers.adopt(second, first)  # which has nothing of its own
    assert [live_layers.settings_of(each).denoise for each in (first, second, third)] == [0.04, "auto", 0.04]
    live_layers.set_own(None, denoise=0.01)  # of those that have none of their own
    assert [live_layers.settings_of(each).denoise for each in (first, second, third)] == [0.04, 0.01, 0.04]


def test_one_signal_tells_of_every_change_of_the_settings(viewer, live_layers, qtbot):
    seen = []
    live_layers.changed.connect(lambda: seen.append(live_layers.settings))
    first, second = (live_layers.open(viewer.layers[name]) for name in ("first", "second"))
    live_layers.change(split=0.3, steps=True)
    live_layers.change(split=0.3)  # nothing new
    first.split = 0.6  # as by the mouse, for all
    second.finest = 2.0  # for this one alone
    assert [(settings.split, settings.finest) for settings in seen] == [(0.3, 0), (0.6, 0), (0.6, 0)]
    assert (first.split, second.split) == (0.6, 0.6)
    assert (first.finest, second.finest) == (0, 2)
    assert live_layers.settings_of(second.source) == second.settings
    assert live_layers.settings_of(None) == first.settings


def test_one_that_went_by_itself_is_told_and_forgotten(viewer, interpolating_model, qtbot):
    opened, ended = [], []
    threads = threading.active_count()
    live_layers = LiveLayers(viewer)
    live_layers.opened.connect(opened.append)
    live_layers.ended.connect(ended.append)
    live_layers.model = interpolating_model
    first, second = (live_layers.open(viewer.layers[name]) for name in ("first", "second"))
    assert opened == [first, second]
    viewer.layers.remove(first.source)
    assert ended == [first]
    assert len(live_layers) == 1
    live_layers.close_all()
    assert ended == [first]
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == ["second"])
    qtbot.waitUntil(lambda: threading.active_count() <= threads, timeout=5000)


def test_choosing_another_layer_leaves_the_first_live(viewer, widget, qtbot):
    first, second = viewer.layers["first"], viewer.layers["second"]
    assert len(widget.live_layers) == 2
    assert widget.live.source is first
    assert widget.on.value
    widget.on.value = False
    assert widget.live is None
    widget.layer.value = second
    assert widget.on.value
    assert widget.live is widget.live_layers.get(second)
    widget.layer.value = first
    assert not widget.on.value
    assert widget.status.value == "Off."
    assert [live.source for live in widget.live_layers] == [second]


def test_another_file_leaves_both_live(viewer, widget, qtbot):
    third = viewer.add_image(DATA, scale=(3, 1, 1), name="third")
    widget.layer.value = third
    qtbot.waitUntil(lambda: len(widget.live_layers) == 3, timeout=20_000)


def test_settings_are_those_of_the_chosen_layer(viewer, widget, qtbot):
    first, second = viewer.layers["first"], viewer.layers["second"]
    widget.match_zoom.value = False
    widget.output_scale.value = 0.5
    widget.anisotropy.value = 5
    assert tuple(first.scale) == (5, 1, 1)
    assert tuple(second.scale) == (6, 1, 1)
    assert widget.live_layers.get(first).finest == 2
    assert widget.live_layers.get(second).finest == 0
    widget.layer.value = second
    assert widget.match_zoom.value
    assert widget.anisotropy.value == pytest.approx(6)
    widget.layer.value = first
    assert not widget.match_zoom.value
    assert widget.output_scale.value == pytest.approx(0.5)
    widget.match_zoom.value = True
    widget.output_scale.value = 2  # takes over
    assert not widget.match_zoom.value
    assert widget.live_layers.get(first).finest == 0.5


def test_the_status_speaks_of_the_chosen_layer(viewer, widget, qtbot):
    second = widget.live_layers.get(viewer.layers["second"])
    with qtbot.waitSignal(second.shown, timeout=20_000):
        viewer.scene.camera.zoom *= 1.1
    qtbot.waitUntil(lambda: widget.live.last is not None and widget.live.last.final, timeout=20_000)
    words = widget.status.value
    second.failed.emit("Trouble elsewhere.")
    second.shown.emit(second.last)
    assert widget.status.value == words
    widget.layer.value = second.source
    widget.layer.value = viewer.layers["first"]
    assert widget.status.value == words


def test_the_switch_goes_off_for_the_layer_whose_picture_was_deleted(in_napari, viewer, widget, qtbot):
    first, second = viewer.layers["first"], viewer.layers["second"]
    viewer.layers.remove(widget.live_layers.get(second).layer)
    qtbot.waitUntil(lambda: second in widget._off)
    assert widget.on.value  # of the first
    widget.layer.value = second
    assert not widget.on.value
    assert widget.live is None
    assert widget.live_layers.get(first) is not None


def test_closing_the_dock_ends_all(in_napari, viewer, widget, qtbot):
    live_layers = list(widget.live_layers)
    viewer.window.remove_dock_widget(widget.native)
    qtbot.waitUntil(lambda: not any(live._scheduler.alive for live in live_layers), timeout=5000)
    assert [layer.name for layer in viewer.layers] == ["first", "second"]
