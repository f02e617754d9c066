"""The widget's choice follows what is opened and selected in napari's layer list."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.layers._source import layer_source
from qtpy.QtCore import QObject

from napari_niiv.plugin.common.layers import LIVE, PROVENANCE, insert_above
from napari_niiv.plugin.common.selected_volume import SelectedVolume
from napari_niiv.volume import Provenance

VALUES = np.zeros((4, 8, 8), np.uint8)


class Choice:
    """Stands for the widget."""

    def __init__(self, parent, layer):
        self.parent, self.viewer, self.layer, self.count = parent, ViewerModel(), layer, 0
        self.viewer.layers.append(layer)
        self.follows = SelectedVolume(parent, self.viewer, lambda: self.layer, self.choose)

    def choose(self, layer):
        self.layer, self.count = layer, self.count + 1

    def add(self, layer):
        self.viewer.add_layer(layer)
        return layer


def volume(name, scale=(4, 1, 1), **keywords):
    return Image(VALUES, scale=scale, name=name, **keywords)


@pytest.fixture
def choice(qapp):
    return Choice(QObject(), volume("first"))


@pytest.fixture
def at_rest(qtbot):
    """Waits until the list is at rest."""

    def wait(choice):
        with qtbot.waitSignal(choice.follows._at_rest.triggered):
            choice.follows._at_rest.throttle()

    return wait


def test_what_is_opened_and_what_is_selected_is_chosen(choice, at_rest):
    first, second = choice.layer, choice.add(volume("second"))
    at_rest(choice)
    assert choice.layer is second
    choice.viewer.layers.selection.active = first
    at_rest(choice)
    assert choice.layer is first
    live = Image(VALUES, metadata={LIVE: True})
    live.source_layer = second
    insert_above(choice.viewer.layers, first, live)
    at_rest(choice)
    assert choice.layer is first
    choice.viewer.layers.selection.active = live
    at_rest(choice)
    assert choice.layer is second
    assert choice.count == 3


def test_a_file_without_voxel_size_is_chosen_but_not_what_a_plugin_makes(choice, at_rest):
    first = choice.layer
    made = choice.add(volume("made", (1, 1, 1)))
    at_rest(choice)
    assert choice.layer is first
    choice.viewer.layers.selection = {first}
    at_rest(choice)
    choice.viewer.layers.selection = {made}  # the user means it
    at_rest(choice)
    assert choice.layer is made
    with layer_source(path="a.tif"):
        opened = choice.add(volume("opened", (1, 1, 1)))
    at_rest(choice)
    assert choice.layer is opened


def test_what_the_plugin_opens_is_left_to_it(choice, at_rest):
    choice.add(volume("one of many", metadata={PROVENANCE: Provenance(path="a.tif")}))
    at_rest(choice)
    assert choice.count == 0


@pytest.mark.parametrize(
    "other",
    [
        lambda: volume("exported", (0.5, 0.5, 0.5)),
        lambda: Labels(VALUES, scale=(4, 1, 1)),
        lambda: Image(VALUES[0]),
        lambda: Image(np.zeros((4, 8, 8, 3), np.uint8), rgb=True, scale=(4, 1, 1)),
    ],
    ids=["isotropic", "labels", "2-D", "RGB"],
)
def test_what_cannot_be_restored_is_not_chosen(choice, at_rest, other):
    choice.add(other())
    at_rest(choice)
    assert choice.count == 0


def test_what_napari_selects_when_a_layer_goes_is_not_chosen(choice, at_rest):
    choice.add(volume("second"))
    at_rest(choice)
    labels = choice.add(Labels(VALUES, scale=(4, 1, 1)))
    at_rest(choice)
    choice.choose(choice.viewer.layers["first"])
    choice.viewer.layers.remove(labels)
    choice.viewer.layers.selection.active = choice.viewer.layers["second"]  # as napari may
    at_rest(choice)
    assert choice.layer.name == "first"


def test_what_is_chosen_by_hand_stays_as_layers_of_ours_come(choice, at_rest):
    second = choice.add(volume("second"))
    at_rest(choice)
    choice.choose(choice.viewer.layers["first"])
    insert_above(choice.viewer.layers, second, volume("live", metadata={LIVE: True}))
    at_rest(choice)
    assert choice.layer.name == "first"


def test_channels_that_are_opened_leave_the_first_chosen(choice, at_rest):
    first = choice.layer
    first.blending = "additive"
    second = choice.add(volume("second", blending="additive"))
    at_rest(choice)
    assert choice.layer is first
    choice.viewer.layers.selection.active = first
    at_rest(choice)
    choice.viewer.layers.selection.active = second
    at_rest(choice)
    assert choice.layer is second


def test_it_ends_with_its_parent(choice, qtbot):
    parent = choice.parent
    with qtbot.waitSignal(parent.destroyed):
        parent.deleteLater()
    choice.add(volume("second"))
    assert choice.layer.name == "first"
