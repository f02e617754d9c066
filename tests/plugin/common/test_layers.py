"""Napari's image layers as volumes, and layers of ours beside them."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.common.layers import insert_above


@pytest.mark.parametrize("selected", [(), (0,), (0, 2)])
def test_what_is_selected_stays_so_and_nobody_is_told_otherwise(selected):
    viewer, told = ViewerModel(), []
    layers = [viewer.add_image(np.zeros((4, 8, 8), np.uint8)) for _ in range(3)]
    selection = viewer.layers.selection
    viewer.layers.selection = {layers[number] for number in selected}
    active = selection.active
    selection.events.connect(told.append)
    insert_above(viewer.layers, layers[1], ours := Image(np.zeros((4, 8, 8), np.uint8)))
    assert viewer.layers.index(ours) == 2
    assert set(selection) == {layers[number] for number in selected}
    assert selection.active is active
    assert not told
    selection.active = layers[1]  # the next ones are told
    assert told


def test_the_controls_are_those_of_what_is_selected(make_napari_viewer):
    viewer = make_napari_viewer()
    below = viewer.add_image(np.zeros((4, 8, 8), np.uint8))
    controls = viewer.window._qt_viewer.controls
    shown = controls.currentWidget()
    insert_above(viewer.layers, below, Image(np.zeros((4, 8, 8), np.uint8)))
    assert controls.currentWidget() is shown
    viewer.layers.selection.active = viewer.layers[1]
    assert controls.currentWidget() is not shown
    viewer.layers.selection.active = below
    assert controls.currentWidget() is shown
