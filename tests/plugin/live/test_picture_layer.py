"""What is saved or copied of a live picture is the picture, not a volume of it repeated."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from tests.plugin.conftest import ramp, wait_final
from tests.plugin.live.test_frozen_layer import SHAPE, SLOPES, assert_on_the_ramp, looked_at

pytest.importorskip("napari")

import napari.layers
from napari_builtins.io import napari_write_image

from napari_niiv.errors import ReconstructionError
from napari_niiv.plugin.common.layers import LIVE
from napari_niiv.plugin.live.picture_layer import Image


@pytest.mark.parametrize(("order", "across"), [((1, 0, 2), 1), ((2, 1, 0), 2), ((0, 1, 2), 0)])
def test_a_copy_is_the_slice_at_its_place(begin, qtbot, order, across):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), order, scale=(4, 1, 1), translate=(3, 4, 5), units=("nm",) * 3)
    live = begin(viewer, source)
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(across, 7), index=7.0)
    copy = napari.layers.Layer.create(*live.layer.as_layer_data_tuple())  # as napari duplicates layers
    assert copy.data.shape[across] == 1
    assert_on_the_ramp(copy, source, across, 7)
    assert copy.units == source.units
    assert LIVE not in copy.metadata
    before = np.array(copy.data)
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(across, 3), index=3.0)
    np.testing.assert_array_equal(copy.data, before)


def test_what_is_saved_is_one_slice(begin, tmp_path):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), scale=(4, 1, 1))
    live = begin(viewer, source)
    data, state, kind = live.layer.as_layer_data_tuple()
    assert kind == "image"
    path = napari_write_image(str(tmp_path / "seen.tif"), data, state)  # napari's own writer
    np.testing.assert_array_equal(np.squeeze(tifffile.imread(path)), live._picture.newest[1].image)


def test_maps_of_trust_likewise(begin, qtbot):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), scale=(4, 1, 1))
    live = begin(viewer, source)
    wait_final(qtbot, live, lambda: setattr(live, "trust", ("misfit",)))
    (overlay,) = (layer for layer in viewer.layers if layer not in (source, live.layer))
    data, _, _ = overlay.as_layer_data_tuple()
    assert data.shape[1] == 1


def test_before_the_first_picture_it_is_one_sentence():
    with pytest.raises(ReconstructionError, match="wait until one is shown"):
        Image(np.zeros((1, 1, 1), np.uint8), name="stack (isotropic)").as_layer_data_tuple()
