"""A training starts from the checkpoint in use, and what it made is in use, remembered and offered afterwards."""

import datetime

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QDockWidget

pytest.importorskip("napari")

from napari_niiv.degradation import Average, Gaussian
from napari_niiv.errors import OutputError
from napari_niiv.io.remembered_settings import recall_settings
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.manifest_names import PLUGIN, TRAINING, WIDGET
from napari_niiv.plugin.training import widget as module
from napari_niiv.training import train as core
from napari_niiv.training.events import Finished, Preparing
from tests.plugin.training.test_widget import END, Stub, step, trial, wait_ready

SHAPE = (12, 48, 64)


@pytest.fixture
def stub(monkeypatch):
    stub = Stub()
    monkeypatch.setattr(core, "train", stub.train)
    return stub


@pytest.fixture
def messages(messages, monkeypatch):
    """Those of the training dock too."""
    for name in ("show_error", "show_info"):
        monkeypatch.setattr(module, name, messages.append)
    return messages


@pytest.fixture
def file(tmp_path, texture):
    path = tmp_path / "stack.tif"
    data = (texture(SHAPE) * 1000).astype(np.uint16)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX", "spacing": 4.0, "unit": "um"})
    return path


@pytest.fixture
def viewer(dock_viewer, file):
    dock_viewer.window.resize(1280, 800)
    dock_viewer.open(file, plugin="napari", scale=(4, 1, 1))
    return dock_viewer


def opened(viewer, name):
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def in_use(viewer, qtbot, checkpoint):
    widget = opened(viewer, WIDGET)
    widget.select_checkpoint(checkpoint)
    qtbot.waitUntil(lambda: widget.models.loaded == (str(checkpoint), "auto"), timeout=30_000)
    return widget


def training_of(widget, qtbot):
    widget.train.native.click()
    training = opened(widget.viewer, TRAINING)
    wait_ready(qtbot, training)
    return training


@pytest.fixture
def own(tmp_path, interpolating_model):
    path = tmp_path / "own.safetensors"
    card = Card(architecture=interpolating_model.architecture, degradation=Gaussian(fwhm=1.3))
    save_model(interpolating_model, card, path)
    return path


def test_it_starts_from_the_checkpoint_in_use_with_its_blur(in_napari, viewer, qtbot, messages, own):
    widget = in_use(viewer, qtbot, own)
    training = training_of(widget, qtbot)
    config = training.form.settings().complete()
    assert (config.init, config.degradation) == (str(own), Gaussian(fwhm=1.3))
    assert "what own.safetensors learnt to undo" in training.form.degradation.tooltip
    assert not training.status.isVisible()
    in_use(viewer, qtbot, "lm")
    training = training_of(widget, qtbot)
    config = training.form.settings().complete()
    assert (config.init, config.degradation) == ("lm", Gaussian(fwhm=1.5))
    # a blur chosen by hand stays
    training.form.degradation.value = "average"
    in_use(viewer, qtbot, own)
    config = training_of(widget, qtbot).form.settings().complete()
    assert (config.init, config.degradation) == (str(own), Average())


def test_one_that_cannot_be_trained_on_is_said_and_another_taken(viewer, qtbot, messages):
    widget = in_use(viewer, qtbot, "em-paper")
    training = training_of(widget, qtbot)
    assert training.form.init.value == "em"
    assert training.status.text().startswith("em-paper learnt by DISTS")
    assert training.status.isVisible()
    in_use(viewer, qtbot, "em")
    training = training_of(widget, qtbot)
    qtbot.waitUntil(lambda: not training.status.isVisible(), timeout=5000)


