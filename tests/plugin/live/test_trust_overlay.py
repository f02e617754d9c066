"""Maps of trust over the live picture."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plugin.conftest import wait_final

pytest.importorskip("napari")

from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.live.trust_appearance import APPEARANCES
from napari_niiv.reconstruction.views.reconstructor import Reconstructor


@pytest.fixture
def viewer(dock_viewer, texture):
    viewer = dock_viewer
    viewer.window.resize(900, 700)
    viewer.add_image(100 * texture((12, 48, 64)), scale=(4, 1, 1), name="tissue", contrast_limits=(0, 100))
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    return viewer


@pytest.fixture
def live(viewer, small_model, qtbot):
    live = LiveReconstruction(viewer, viewer.layers["tissue"], LiveSettings(small_model()))
    wait_final(qtbot, live)
    yield live
    live.close()


def overlay(viewer, kind: str):
    return viewer.layers[f"tissue: {APPEARANCES[kind].layer_name}"]


def shown_of(viewer, layer) -> np.ndarray:
    return np.asarray(layer.data)[:, viewer.dims.current_step[1], :]


def test_a_map_lies_over_its_picture_and_follows_it(in_napari, viewer, live, qtbot) -> None:
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement", "misfit")))
    for step in (viewer.dims.current_step[1], 30):
        if step == 30:
            wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 30), index=30.0)
        response = live.last.response
        again = Reconstructor(live._volume(), live.model).slice(response.request)
        for kind in ("disagreement", "misfit"):
            layer = overlay(viewer, kind)
            assert layer.visible
            assert layer.colorbar.visible
            np.testing.assert_array_equal(layer.affine.affine_matrix, live.layer.affine.affine_matrix)
            np.testing.assert_allclose(shown_of(viewer, layer), again.trust[kind], atol=1e-2)
            assert np.abs(again.trust[kind]).max() > 1


def test_small_values_are_clear_and_large_ones_are_not(viewer, live, qtbot) -> None:
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement", "misfit")))
    alpha = {kind: overlay(viewer, kind).colormap.map(np.linspace(0, 1, 5))[:, 3] for kind in live.trust}
    assert alpha["disagreement"][0] == 0
    assert alpha["disagreement"][-1] > 0.8
    assert alpha["misfit"][2] == 0
    assert min(alpha["misfit"][[0, -1]]) > 0.8


def test_it_goes_with_the_switch_the_layer_or_the_view(in_napari, viewer, live, qtbot) -> None:
    names = [layer.name for layer in viewer.layers]
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement",)))
    wait_final(qtbot, live, lambda: live.change(trust=()))
    assert [layer.name for layer in viewer.layers] == names
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement", "misfit")))
    with qtbot.waitSignal(live.settings_changed):
        viewer.layers.remove(overlay(viewer, "misfit"))
    assert live.settings.trust == ("disagreement",)
    live.close()
    assert [layer.name for layer in viewer.layers] == ["tissue"]


def test_turned_or_hidden_the_map_goes_too(viewer, live, qtbot) -> None:
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement",)))
    live.compare(True)
    assert not overlay(viewer, "disagreement").visible
    live.compare(False)
    assert overlay(viewer, "disagreement").visible
    viewer.dims.ndisplay = 3
    assert not overlay(viewer, "disagreement").visible
    wait_final(qtbot, live, lambda: setattr(viewer.dims, "ndisplay", 2))
    assert overlay(viewer, "disagreement").visible


def test_projected_pictures_average_to_what_was_measured(viewer, live, qtbot) -> None:
    free = live.last.response.image
    wait_final(qtbot, live, lambda: live.change(trust=("misfit",)))
    assert np.abs(live.last.response.trust["misfit"]).max() > 1
    wait_final(qtbot, live, lambda: live.change(project=True), project=True)
    np.testing.assert_allclose(live.last.response.trust["misfit"], 0, atol=1e-2)
    assert np.abs(live.last.response.image - free).max() > 1


def test_the_scale_of_a_map_is_what_is_doubtful(viewer, live, qtbot) -> None:
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement", "misfit")))
    level = live.last.response.doubt.level
    assert overlay(viewer, "disagreement").contrast_limits == pytest.approx([0, 2 * level])
    assert overlay(viewer, "misfit").contrast_limits == pytest.approx([-2 * level, 2 * level])
    overlay(viewer, "misfit").contrast_limits = (-1, 1)
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(1, 30), index=30.0)
    assert overlay(viewer, "misfit").contrast_limits == [-1, 1]  # the user's stays


def test_the_mouse_over_a_map_tells_grey_levels(viewer, live, qtbot) -> None:
    wait_final(qtbot, live, lambda: live.change(trust=("disagreement",)))
    layer, response = overlay(viewer, "disagreement"), live.last.response
    rows, columns = response.request.rows, response.request.columns
    row, column = rows.count // 3, columns.count // 2
    place = (4 * (rows.start + rows.step * row), viewer.dims.point[1], columns.start + columns.step * column)
    told = layer.get_value(place, view_direction=None, dims_displayed=[0, 2], world=True)
    assert told == pytest.approx(response.trust["disagreement"][row, column])


def test_several_share_one_memory(viewer, small_model, texture) -> None:
    viewer.add_image(texture((8, 20, 20)), scale=(4, 1, 1), name="other")
    live_layers = LiveLayers(viewer)
    live_layers.model = small_model()
    views = [live_layers.open(viewer.layers[name]) for name in ("tissue", "other")]
    assert views[0]._memory is views[1]._memory
    live_layers.close_all()
