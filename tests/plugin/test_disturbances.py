"""Layers renamed, reordered, linked or deleted, another theme or viewer, a dock closed and opened again: at any time.

Each state of the plugin meets each disturbance in a real window, which all of them share; what is opened in it is
closed after each.
"""

import errno
import gc
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

import napari
from napari.experimental import link_layers, unlink_layers
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QDockWidget

from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import load_model, save_model
from napari_niiv.plugin.common.docks import opened
from napari_niiv.plugin.common.layers import COVER, LIVE
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.export import estimate
from napari_niiv.plugin.export.form import ExportForm
from napari_niiv.plugin.manifest_names import TRAINING, WIDGET
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.training import train as training
from napari_niiv.training.events import Finished, Preparing, Validation
from napari_niiv.volume import Volume
from tests.plugin.export.conftest import SMALL, Gate, begin, name, wait_ended, wait_preview, wait_target
from tests.plugin.training.test_widget import END, Stub

SHAPE = (13, 37, 45)
VALUES = ramp(SHAPE, (5.0, 1.0, 2.0)).astype(np.uint8)


class User:
    """A window with the widget and a volume, another window, and what a user does in them."""

    def __init__(self, viewer, other, qtbot):
        self.viewer, self.other, self.qtbot = viewer, other, qtbot
        self.as_before = False  # whether the next test can go on with what there is
        self.widget = opened(viewer, WIDGET) or self.open(WIDGET)
        sources = [layer for layer in viewer.layers if LIVE not in layer.metadata]
        self.source = sources[0] if sources else self.add("stack")

    def add(self, name):
        """Open a volume."""
        return self.viewer.add_image(VALUES, scale=(4, 1, 1), name=name)

    def open(self, name, viewer=None):
        """Choose a dock widget in napari's menu."""
        viewer = viewer or self.viewer
        window = viewer.window._qt_window
        QApplication.sendEvent(window, QEvent(QEvent.Type.WindowActivate))  # napari's actions are the active window's
        next(action for action in _entries(window.menuBar()) if name in action.text()).trigger()
        return opened(viewer, name)

    def close(self, name, viewer=None):
        """Close a dock by its cross."""
        for dock in (viewer or self.viewer).window._qt_window.findChildren(QDockWidget):
            if name in dock.windowTitle():
                dock.destroyOnClose()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def leave(self):
        """Take all away that was opened."""
        for viewer in (self.viewer, self.other):
            for dock in (TRAINING, WIDGET):
                self.close(dock, viewer)
            assert not [layer for layer in viewer.layers if {LIVE, COVER} & set(layer.metadata)]
            viewer.layers.clear()
            viewer.dims.ndisplay = 2
        self.wait(lambda: not _threads())

    def wait(self, until):
        self.qtbot.waitUntil(until, timeout=20_000)

    def refined(self):
        """Wait for the best picture of the next slice, or the volume."""
        self.wait(lambda: self.widget.live is not None)
        if self.viewer.dims.ndisplay == 3:
            self.wait(lambda: "3-D" in self.widget.status.value and "refined" in self.widget.status.value)
            return
        axis = self.viewer.dims.order[0]
        index = (self.viewer.dims.current_step[axis] + 1) % SHAPE[axis]
        wait_final(self.qtbot, self.widget.live, lambda: self.viewer.dims.set_current_step(axis, index))

    @property
    def live(self):
        """Layers of the plugin that show something."""
        return [layer for layer in self.viewer.layers if LIVE in layer.metadata]


def _entries(menu):
    for action in menu.actions():
        if (below := action.menu()) is None:
            yield action
        elif menu.parent() is None or "Plugins" in action.text() or "Plugins" in getattr(menu, "title", str)():
            below.aboutToShow.emit()
            yield from _entries(below)


def _threads():
    return Counter(thread.name for thread in threading.enumerate() if thread.name.startswith("napari-niiv"))


@pytest.fixture(scope="module")
def windows():
    """Two windows of napari, for all of these tests."""
    viewers = [napari.Viewer(show=True) for _ in range(2)]
    for viewer in viewers:
        viewer.window.resize(760, 520)
    gc.collect()
    gc.freeze()  # napari collects garbage whenever a layer goes
    yield viewers
    gc.unfreeze()
    for viewer in viewers:
        viewer.close()
    viewers.clear()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, small_model):
    """A small model in a file."""
    path = tmp_path_factory.mktemp("checkpoints") / "small.safetensors"
    model = small_model()
    save_model(model, Card(name="small", architecture=model.architecture), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_model(checkpoint, "cpu")


@pytest.fixture
def user(windows, model, qtbot, monkeypatch, tmp_path):
    """Who has the widget open; what a test leaves as it was serves the next."""
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setattr(
        ModelChoice,
        "load",
        lambda self, value=None: self._host.run(lambda: model, lambda model: self._adopt(model, None)),
    )
    monkeypatch.setattr(estimate, "SETTLE_MS", 10**8)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: tmp_path))
    notification_manager.records.clear()
    user = User(*windows, qtbot)
    yield user
    if not user.as_before:
        user.leave()
    assert not raised
    assert not [note for note in notification_manager.records if note.severity.value == "error"]


