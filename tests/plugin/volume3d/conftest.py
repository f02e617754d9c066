"""Ramps in 3-D, without a window."""

import pytest

from tests.plugin.conftest import ramp

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.napari_compat import before_napari
from napari_niiv.plugin.volume3d import volume_view as module
from napari_niiv.plugin.volume3d.volume_view import VolumeView
from napari_niiv.reconstruction import region

SHAPE, SCALE = (12, 32, 40), (4.0, 1.0, 1.0)
SLOPES = (5.0, 1.0, 2.0)
NAME = "ramp (isotropic, 3-D)"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks even of a small volume, and quick refreshes."""
    monkeypatch.setattr(region, "_BLOCK", {"cpu": (6, 16)})
    monkeypatch.setattr(module, "REFRESH_MS", 5)


@pytest.fixture
def viewer(qapp):
    return ViewerModel()


@pytest.fixture
def source(viewer):
    return add_ramp(viewer)


def add_ramp(viewer):
    """A layer that is linear in its voxels, in side view."""
    layer = viewer.add_image(
        ramp(SHAPE, SLOPES), scale=SCALE, translate=(3, 4, 5), name="ramp", contrast_limits=(0, 150)
    )
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    return layer


@pytest.fixture
def opened(viewer, interpolating_model):
    """Opens 3-D views as the widget does, and closes them after the test."""
    views = []

    def open_view(source, **options):
        made = []

        def enter(event=None):
            if viewer.dims.ndisplay == 3 and not made:
                made.append(VolumeView(viewer, source, LiveSettings(interpolating_model), **options))

        first = before_napari(enter)
        viewer.dims.events.ndisplay.connect(first, position="first")
        viewer.dims.ndisplay = 3
        viewer.dims.events.ndisplay.disconnect(first)
        views.extend(made)
        return made[0]

    yield open_view
    for view in views:
        view.close()


def wait_done(qtbot, view, action=lambda: None):
    """Do something and wait for all of the volume."""
    with qtbot.waitSignal(view.progress, timeout=20_000, check_params_cb=lambda p: p.done == p.blocks) as waited:
        action()
    return waited.args[0]
