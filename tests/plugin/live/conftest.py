from __future__ import annotations

import pytest

from tests.plugin.conftest import wait_final

pytest.importorskip("napari")

from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings


@pytest.fixture
def begin(interpolating_model, qtbot):
    begun = []

    def begin(viewer, layer):
        live = LiveReconstruction(viewer, layer, LiveSettings(interpolating_model))
        wait_final(qtbot, live)
        begun.append(live)
        return live

    yield begin
    for live in begun:
        live.close()