# disturbances


def rename(user):
    user.source.name = "another name"
    assert user.widget.layer.value is user.source


def reorder(user):
    user.viewer.layers.reverse()


def link(user):
    layers = list(user.viewer.layers)
    link_layers(layers)
    user.source.gamma = 0.8
    user.source.opacity = 0.9
    unlink_layers(layers)


def delete_live(user):
    in_3d = user.widget.volume_views.get(user.source)
    user.viewer.layers.remove(user.widget.live.layer if in_3d is None else in_3d.layer)


def delete_source(user):
    user.viewer.layers.remove(user.source)


def theme(user):
    for each in ("light", "dark"):
        user.viewer.theme = each


def reopen(user):
    user.close(WIDGET)
    assert not user.live
    user.widget = user.open(WIDGET)


def second_viewer(user):
    user.other.layers.clear()
    user.other.add_image(VALUES[::-1], scale=(3, 1, 1), name="stack")
    widget = user.open(WIDGET, user.other)
    widget.show_side("yz")
    user.wait(lambda: widget.live is not None)
    wait_final(user.qtbot, widget.live, lambda: user.other.dims.set_current_step(2, 7))


DISTURBANCES = [rename, reorder, link, delete_live, delete_source, theme, reopen, second_viewer]
disturbed = pytest.mark.parametrize("disturb", DISTURBANCES, ids=[each.__name__ for each in DISTURBANCES])


# states: each is gone into, if it is not the one of now


def side(user):
    if user.viewer.dims.ndisplay == 3 or user.widget.ortho is not None or user.widget.trust.disagreement.value:
        user.viewer.dims.ndisplay = 2
        user.widget.show_ortho(False)
        user.widget.trust.disagreement.value = False
    user.widget.show_side("xz")
    user.refined()


def trust(user):
    if not user.widget.trust.disagreement.value:
        side(user)
        user.widget.trust.disagreement.value = True
    user.wait(lambda: len(user.live) == 2)


def ortho(user):
    if user.widget.ortho is None:
        side(user)
        user.widget.ortho_button.native.click()
    for panel in user.widget.ortho.panels:
        user.wait(lambda panel=panel: all(live.last is not None and live.last.final for live in panel.lives))


def volume(user):
    if user.viewer.dims.ndisplay == 2:
        side(user)
        user.viewer.dims.ndisplay = 3
    user.refined()


STATES = [side, trust, ortho, volume]


@disturbed
@pytest.mark.parametrize("state", STATES, ids=[each.__name__ for each in STATES])
def test_views(user, state, disturb):
    state(user)
    disturb(user)
    works_again(user, state, disturb)


def works_again(user, state, disturb):
    """What a user sees and does after a disturbance of a view."""
    widget = user.widget
    if disturb is delete_source:
        user.wait(lambda: not user.live)
        assert widget.status.value == "Choose a layer, or drop a volume here."
        user.source = user.add("the next")
    elif disturb is delete_live and state is volume:
        user.wait(lambda: widget.volume_views.get(user.source) is None)
        user.viewer.dims.ndisplay = 2
    elif disturb is delete_live:
        user.wait(lambda: not widget.on.value)
        assert widget.status.value == "Off."
        assert not user.live
        widget.on.value = True
    state(user)
    user.refined()
    assert {live.source for live in widget.live_layers} == {user.source} == {layer.source_layer for layer in user.live}
    if disturb is second_viewer:
        user.close(WIDGET, user.other)
        assert len(user.other.layers) == 1
    user.as_before = True


# work that goes on meanwhile


@pytest.fixture(scope="module")
def expected(model):
    """What an export writes."""
    return reconstruct(Volume(VALUES, "zyx", (4, 1, 1)), model, block=SMALL["block"]).array.compute()


