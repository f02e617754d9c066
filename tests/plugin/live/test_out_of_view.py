"""A view in which nothing of the source lies."""

import pytest

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel


@pytest.fixture
def viewer(qapp):
    viewer = ViewerModel()
    viewer.canvas.size = (200, 300)
    viewer.add_image(ramp((40, 16, 16), (1.0, 1.0, 1.0)), scale=(4, 1, 1), name="deep")
    viewer.add_image(ramp((8, 16, 16), (1.0, 1.0, 1.0)), scale=(4, 1, 1), name="ramp")
    viewer.dims.point = (12, 8, 8)
    viewer.reset_view()
    return viewer


def test_it_is_said_that_nothing_of_it_is_in_view_until_something_is(viewer, live, qtbot):
    with qtbot.waitSignal(live.waiting, timeout=5000) as said:
        viewer.dims.set_current_step(0, 30)
    assert said.args == ["Nothing of ramp is in this view; press xy, xz or yz to go to it."]
    assert not live.layer.visible
    wait_final(qtbot, live, lambda: viewer.dims.set_current_step(0, 5), index=5.0)
    assert live.layer.visible
