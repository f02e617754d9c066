"""The live view in three lines."""

import numpy as np
import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv import NiivError
from napari_niiv.plugin import isotropic_view, scripting

DATA = ramp((6, 20, 24), (5.0, 1.0, 2.0))


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    return viewer


def test_three_lines(viewer, qtbot):
    live = isotropic_view(viewer, device="cpu")
    shown = wait_final(qtbot, live)
    assert shown.response.inferred  # by the bundled checkpoint
    assert live.layer in viewer.layers
    assert live in scripting._KEPT  # without anyone's holding it
    live.close()
    assert not scripting._KEPT
    assert len(viewer.layers) == 1


@pytest.mark.parametrize("named", [lambda layer: "second", lambda layer: layer], ids=["name", "layer"])
def test_the_layer_can_be_said_or_selected(viewer, interpolating_model, named, qtbot):
    second = viewer.add_image(DATA, scale=(4, 1, 1), name="second")
    viewer.add_image(DATA, name="isotropic")
    viewer.layers.selection.active = viewer.layers["stack"]
    with_selected = isotropic_view(viewer, model=interpolating_model)
    assert with_selected.source.name == "stack"
    said = isotropic_view(viewer, named(second), interpolating_model)
    assert said.source is second
    for live in (with_selected, said):
        live.close()


def test_bad_input_is_one_sentence(viewer, interpolating_model):
    def refused(*args, **kwargs):
        with pytest.raises(NiivError) as caught:
            isotropic_view(*args, **{"model": interpolating_model, **kwargs})
        assert len(viewer.layers) == before
        return str(caught.value)

    before = len(viewer.layers)
    assert "no napari viewer" in refused(None)
    assert "has no layer 'nothing'" in refused(viewer, "nothing")
    assert "no anisotropic volume" in refused(ViewerModel())
    assert "nowhere" in refused(viewer, model="nowhere.safetensors")
    assert "warp" in refused(viewer, model="em", device="warp")
    viewer.add_image(DATA, name="flat")
    viewer.add_points(np.zeros((1, 3)), name="points")
    before += 2
    assert "isotropic; set its scale" in refused(viewer, "flat")
    assert "no image" in refused(viewer, "points")
    viewer.layers.selection.clear()
    viewer.add_image(DATA, scale=(4, 1, 1), name="other")
    viewer.layers.selection.clear()
    before += 1
    assert "('stack', 'other'); say which" in refused(viewer)
    live = isotropic_view(viewer, "stack", interpolating_model)
    before += 1
    assert "live already" in refused(viewer, "stack")
    live.close()


def test_it_ends_with_the_viewer(make_napari_viewer, interpolating_model, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    live = isotropic_view(viewer, model=interpolating_model)
    viewer.close()
    qtbot.waitUntil(lambda: not live._scheduler.alive, timeout=5000)
    assert not scripting._KEPT


def test_blank_sections_are_bridged_unless_that_is_switched_off(make_napari_viewer, interpolating_model, texture):
    array = (200 * texture((12, 48, 64))).astype(np.uint8)
    array[5] = 0
    viewer = make_napari_viewer()
    layer = viewer.add_image(array, scale=(4, 1, 1))
    for bridge in (True, False):
        live = isotropic_view(viewer, layer, interpolating_model, bridge=bridge)
        assert live._volume().repairs[()].bridged == ((5,) if bridge else ())
        live.close()
