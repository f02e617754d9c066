"""Pictures that stay."""

import numpy as np
import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

import napari.layers
from napari.components import ViewerModel

from napari_niiv.errors import ReconstructionError
from napari_niiv.plugin.common.layers import LIVE, is_source

SHAPE, SLOPES = (12, 48, 64), (5.0, 1.0, 2.0)


def looked_at(data, order=(1, 0, 2), **source):
    viewer = ViewerModel()
    layer = viewer.add_image(data, name="stack", contrast_limits=(0, 250), **source)
    viewer.canvas.size = (300, 400)
    viewer.dims.order = order
    viewer.reset_view()
    viewer.scene.camera.zoom *= 1.5
    return viewer, layer


def assert_on_the_ramp(layer, source, across, index, offset=0.0):
    """The values are those of the ramp where the layer says that they are in the world."""
    data = np.asarray(layer.data)
    inside = 0
    for pixel in zip(*(n.ravel()[::97] for n in np.indices(data.shape)), strict=True):
        voxel = np.array(source.world_to_data(layer.data_to_world(pixel)))[-3:]
        assert voxel[across] == pytest.approx(index)
        if np.all(voxel >= 1) and np.all(voxel <= np.array(SHAPE) - 2):
            inside += 1
            assert data[pixel] == pytest.approx(offset + np.dot(voxel, SLOPES), abs=0.02)
    assert inside > 20


@pytest.mark.parametrize(("order", "across"), [((1, 0, 2), 1), ((2, 1, 0), 2), ((0, 1, 2), 0)])
def test_it_lies_at_its_slice(begin, qtbot, order, across):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), order, scale=(4, 1, 1), translate=(3, 4, 5), units=("nm",) * 3)
    live = begin(viewer, source)
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(across, 7), index=7.0)
    layer = live.freeze()
    plane = {0: "xy", 1: "xz", 2: "yz"}[across]
    assert layer.name == f"stack {plane} 7 (frozen)"
    assert layer.data.shape[across] == 1
    assert_on_the_ramp(layer, source, across, 7)
    assert np.array_equal(layer.affine.affine_matrix, np.eye(4))  # scale and translate say it all
    assert layer.units == source.units
    assert viewer.layers[-1] is layer
    assert viewer.layers[-2] is live.layer


def test_it_is_an_ordinary_layer(begin):
    viewer, source = looked_at(ramp(SHAPE, SLOPES).astype(np.uint16), scale=(4, 1, 1), colormap="magma")
    live = begin(viewer, source)
    layer, again = live.freeze(), live.freeze()
    assert isinstance(layer, napari.layers.Image)
    assert again.name == f"{layer.name} [1]"
    assert not layer.visible  # it would hide what changes in the live picture
    assert LIVE not in layer.metadata
    assert not is_source(layer)  # one slice is no volume
    assert layer.data.dtype == np.uint16
    assert (layer.colormap.name, tuple(layer.contrast_limits)) == ("magma", (0, 250))
    source.contrast_limits = (10, 20)
    assert tuple(layer.contrast_limits) == (0, 250)
    _, state, kind = layer.as_layer_data_tuple()  # what is saved
    assert kind == "image"
    np.testing.assert_allclose(state["scale"], layer.scale)
    np.testing.assert_allclose(state["translate"], layer.translate)


def test_it_stays_when_all_else_changes(begin, qtbot):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), scale=(4, 1, 1))
    live = begin(viewer, source)
    layer = live.freeze()
    before = layer.data.copy()
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 33), index=33.0)
    wait_final(qtbot, live, lambda: setattr(source, "data", 2 * source.data))
    np.testing.assert_array_equal(layer.data, before)
    viewer.layers.remove(source)
    qtbot.waitUntil(lambda: list(viewer.layers) == [layer])
    np.testing.assert_array_equal(layer.data, before)


def test_sliders_and_selection_stay(begin):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), scale=(4, 1, 1))
    live = begin(viewer, source)
    before = viewer.dims.range, viewer.dims.point
    live.freeze()
    viewer.dims.order = (0, 1, 2)
    assert (viewer.dims.range, viewer.dims.point) == before
    assert viewer.layers.selection.active is source


def test_it_is_whole_and_without_the_line_of_a_split(begin):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), scale=(4, 1, 1))
    live = begin(viewer, source)
    whole = live.freeze().data.copy()
    live.split = 0.5
    np.testing.assert_array_equal(live.freeze().data, whole)
    live.compare(True)
    np.testing.assert_array_equal(live.freeze().data, whole)


def test_a_turned_volume_with_times(begin, qtbot):
    data = np.stack([ramp(SHAPE, SLOPES), 100 + ramp(SHAPE, SLOPES)])
    viewer, source = looked_at(data, (0, 1, 2, 3), scale=(1, 4, 1, 1), rotate=np.diag([1.0, 1, 1, 1]))
    turn = np.eye(5)
    turn[2:4, 2:4] = [[0.8, -0.6], [0.6, 0.8]]
    source.affine = turn
    viewer.dims.current_step = (1, 5, 0, 0)
    live = begin(viewer, source)
    camera = viewer.scene.camera
    wait_final(qtbot, live, lambda: setattr(camera, "zoom", 1.1 * camera.zoom), leading=(1,))
    layer = live.freeze()
    assert layer.data.shape[:2] == (1, 1)
    assert layer.data_to_world((0, 0, 0, 0))[0] == 1
    assert_on_the_ramp(layer, source, 0, 5, offset=100)


def test_nothing_to_freeze_is_one_sentence(begin):
    viewer, source = looked_at(ramp(SHAPE, SLOPES), scale=(4, 1, 1))
    live = begin(viewer, source)
    viewer.dims.ndisplay = 3
    with pytest.raises(ReconstructionError, match="wait until one is shown"):
        live.freeze()
    assert len(viewer.layers) == 2
