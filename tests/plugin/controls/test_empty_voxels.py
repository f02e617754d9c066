"""Empty voxels in the widget: told, corrected, remembered, and back in the picture as they were."""

import numpy as np
import pytest

from tests.plugin.conftest import wait_final

pytest.importorskip("napari")

from napari_niiv.io.remembered import recall_empty
from napari_niiv.plugin.common.layers import layer_data, layer_volume
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.volume import Provenance, Volume

SHAPE = (8, 40, 48)


@pytest.fixture
def data(texture):
    array = (60 + 150 * texture(SHAPE) + np.random.default_rng(0).normal(size=SHAPE)).astype(np.uint8)
    array[:, :, :12] = 0
    return array


def test_they_are_told_corrected_and_remembered(dock_viewer, qtbot, data, tmp_path, messages):
    np.save(tmp_path / "stack.npy", data)
    origin = Provenance(str(tmp_path / "stack.npy"), stored_axes="zyx")
    array, keywords = layer_data(Volume(data, voxel_size=(4.0, 1.0, 1.0), name="stack", provenance=origin))
    viewer = dock_viewer
    layer = viewer.add_image(array, **keywords)
    viewer.dims.order = (1, 0, 2)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    control = widget.empty_voxels
    qtbot.waitUntil(lambda: control.sentence.value == "25 % of this volume is empty (0); kept out.", timeout=30_000)
    live = widget.live

    def choose(choice):
        control.choice.value = choice

    shown = wait_final(qtbot, live, lambda: choose("none"))
    assert shown.response.empty.share == 0
    assert not control.sentence.visible
    assert layer_volume(layer).empty == ()
    qtbot.waitUntil(lambda: recall_empty(tmp_path / "stack.npy") == ())

    control.choice.value = "values"
    control.typed.value = "zero"
    control.typed.native.editingFinished.emit()
    assert messages[-1].startswith("Empty voxels is 'zero': it should be auto, none, or the values")

    def type_zero():
        control.typed.value = "0"
        control.typed.native.editingFinished.emit()

    shown = wait_final(qtbot, live, type_zero)
    assert shown.response.empty.values == (0.0,)
    assert control.sentence.value == "25 % of this volume is empty (0); kept out."
    assert layer_volume(layer).empty == (0.0,)
    qtbot.waitUntil(lambda: recall_empty(tmp_path / "stack.npy") == (0.0,))

    other = viewer.add_image(data, scale=(4, 1, 1), name="other")
    widget.layer.value = other
    assert (control.choice.value, control.typed.visible) == ("auto", False)
    widget.layer.value = layer
    assert (control.choice.value, control.typed.value) == ("values", "0")
    shown = wait_final(qtbot, live, lambda: choose("auto"))
    qtbot.waitUntil(lambda: recall_empty(tmp_path / "stack.npy") is None)
    assert layer_volume(layer).empty is None