def test_opened_by_the_menu_it_finds_the_checkpoint_in_use_and_follows_until_one_is_chosen(
    in_napari, viewer, qtbot, messages, own
):
    widget = in_use(viewer, qtbot, own)
    training = opened(viewer, TRAINING)
    wait_ready(qtbot, training)
    assert training.form.init.value == str(own)
    docks = {dock.windowTitle(): dock for dock in viewer.window._qt_window.findChildren(QDockWidget)}
    there, here = docks[f"{WIDGET} ({PLUGIN})"], docks[f"{TRAINING} ({PLUGIN})"]
    for name, expected in (("lm", "lm"), ("em", "nothing")):
        there.raise_()
        qtbot.waitUntil(lambda: training.visibleRegion().isEmpty(), timeout=5000)
        if expected == "nothing":
            training.form.init.value = "nothing"
        widget.select_checkpoint(name)
        qtbot.waitUntil(lambda name=name: widget.models.loaded == (name, "auto"), timeout=20_000)
        here.raise_()
        qtbot.waitUntil(lambda: not training.visibleRegion().isEmpty(), timeout=5000)
        wait_ready(qtbot, training)
        assert training.form.init.value == expected


def test_another_layer_is_started_from_its_own_checkpoint(in_napari, viewer, qtbot, messages, own):
    widget = in_use(viewer, qtbot, own)
    training = training_of(widget, qtbot)
    assert training.form.init.value == str(own)
    other = viewer.add_image(np.zeros((8, 40, 40), np.uint8), scale=(4, 1, 1), name="other")
    training.form.layer.value = other
    wait_ready(qtbot, training)
    assert training.form.init.value == "em"  # in use for what nothing was chosen for
    training.form.layer.value = viewer.layers["stack"]
    wait_ready(qtbot, training)
    assert training.form.init.value == str(own)


@pytest.mark.parametrize("closed", [False, True], ids=["beside the other dock", "alone"])
def test_where_its_layer_is_deleted_the_next_is_not_started_from_what_that_had(
    in_napari, viewer, qtbot, messages, own, closed
):
    widget = in_use(viewer, qtbot, own)
    training = training_of(widget, qtbot)
    viewer.add_image(np.zeros((8, 40, 40), np.uint8), scale=(2, 1, 1), name="other")
    training.form.layer.value = viewer.layers["stack"]
    training.curves.show()  # of a training on it
    wait_ready(qtbot, training)
    assert training.form.init.value == str(own)
    if closed:
        viewer.window.remove_dock_widget(widget.native)
    viewer.layers.remove("stack")
    assert training.form.layer.value is viewer.layers["other"]
    wait_ready(qtbot, training)
    assert training.form.init.value == "em"
    assert training.form.settings().config.degradation == Average()
    assert not training.curves.isVisible()


def test_opened_by_the_menu_it_has_the_voxel_size_found(in_napari, viewer, file, qtbot, messages):
    viewer.layers.clear()
    viewer.open(file, plugin="napari")
    assert tuple(viewer.layers[0].scale) == (1, 1, 1)
    training = opened(viewer, TRAINING)
    qtbot.waitUntil(lambda: viewer.layers[0].scale[0] == 4, timeout=20_000)
    wait_ready(qtbot, training)
    assert training.form.settings().volume.anisotropy == 4
    assert not training.visibleRegion().isEmpty()  # it stays in front
    assert f"{WIDGET} ({PLUGIN})" in viewer.window.dock_widgets


def test_both_docks_have_the_whole_column_and_what_a_training_shows_is_in_view(
    in_napari, viewer, stub, qtbot, messages
):
    window = viewer.window._qt_window
    window.resize(1280, 800)
    widget = in_use(viewer, qtbot, "em")
    training = training_of(widget, qtbot)
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(training.parent()) != [], timeout=5000)
    training.form.advanced.value = True
    training.button.click()
    stub.tell(Preparing("Reading", 0.0, 0.0, 300.0), step(10), trial(10, 31.0))
    qtbot.waitUntil(lambda: "better" in training.gain.text(), timeout=10_000)
    assert (window.width(), window.height()) == (1280, 800)
    shown = (training.button, training.progress, training.status, training.gain, training.curves)
    qtbot.waitUntil(lambda: all(w.visibleRegion().boundingRect() == w.rect() for w in shown), timeout=5000)
    assert training.parent().height() > 600
    assert not training.form.native.isVisible()
    assert not training.verticalScrollBar().isVisible()
    stub.tell(END)
    wait_ready(qtbot, training)
    # the form scrolls, what is below it does not
    shown = (training.button, training.status, training.curves)
    qtbot.waitUntil(lambda: all(w.visibleRegion().boundingRect() == w.rect() for w in shown), timeout=20_000)
    assert (window.width(), window.height()) == (1280, 800)