@disturbed
def test_an_export_goes_on_or_is_resumed(user, disturb, monkeypatch, tmp_path, expected):
    config = ExportForm._config
    monkeypatch.setattr(ExportForm, "_config", lambda form, layer: config(form, layer).model_copy(update=SMALL))
    gate = Gate(monkeypatch)
    side(user)
    target = tmp_path / "whole.zarr"
    panel = open_export(user, target)
    begin(user.qtbot, panel, gate)
    worker = panel.worker
    disturb(user)
    if disturb is reopen:
        user.wait(lambda: not worker.alive)
        assert not target.exists()
        side(user)
        panel = open_export(user, target)
        assert panel.start.text() == "Resume"
        panel.press()
        user.wait(lambda: panel.worker is not None)
    gate.allow()
    wait_ended(user.qtbot, panel)
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[...], expected)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert [words for words in told() if words.startswith(("Saved", "Stopped"))] == [panel.status.text()]
    panel.close()
    works_again(user, side, disturb)


def open_export(user, target):
    user.widget.export.button.native.click()
    panel = user.widget.export.panel
    wait_preview(user.qtbot, panel)
    name(panel, target)
    wait_target(user.qtbot, panel, target)
    return panel


def told():
    """The sentences of notifications."""
    return [str(note.message) for note in notification_manager.records]


@disturbed
def test_a_training_goes_on_or_ends_with_a_sentence(user, disturb, monkeypatch, tmp_path, model):
    stub = Stub()
    stub.ticking = disturb in (delete_source, reopen)  # it is stopped
    monkeypatch.setattr(training, "train", stub.train)
    side(user)
    dock = user.open(TRAINING)
    user.wait(dock.button.isEnabled)
    dock.button.click()
    stub.tell(Preparing("Reading", 0.0, 0.0, 300.0))
    user.wait(lambda: bool(dock.log.words))
    if disturb is reopen:
        user.close(TRAINING)
        user.wait(stub.closed.is_set)
        dock = user.open(TRAINING)
        user.wait(dock.button.isEnabled)
        dock.button.click()
    else:
        disturb(user)
    path = tmp_path / "stack-niiv.safetensors"
    if disturb is delete_source:
        user.wait(lambda: dock.worker is None)
        assert dock.status.text() == told()[-1]
        assert dock.status.text().startswith(f"The training stopped as its layer {user.source.name!r} was deleted; ")
        assert not list(tmp_path.iterdir())
    else:
        save_model(model, Card(architecture=model.architecture), path)
        stub.tell(Validation(2, 10, 0.5, 31.0, 29.0, 30.0, path), Finished(path, 1.0, 10, 60.0), END)
        user.wait(lambda: dock.worker is None)
        assert dock.status.text() == told()[-1]
        assert dock.status.text().startswith(f"The model is saved in {path}: 1.00 dB better")
        assert user.widget.checkpoint.value == str(path)
    user.close(TRAINING)
    works_again(user, side, disturb)
    user.widget.select_checkpoint("em")


# a full disk (of exports: tests/plugin/export/test_panel.py; of copies: tests/plugin/files/test_copy_offer.py)


@pytest.fixture
def full_disk(monkeypatch):
    """Nothing can be written, as long as the test wants."""

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        patch.setattr(Path, "write_text", refuse)
        yield patch


def errors():
    """The sentences of errors, which are told once."""
    told = [str(note.message) for note in notification_manager.records if note.severity.value == "error"]
    notification_manager.records.clear()
    return told


def test_a_voxel_size_that_cannot_be_remembered_is_in_use(user, full_disk, tmp_path):
    path = tmp_path / "no_voxel_size.tif"
    tifffile.imwrite(path, VALUES)
    user.viewer.layers.clear()
    user.widget.open_file(path)
    form = user.widget.spacings.form
    user.wait(form.question.native.isVisible)
    form.sizes["z"].value = "3"
    form.apply.native.click()
    user.refined()
    user.wait(lambda: any("cannot be remembered" in sentence for sentence in told()))
    (sentence,) = errors()
    assert "cannot be written (No space left on device)" in sentence
    assert user.widget.live.source.scale[0] == 3
    assert os.listdir(tmp_path) == [path.name]


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(user, full_disk, monkeypatch, tmp_path, model):
    def train(volumes, config):
        yield Preparing("Reading", 0.0, 0.0, 300.0)
        save_model(model, Card(architecture=model.architecture), config.output)
        yield Finished(config.output, 1.0, 10, 60.0)

    monkeypatch.setattr(training, "train", train)
    dock = user.open(TRAINING)
    for _ in range(2):
        user.wait(dock.button.isEnabled)
        dock.button.click()
        user.wait(lambda: dock.worker is None)
        if not errors():
            break
        assert dock.status.text().endswith("stack-niiv.safetensors (No space left on device); choose another folder.")
        assert not os.listdir(tmp_path)
        full_disk.undo()
    assert dock.status.text().startswith("The model is saved in ")
    assert os.listdir(tmp_path) == ["stack-niiv.safetensors"]


def test_nothing_is_left(user):
    """Of all these tests."""
    user.leave()
