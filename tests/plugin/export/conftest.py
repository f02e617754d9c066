"""The export's window, alone or in a viewer's window, with a small model and blocks that the test lets go."""

import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QWidget

from napari_niiv.io.open import open_volume
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.common.layers import layer_data
from napari_niiv.plugin.export import estimate
from napari_niiv.plugin.export import panel as module
from napari_niiv.plugin.export.form import ExportForm
from napari_niiv.plugin.export.panel import ExportPanel
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.reconstruction.restoration import Restoration


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch, request):
    """But where that is what is tested: blocks are counted."""
    monkeypatch.setattr(estimate, "SETTLE_MS", 0 if "measured" in request.fixturenames else 10**8)


@pytest.fixture
def measured():
    """What exports take is found out, at once."""


SHAPE = (13, 37, 45)
SMALL = {"chunk": 16, "shard": 1 << 14, "block": (8, 16)}
"""Blocks of 32 x 16 x 16 samples at 4x, two in a shard."""


@pytest.fixture
def messages(monkeypatch, tmp_path):
    """What the user is told by notifications; files go to the test's folder by default."""
    sentences: list[str] = []
    for name in ("show_error", "show_info", "show_warning"):
        monkeypatch.setattr(module, name, sentences.append)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: tmp_path))
    return sentences


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks and shards, so that there is something to interrupt."""

    real = ExportForm._config
    monkeypatch.setattr(ExportForm, "_config", lambda self, layer: real(self, layer).model_copy(update=SMALL))


class Gate:
    """Blocks that are restored only as long as the test allows."""

    def __init__(self, monkeypatch):
        self.allowed = threading.Semaphore(0)
        gate = self

        class Gated(Restoration):
            def compute(self, source, block, interrupt=None):
                while not gate.allowed.acquire(timeout=0.005):
                    interrupt()
                return super().compute(source, block, interrupt)

        monkeypatch.setattr("napari_niiv.export.work.Restoration", Gated)
        monkeypatch.setattr("napari_niiv.export.engines.local.HEARTBEAT", 0.01)

    def allow(self, blocks=10**6):
        self.allowed.release(blocks)


@pytest.fixture
def gate(monkeypatch, small_blocks):
    return Gate(monkeypatch)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def source(viewer, texture):
    return viewer.add_image(
        (200 * texture(SHAPE)).astype(np.uint8),
        scale=(1.2, 0.3, 0.3),
        translate=(5, -2, 7),
        units=("um",) * 3,
        name="my stack",
    )


@pytest.fixture
def parent(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    return parent


@pytest.fixture
def make_panel(viewer, parent, small_model, qtbot, messages):
    def make():
        live_layers = LiveLayers(viewer)
        live_layers.model = small_model()
        images = lambda: [layer for layer in viewer.layers if isinstance(layer, Image)]  # noqa: E731
        panel = ExportPanel(parent, viewer, live_layers, lambda: images()[0] if images() else None)
        panel.show()
        wait_preview(qtbot, panel)
        return panel

    return make


@pytest.fixture
def panel(source, make_panel):
    return make_panel()


def open_file(viewer, path):
    """As the widget does when a file is dropped on it."""
    data, keywords = layer_data(open_volume(path, voxel_size=(4, 1, 1)))
    viewer.add_image(data, **keywords)


def wait_preview(qtbot, panel):
    qtbot.waitUntil(lambda: panel.preview is not None, timeout=20_000)


def wait_ended(qtbot, panel):
    qtbot.waitUntil(lambda: panel.worker is None and panel.job is not None, timeout=30_000)


def name(panel, text):
    panel.form.output.value = str(text)
    panel.form.output.native.editingFinished.emit()


def wait_target(qtbot, panel, target):
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.target == target, timeout=5000)


def run(qtbot, panel):
    panel.press()
    qtbot.waitUntil(lambda: panel.worker is not None, timeout=5000)
    wait_ended(qtbot, panel)


def shown(panel):
    """Texts of the buttons on display."""
    buttons = (panel.start, panel.anew, panel.discard, panel.cancel, panel.open_result)
    return [button.text() for button in buttons if not button.isHidden()]


def written(path, level=0):
    return zarr.open_array(path / str(level), mode="r")[...]


def begin(qtbot, panel, gate, blocks=4, fraction=0.2):
    """Start, and let some blocks be done: by default a shard of two, and one more."""
    panel.press()
    qtbot.waitUntil(lambda: panel.worker is not None, timeout=5000)
    gate.allow(blocks)
    qtbot.waitUntil(lambda: "voxels/s" in panel.status.text(), timeout=20_000)
    qtbot.waitUntil(lambda: panel._log.fraction > fraction, timeout=20_000)


@pytest.fixture
def window(dock_viewer, messages, texture, monkeypatch, small_model, tmp_path):
    """One with a live layer, a small model, and the export's window open."""
    viewer = dock_viewer
    data = (200 * texture(SHAPE)).astype(np.uint8)
    viewer.add_image(data, scale=(4, 1, 1), name="my stack")
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    path, model = tmp_path / "tiny.safetensors", small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), path)
    widget.select_checkpoint(path)
    return viewer, widget