def test_what_it_made_is_in_use_remembered_and_offered_in_a_new_viewer(
    viewer, stub, qtbot, messages, own, file, make_napari_viewer
):
    training = opened(viewer, TRAINING)
    wait_ready(qtbot, training)
    training.button.click()
    viewer.layers["stack"].name = "renamed"
    stub.tell(step(10), trial(10, 31.0, own), Finished(own, 1.0, 10, 9.0), END)
    wait_ready(qtbot, training)
    assert training.form.init.value == str(own)  # the next goes on from there
    widget = opened(viewer, WIDGET)
    qtbot.waitUntil(lambda: widget.models.loaded == (str(own), "auto"), timeout=20_000)
    assert widget.layer.value is viewer.layers["renamed"]
    qtbot.waitUntil(lambda: widget.live is not None and widget.live.model is widget.model, timeout=20_000)
    qtbot.waitUntil(lambda: recall_settings(file).fit is not None, timeout=5000)
    viewer.window.remove_dock_widget(widget.native)  # opened again, it is in use without a question
    widget = opened(viewer, WIDGET)
    qtbot.waitUntil(lambda: widget.models.loaded == (str(own), "auto"), timeout=20_000)
    viewer.close()
    again = make_napari_viewer(show=True)
    again.open(file, plugin="napari", scale=(4, 1, 1))
    widget = opened(again, WIDGET)
    qtbot.waitUntil(lambda: widget.fitted.answers.visible, timeout=20_000)
    day = datetime.date.today().isoformat()
    assert widget.fitted.sentence.value == f"Fitted to this volume on {day}: {own.stem}. Use it?"
    widget.fitted.use.native.click()
    qtbot.waitUntil(lambda: widget.models.loaded == (str(own), "auto"), timeout=20_000)


@pytest.mark.parametrize("why", ["no better", "layer deleted", "disk full"])
def test_only_what_was_learnt_is_remembered_and_what_cannot_be_is_told(
    viewer, stub, qtbot, messages, own, file, monkeypatch, why
):
    training = opened(viewer, TRAINING)
    wait_ready(qtbot, training)

    def full(*_):
        raise OutputError("That cannot be remembered: the disk is full.")

    if why == "disk full":
        monkeypatch.setattr(module, "remember_fit", full)
    training.button.click()
    stub.tell(trial(0 if why == "no better" else 10, 31.0, own))
    qtbot.waitUntil(lambda: "better" in training.gain.text(), timeout=10_000)
    if why == "layer deleted":
        viewer.layers.remove("stack")
        stub.tell(step(11))
    else:
        stub.tell(Finished(own, 1.0, 10, 9.0), END)
    wait_ready(qtbot, training)
    assert str(own) in training.status.text()
    if why == "disk full":
        qtbot.waitUntil(lambda: any("the disk is full" in m for m in messages), timeout=5000)
        assert str(own) in training.status.text()
    elif why == "layer deleted":
        qtbot.waitUntil(lambda: recall_settings(file).fit is not None, timeout=5000)
    else:
        done = []
        training._background.run(lambda: None, done.append)  # begun later, on a thread of its own, too
        qtbot.waitUntil(lambda: bool(done), timeout=5000)
        assert recall_settings(file).fit is None
