"""What layers leave free is given back once for all that go at once."""

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.common import freed_memory
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.volume3d.volume_views import VolumeViews


def test_memory_is_given_back_once_off_the_gui_thread(qtbot, monkeypatch):
    threads = []
    monkeypatch.setattr(freed_memory, "trim", lambda: threads.append(threading.current_thread()))
    monkeypatch.setattr(freed_memory, "_SETTLED_MS", 0)
    viewer = ViewerModel()
    views = VolumeViews(viewer, LiveLayers(viewer))
    for _ in range(3):
        viewer.add_image(np.zeros((4, 4)))
    viewer.layers.clear()
    qtbot.waitUntil(lambda: bool(threads))
    views.close()
    qtbot.waitUntil(lambda: len(threads) == 2)
    assert threading.main_thread() not in threads
