"""The live layer, in a real (virtual) window where that makes a difference."""

import gc
import threading

import numpy as np
import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.errors import VolumeError
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings

SHAPE, SCALE = (12, 48, 64), (4.0, 1.0, 1.0)
SLOPES = (5.0, 1.0, 2.0)


@pytest.fixture
def viewer(qapp, request):
    if "in_napari" in request.fixturenames:
        viewer = request.getfixturevalue("lent_viewer")
        viewer.window.resize(900, 700)
    else:
        viewer = ViewerModel()
    viewer.add_image(ramp(SHAPE, SLOPES), scale=SCALE, translate=(3, 4, 5), name="ramp", contrast_limits=(0, 300))
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    return viewer


def assert_exact(viewer, live):
    """The layer's value at each of its pixels is the ramp's value there in the world."""
    layer, source = live.layer, live.source
    data = np.asarray(layer.data)
    shown = sorted(viewer.dims.displayed)
    across = ({0, 1, 2} - set(shown)).pop()
    step = viewer.dims.current_step[across]
    interior = 0
    for r in range(1, data.shape[shown[0]], 7):
        for c in range(1, data.shape[shown[1]], 7):
            pixel = np.zeros(3)
            pixel[shown[0]], pixel[shown[1]] = r, c
            index = np.zeros(3, int)
            index[shown[0]], index[shown[1]] = r, c
            voxel = np.array(source.world_to_data(layer.data_to_world(pixel)))
            voxel[across] = step
            if np.all(voxel >= 1) and np.all(voxel <= np.array(source.data.shape) - 2):
                interior += 1
                assert data[tuple(index)] == pytest.approx(float(np.dot(voxel, SLOPES)), abs=0.02)
    assert interior > 20


def test_it_lies_exactly_on_its_source_in_every_order_and_zoom(in_napari, viewer, live, qtbot):
    for order in [(1, 0, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)]:
        if tuple(viewer.dims.order) != order:
            plane = "xz" if order[0] == 1 else "yz"
            wait_final(qtbot, live, lambda order=order: setattr(viewer.dims, "order", order), plane=plane)
        for factor in (1.7, 0.4, 1.0):

            def zoom(factor=factor):
                viewer.scene.camera.zoom *= factor

            wait_final(qtbot, live, zoom) if factor != 1.0 else None
            assert_exact(viewer, live)
        wait_final(qtbot, live, viewer.reset_view)


def test_scrolling_ends_with_the_last_slice_asked_for(viewer, live, qtbot):
    def scroll():
        for step in range(5, 40):
            viewer.dims.set_current_step(1, step)

    wait_final(qtbot, live, scroll, index=39.0)
    assert_exact(viewer, live)


def test_what_the_user_set_stays(viewer, live, qtbot):
    source = viewer.layers["ramp"]
    source.contrast_limits = (10, 200)
    source.colormap = "magma"
    camera, ranges, steps = viewer.scene.camera.zoom, viewer.dims.range, viewer.dims.nsteps
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 20), index=20.0)
    assert tuple(live.layer.contrast_limits) == (10, 200)
    assert live.layer.colormap.name == "magma"
    assert (viewer.scene.camera.zoom, viewer.dims.range, viewer.dims.nsteps) == (camera, ranges, steps)
    assert viewer.layers.selection.active is source


def test_3d_and_back(in_napari, viewer, live, qtbot):
    viewer.dims.ndisplay = 3
    assert not live.layer.visible
    wait_final(qtbot, live, lambda: setattr(viewer.dims, "ndisplay", 2))
    assert live.layer.visible
    assert_exact(viewer, live)


def test_hidden_by_hand_stays_hidden(viewer, live, qtbot):
    live.layer.visible = False
    viewer.dims.set_current_step(1, 11)
    with qtbot.assertNotEmitted(live.shown, wait=150):
        viewer.scene.camera.zoom *= 1.3
    assert not live.layer.visible
    wait_final(qtbot, live, lambda: setattr(live.layer, "visible", True), index=11.0)
    assert_exact(viewer, live)


