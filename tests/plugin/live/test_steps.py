"""The z slider between the slices."""

import numpy as np
import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings

SHAPE, SLOPES = (12, 20, 24), (5.0, 1.0, 2.0)


@pytest.fixture
def begin(interpolating_model, qtbot):
    begun = []

    def begin(z, **source):
        viewer = ViewerModel()
        layer = viewer.add_image(ramp(SHAPE, SLOPES), scale=(z * 0.3, 0.3, 0.3), **source)
        live = LiveReconstruction(viewer, layer, LiveSettings(interpolating_model))
        wait_final(qtbot, live)
        begun.append(live)
        return viewer, live

    yield begin
    for live in begun:
        live.close()


@pytest.mark.parametrize(("z", "to_a_slice"), [(4, 4), (8, 8), (4.6, 5), (1.2, 1), (7.3, 7)])
def test_the_slider_has_a_whole_number_of_steps_to_a_slice(begin, z, to_a_slice):
    viewer, live = begin(z, translate=(3, 4, 5))
    before = viewer.dims.range
    assert viewer.dims.nsteps[0] == 12
    live.steps = True
    assert viewer.dims.nsteps[0] == 11 * to_a_slice + 1
    assert viewer.dims.range[1:] == before[1:]
    start, stop, step = viewer.dims.range[0]
    assert (start, stop) == before[0][:2]
    assert step == pytest.approx(z * 0.3 / to_a_slice)
    viewer.dims.set_current_step(0, 11 * to_a_slice)
    assert viewer.dims.point[0] == pytest.approx(stop)
    live.steps = False
    assert viewer.dims.range == before


def test_pictures_lie_between_the_slices(begin, qtbot):
    viewer, live = begin(4)
    live.steps = True
    for step, index in [(9, 2.25), (8, 2.0)]:
        shown = wait_final(qtbot, live, lambda step=step: viewer.dims.set_current_step(0, step), index=index)
        rows, columns = shown.response.request.rows, shown.response.request.columns
        y = rows.start + rows.step * np.arange(rows.count)
        x = columns.start + columns.step * np.arange(columns.count)
        exact = 5 * index + y[:, None] + 2 * x[None]
        inside = np.ix_((y >= 1) & (y <= 18), (x >= 1) & (x <= 22))
        np.testing.assert_allclose(shown.response.image[inside], exact[inside], atol=0.02)


def test_off_goes_back_onto_a_slice(begin):
    viewer, live = begin(4)
    live.steps = True
    viewer.dims.set_current_step(0, 9)
    live.steps = False
    assert viewer.dims.point[0] == pytest.approx(2 * 1.2)


def test_the_end_and_new_pictures_keep_the_slider(begin, qtbot):
    viewer, live = begin(4)
    before = viewer.dims.range
    live.steps = True
    after = viewer.dims.range
    wait_final(qtbot, live, lambda: setattr(viewer.dims, "order", (1, 0, 2)), plane="xz")
    wait_final(qtbot, live, lambda: setattr(viewer.scene.camera, "zoom", viewer.scene.camera.zoom * 2))
    assert viewer.dims.range == after
    live.close()
    assert viewer.dims.range == before
