"""What tells which pass is on the screen."""

import numpy as np
import pytest

from tests.plugin.conftest import ramp

pytest.importorskip("napari")

from napari_niiv.geometry import Sampling
from napari_niiv.plugin.controls import status as module
from napari_niiv.plugin.controls.pass_indicator import STATES, PassIndicator, pass_of
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.reconstruction.views.request import SliceRequest, SliceResponse


def response(quality, inferred, plane="xz"):
    request = SliceRequest(plane, 0.0, Sampling(0, 1, 1), Sampling(0, 1, 1))
    return SliceResponse(request, quality, np.zeros((1, 1)), 0.0, "cpu", 1, inferred)


@pytest.mark.parametrize(
    ("quality", "inferred", "state"),
    [
        ("placeholder", False, "interpolated"),
        ("fast", True, "fast"),
        ("refined", True, "refined"),
        ("fast", False, "interpolated"),  # where interpolation is the right answer
    ],
)
def test_each_pass_has_a_state(quality, inferred, state):
    assert pass_of(response(quality, inferred)) == state


def test_xy_is_as_it_was_measured_but_for_steps_between_slices():
    assert pass_of(response("fast", False, "xy")) == "measured"
    assert pass_of(response("placeholder", False, "xy")) == "interpolated"
    assert pass_of(response("refined", True, "xy")) == "refined"


def test_each_state_has_a_word_and_looks_different_without_colour(qtbot):
    indicator = PassIndicator()
    qtbot.addWidget(indicator)
    indicator.show()
    seen = {}
    for state in ("interpolated", "fast", "refined", "failed"):
        indicator.show_state(state)
        assert indicator.word == state
        assert indicator.toolTip() == STATES[state].meaning
        picture = indicator._mark.grab().toImage()
        ground = picture.pixelColor(0, 5)
        places = [(x, y) for x in range(picture.width()) for y in range(picture.height())]
        seen[state] = frozenset(at for at in places if picture.pixelColor(*at) != ground)
    assert len(set(seen.values())) == 4
    assert len(seen["interpolated"]) < len(seen["fast"]) < len(seen["refined"])


def test_it_follows_the_chosen_layer(dock_viewer, qtbot, monkeypatch):
    for name in ("show_error", "show_info", "show_warning"):
        monkeypatch.setattr(module, name, lambda sentence: None)
    viewer = dock_viewer
    data = ramp((6, 20, 24), (5.0, 1.0, 2.0))
    viewer.add_image(data, scale=(4, 1, 1), name="stack")
    flat = viewer.add_image(data, name="flat", opacity=0.5)
    viewer.layers.selection.active = viewer.layers["stack"]
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)

    def wait(state):
        qtbot.waitUntil(lambda: widget.indicator.state == state, timeout=30_000)

    wait("measured")  # the xy view
    widget.show_side("xz")
    wait("refined")
    widget.live.layer.visible = False
    assert widget.indicator.state == "hidden"
    assert widget.status.value == module.HIDDEN.format("stack")
    widget.live.layer.visible = True
    assert widget.indicator.state == "refined"
    assert widget.status.value.startswith("xz")
    viewer.dims.ndisplay = 3
    assert widget.indicator.state == "waiting"
    viewer.dims.ndisplay = 2  # before anything has come
    wait("refined")
    assert widget.status.value.startswith("xz")
    widget.freeze()
    assert widget.indicator.state == "refined"
    assert viewer.layers[-1].name == "flat"
    assert "(frozen)" in viewer.layers[-2].name
    widget.layer.value = flat
    assert widget.indicator.state == "off"
    widget.freeze()
    assert "Nothing is live" in widget.status.value
    widget.layer.value = viewer.layers["stack"]
    assert widget.indicator.state == "refined"
    widget.live._fail("Trouble.")
    assert widget.indicator.state == "failed"
    widget.on.value = False
    assert widget.indicator.state == "off"