def test_an_edited_source_is_read_again(viewer, live, qtbot):
    source = viewer.layers["ramp"]
    wait_final(qtbot, live, lambda: setattr(source, "data", 2 * ramp(SHAPE, SLOPES)))
    step = viewer.dims.current_step[1]
    middle = np.asarray(live.layer.data)[live.layer.data.shape[0] // 2, step, live.layer.data.shape[2] // 2]
    voxel = source.world_to_data(
        live.layer.data_to_world((live.layer.data.shape[0] // 2, 0, live.layer.data.shape[2] // 2))
    )
    assert middle == pytest.approx(2 * np.dot((voxel[0], step, voxel[2]), SLOPES), abs=0.05)


def test_voxels_edited_in_place_are_read_again_when_the_layer_is_refreshed(viewer, live, qtbot):
    def edit():
        viewer.layers["ramp"].data *= 2
        viewer.layers["ramp"].refresh()

    before = live.last.response.image
    wait_final(qtbot, live, edit)
    np.testing.assert_allclose(live.last.response.image, 2 * before, rtol=1e-4, atol=0.01)


def test_looking_about_forgets_nothing(viewer, live, qtbot, monkeypatch):
    forgotten = []
    monkeypatch.setattr(live._reconstructor, "forget", lambda: forgotten.append(1))
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 30), index=30.0)
    wait_final(qtbot, live, lambda: setattr(viewer.scene.camera, "zoom", viewer.scene.camera.zoom * 1.5))
    viewer.layers["ramp"].colormap = "magma"
    viewer.add_image(np.zeros((4, 4, 4)))
    assert not forgotten


@pytest.mark.parametrize("which", ["source", "layer"])
def test_deleting_either_layer_cleans_up(in_napari, viewer, live, qtbot, which):
    with qtbot.waitSignal(live.closed, timeout=5000):
        viewer.layers.remove(getattr(live, which))
    qtbot.waitUntil(lambda: live.layer not in viewer.layers)
    qtbot.waitUntil(lambda: not live._scheduler.alive, timeout=5000)
    viewer.scene.camera.zoom *= 1.1  # nothing listens any more


def test_closing_lets_go_of_the_viewer(viewer, interpolating_model, qtbot):
    emitters = [viewer.dims.events.point, viewer.scene.camera.events.zoom, viewer.layers.events.removed]
    before = [len(e.callbacks) for e in emitters]
    threads = threading.active_count()
    for _ in range(3):
        live = LiveReconstruction(viewer, viewer.layers["ramp"], LiveSettings(interpolating_model))
        wait_final(qtbot, live)
        live.close()
        qtbot.waitUntil(lambda live=live: not live._scheduler.alive, timeout=5000)
        assert len(viewer.layers) == 1
    del live
    gc.collect()
    assert [len(e.callbacks) for e in emitters] == before
    assert threading.active_count() <= threads


def test_a_source_that_fails_says_so_and_recovers(viewer, live, qtbot):
    source = viewer.layers["ramp"]
    bad = ramp(SHAPE, SLOPES)
    bad[:] = np.nan
    with qtbot.waitSignal(live.failed, timeout=10_000) as failed:
        source.data = bad
    assert "NaN" in failed.args[0]
    assert not live.layer.visible
    wait_final(qtbot, live, lambda: setattr(source, "data", ramp(SHAPE, SLOPES)))
    assert live.layer.visible


def test_a_model_can_be_exchanged(viewer, live, qtbot, interpolating_model):
    import copy

    other = copy.deepcopy(interpolating_model)
    wait_final(qtbot, live, lambda: setattr(live, "model", other))
    assert live.model is other


@pytest.mark.parametrize("data", [np.zeros((40, 50)), np.zeros((40, 50, 3), np.uint8)], ids=["2-D", "RGB"])
def test_what_is_no_volume_is_refused(interpolating_model, data):
    viewer = ViewerModel()
    layer = viewer.add_image(data)
    with pytest.raises(VolumeError):
        LiveReconstruction(viewer, layer, LiveSettings(interpolating_model))
    assert len(viewer.layers) == 1


def test_several_dimensions_and_units(interpolating_model, qtbot):
    viewer = ViewerModel()
    data = np.stack([ramp(SHAPE, SLOPES), 100 + ramp(SHAPE, SLOPES)])
    layer = viewer.add_image(data, scale=(1, *SCALE), units=("second", "nm", "nm", "nm"), contrast_limits=(0, 400))
    viewer.dims.order = (0, 2, 1, 3)
    viewer.dims.current_step = (0, 0, 9, 0)
    viewer.reset_view()
    live = LiveReconstruction(viewer, layer, LiveSettings(interpolating_model))
    first = wait_final(qtbot, live)
    second = wait_final(qtbot, live, lambda: viewer.dims.set_current_step(0, 1), leading=(1,))
    np.testing.assert_allclose(second.response.image, first.response.image + 100, atol=0.05)
    live.close()


def test_units_changed_under_the_view(viewer, live, qtbot):
    source = viewer.layers["ramp"]
    wait_final(qtbot, live, lambda: setattr(source, "units", ("um",) * 3))
    assert live.layer.units == source.units
    assert_exact(viewer, live)


def test_a_source_that_grows_is_covered_whole(in_napari, viewer, live, qtbot):
    """A picture of the same size is written over the last one, but not where the sliders became longer."""
    source = viewer.layers["ramp"]
    longer = ramp((SHAPE[0], SHAPE[1] + 20, SHAPE[2]), SLOPES)
    wait_final(qtbot, live, lambda: setattr(source, "data", longer))
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, SHAPE[1] + 15), index=SHAPE[1] + 15.0)
    assert live.layer.data.shape[1] == SHAPE[1] + 20
    assert_exact(viewer, live)


def test_a_point_that_moves_within_the_slice_changes_nothing(viewer, live, qtbot):
    with qtbot.assertNotEmitted(live.shown, wait=150):
        viewer.dims.set_point(2, 30.0)
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 20), index=20.0)
    assert_exact(viewer, live)
