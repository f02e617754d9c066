"""The dock widget that trains, driven by a training that tells what the tests want, and once by a real one."""

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.degradation import Average, Gaussian, Measured, Skip
from napari_niiv.errors import TrainingError
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import load_model, save_model
from napari_niiv.plugin.common.closing import KEEP, STOP
from napari_niiv.plugin.common.output_names import free_output, interrupted_output
from napari_niiv.plugin.common.words import bytes_of
from napari_niiv.plugin.controls import status as other_module
from napari_niiv.plugin.controls.model_choice import ModelLoader
from napari_niiv.plugin.files.reader import PLUGIN, TRAINING, WIDGET
from napari_niiv.plugin.training import widget as module
from napari_niiv.plugin.training.curves import MOST_POINTS, thinned
from napari_niiv.plugin.training.form import TrainingForm
from napari_niiv.plugin.training.log import TrainingLog, gain_words
from napari_niiv.training import train as core
from napari_niiv.training.config import DEFAULT_MINUTES, TrainingConfig
from napari_niiv.training.events import Finished, Notice, Preparing, TrainingStep, Validation
from napari_niiv.training.state import State, save_state, state_path
from tests.plugin.conftest import click_answer, closing_question

SHAPE = (12, 48, 64)
END = object()


class Stub:
    """A training whose events are put in by the test; `ticking`, it tells something all the time."""

    def __init__(self):
        self.events, self.calls, self.nice = queue.Queue(), [], None
        self.ticking = False
        self.closed = threading.Event()

    def train(self, volumes, config):
        self.calls.append((volumes, config))
        self.closed.clear()
        return self.run()

    def run(self):
        if hasattr(os, "getpriority"):
            self.nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        try:
            while True:
                try:
                    event = self.events.get(timeout=0.01 if self.ticking else 20)
                except queue.Empty:
                    event = Preparing("Ticking", 0.1, 1.0, 9.0)
                if event is END:
                    return
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.closed.set()

    def tell(self, *events):
        for event in events:
            self.events.put(event)


@pytest.fixture
def stub(monkeypatch):
    stub = Stub()
    monkeypatch.setattr(core, "train", stub.train)
    return stub


@pytest.fixture
def messages(monkeypatch, tmp_path):
    """What the user is told by notifications; checkpoints go to the test's folder by default."""
    shown: list[str] = []
    for name in ("show_error", "show_info"):
        monkeypatch.setattr(module, name, shown.append)
        monkeypatch.setattr(other_module, name, shown.append)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: tmp_path))
    return shown


@pytest.fixture
def viewer(dock_viewer, texture):
    dock_viewer.window.resize(1000, 700)
    data = (texture(SHAPE) * 1000).astype(np.uint16)
    dock_viewer.add_image(data, scale=(4, 1, 1), units=("um",) * 3, name="my stack")
    return dock_viewer


@pytest.fixture
def form(qtbot, messages, texture):
    """The form by itself, of a viewer without a window."""
    viewer = ViewerModel()
    data = (texture(SHAPE) * 1000).astype(np.uint16)
    viewer.add_image(data, scale=(4, 1, 1), units=("um",) * 3, name="my stack")
    form = TrainingForm(viewer)
    qtbot.addWidget(form.native)
    form.know(["cpu"], state_path)
    form.show()
    return form


@pytest.fixture
def widget(viewer, messages, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
    wait_ready(qtbot, widget)
    yield widget
    worker = None
    try:
        worker = widget.worker
    finally:
        if worker is not None:
            worker._stop_flag.stop()


def wait_ready(qtbot, widget):
    qtbot.waitUntil(
        lambda: widget.button.isEnabled() and widget.worker is None and widget.button.text() != "Stop",
        timeout=20_000,
    )


def step(n, fraction=0.5, loss=0.03):
    return TrainingStep(2, n, fraction, loss, 30.0, 60.0, 100.0)


def trial(n, model, checkpoint=None):
    return Validation(2, n, 0.5, model, 29.0, 30.0, checkpoint)


def reconstruct(viewer):
    return viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]


def configuration(form):
    return form.settings().complete()


# the form


def test_untouched_it_asks_for_what_the_training_would_do_anyway(form, tmp_path):
    config = configuration(form)
    output = tmp_path / "my-stack-niiv.safetensors"
    assert config == TrainingConfig(output=output, init="em", minutes=DEFAULT_MINUTES)
    volume = form.settings().volume
    assert (volume.name, volume.anisotropy, volume.unit) == ("my stack", 4, "micrometer")
    assert form.device.choices[0] == "auto"
    assert "cpu" in form.device.choices


def test_the_advanced_settings_reach_the_training(form, tmp_path):
    assert not form.steps.visible
    form.advanced.value = True
    assert form.steps.visible
    assert form.output_row.visible
    form.init.value = "nothing"
    form.steps.value, form.batch.value, form.lateral.value, form.seed.value = 100, 4, 64, 7
    form.learning_rate.value, form.device.value, form.minutes.value = "2e-4", "cpu", 0
    form.output.value = str(tmp_path / "other")
    form.output.native.editingFinished.emit()
    assert configuration(form) == TrainingConfig(
        output=tmp_path / "other.safetensors",
        steps=100,
        batch=4,
        lateral=64,
        seed=7,
        learning_rate=2e-4,
        device="cpu",
    )


def test_each_degradation_asks_for_what_it_needs(form):
    own = {"gaussian": form.fwhm, "skip": form.thickness, "measured": form.psf_row}
    for kind in ("average", "gaussian", "skip", "measured"):
        form.degradation.value = kind
        assert [k for k, field in own.items() if field.visible] == ([kind] if kind in own else [])
    assert form.psf_spacing.visible
    form.degradation.value = "average"
    assert configuration(form).degradation == Average()
    form.degradation.value, form.fwhm.value = "gaussian", 1.5
    assert configuration(form).degradation == Gaussian(fwhm=1.5)
    form.degradation.value, form.thickness.value = "skip", 0.4
    assert configuration(form).degradation == Skip(thickness=0.4)


def test_a_measured_psf_comes_from_a_file(form, tmp_path):
    profile = np.array([0, 1, 4, 8, 4, 1, 0], np.float32)
    bead = profile[:, None, None] * np.pad([[1.0]], 2)[None].astype(np.float32)
    path = tmp_path / "bead.tif"
    form.degradation.value = "measured"
    with pytest.raises(TrainingError, match="Choose the TIFF file"):
        configuration(form)
    tifffile.imwrite(path, bead.astype(np.float32))
    form.psf.value = str(path)
    with pytest.raises(TrainingError, match=r"bead\.tif has no z spacing in micrometer"):
        configuration(form)
    form.psf_spacing.value = 0.5
    assert configuration(form).degradation == Measured.of(bead, 0.5, 4.0)
    form.psf_spacing.value = 0
    options = {"axes": "ZYX", "spacing": 0.25, "unit": "um"}
    tifffile.imwrite(path, bead.astype(np.float32), imagej=True, resolution=(10, 10), metadata=options)
    assert configuration(form).degradation == Measured.of(bead, 0.25, 4.0)


def test_dists_asks_for_the_weights_of_vgg16(form, tmp_path):
    assert not form.vgg_row.visible
    form.advanced.value = True
    form.loss.value = "dists"
    assert form.vgg_row.visible
    form.vgg.value = str(tmp_path / "vgg16.pth")
    config = configuration(form)
    assert (config.loss, config.vgg_weights) == ("dists", tmp_path / "vgg16.pth")
    form.loss.value = "mae"
    assert configuration(form).vgg_weights is None


def test_files_are_chosen_by_browsing(form, tmp_path, monkeypatch, interpolating_model):
    mine = tmp_path / "mine.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), mine)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args, **kwargs: (str(mine), ""))
    form.browse_init.changed.emit(True)
    assert configuration(form).init == str(mine)
    form.browse_psf.changed.emit(True)
    form.browse_vgg.changed.emit(True)
    assert form.psf.value == form.vgg.value == str(mine)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args, **kwargs: (str(mine), ""))
    form.browse_output.changed.emit(True)
    assert configuration(form).output == tmp_path / "mine-2.safetensors"  # the file that is there stays


def test_outputs_are_beside_the_layers_file_and_never_replace_one(in_napari, widget, viewer, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    tifffile.imwrite(folder / "cells.tif", np.zeros((5, 20, 20), np.uint8))
    form = widget.form
    viewer.open(folder / "cells.tif", plugin="napari", scale=(4, 1, 1))
    form.layer.value = viewer.layers["cells"]
    first = folder / "cells-niiv.safetensors"
    assert form.chosen_output() == first
    first.touch()
    assert form.chosen_output() == folder / "cells-niiv-2.safetensors"
    state_path(folder / "cells-niiv-2.safetensors").touch()
    assert free_output(first, state_path) == folder / "cells-niiv-3.safetensors"
    assert interrupted_output(first, state_path) == folder / "cells-niiv-2.safetensors"
    viewer.layers.remove("cells")
    assert form.layer.value is viewer.layers["my stack"]
    assert form.chosen_output() == tmp_path / "my-stack-niiv.safetensors"


WRONG = [
    ("minutes", 0, "budget of more than 0 minutes"),
    ("learning_rate", "fast", "'fast' is not a number"),
    ("learning_rate", "7", "The learning rate is 7.0: it should be less"),
    ("lateral", 3, "The patch size is 3: it should be greater"),
    ("init", "/nowhere/mine.safetensors", "There is no checkpoint"),
]


def test_what_cannot_be_is_one_sentence_and_changes_nothing(widget, qtbot, messages, tmp_path):
    form = widget.form
    form.choose_init("/nowhere/mine.safetensors")
    form.init.value = "em"
    for name, wrong, sentence in WRONG:
        field = getattr(form, name)
        right, field.value = field.value, wrong
        messages.clear()
        widget.toggle()
        qtbot.waitUntil(lambda sentence=sentence: sentence in widget.status.text(), timeout=20_000)
        wait_ready(qtbot, widget)
        assert len(messages) == 1
        assert "\n" not in messages[0]
        assert widget.button.text() == "Train on this volume"
        assert form.visible
        assert field.value == wrong
        assert not widget.curves.isVisible()
        field.value = right
        assert not widget.status.isVisible(), name  # it is put right
    widget.viewer.layers.clear()
    widget.toggle()
    assert "Choose a layer" in widget.status.text()
    assert not list(tmp_path.glob("*niiv*"))


@pytest.mark.usefixtures("in_napari")
def test_what_was_refused_for_its_voxel_size_is_no_more_once_that_is_another(widget, qtbot, messages):
    layer = widget.form.layer.value
    layer.scale = (1, 1, 1)
    widget.toggle()
    qtbot.waitUntil(lambda: "isotropic" in widget.status.text(), timeout=20_000)
    wait_ready(qtbot, widget)
    assert widget.status.isVisible()
    layer.scale = (4, 1, 1)
    assert not widget.status.isVisible()


# what a training tells


def test_events_become_progress_words_and_curves(in_napari, widget, stub, qtbot, viewer, tmp_path):
    linux = sys.platform.startswith("linux")
    before = os.getpriority(os.PRIO_PROCESS, 0) if linux else 0
    widget.toggle()
    assert widget.button.text() == "Stop"
    assert not widget.form.visible
    stub.tell(Preparing("Reading slices (50%)", 0.02, 2.0, 298.0))
    qtbot.waitUntil(lambda: "Reading slices (50%)…" in widget.status.text())
    assert "4:58 left" in widget.progress.format()
    if linux:
        assert stub.nice == max(before, 10)
        assert os.getpriority(os.PRIO_PROCESS, 0) == before
    stub.tell(*(step(10 * n, 0.4, 0.05 - 0.001 * n) for n in range(1, 6)), trial(50, 30.82), step(60, 0.5))
    qtbot.waitUntil(lambda: "60 steps" in widget.status.toolTip())
    assert widget.status.text() == "Learning with neighbouring slices (part 2 of 2)"
    assert widget.progress.value() == 500
    assert (
        widget.gain.text()
        == "0.82 dB better than bicubic interpolation on your xy slices, made coarse, that it never saw."
    )
    np.testing.assert_allclose(widget.curves.loss.getData()[0], [10, 20, 30, 40, 50, 60])
    np.testing.assert_allclose(widget.curves.model.getData(), [[50], [30.82]])
    np.testing.assert_allclose(widget.curves.bicubic.getData()[1], 30)
    np.testing.assert_allclose(widget.curves.linear.getData()[1], 29)
    for theme in ("light", "dark"):
        viewer.theme = theme
        assert widget.curves.loss_plot.backgroundBrush().color().name() == module.get_theme(theme).background.as_hex()
    stub.tell(Finished(tmp_path / "x.safetensors", 0.82, 60, 300.0), END)
    wait_ready(qtbot, widget)


def test_it_says_that_one_of_several_channels_is_learnt_from(widget, stub, qtbot, viewer, texture, tmp_path):
    data = (texture((2, *SHAPE)) * 1000).astype(np.uint16)
    viewer.add_image(data, channel_axis=0, scale=(4, 1, 1), name="cells")
    for layer, words in (("cells", "cells, one of 2 channels, from em, to "), ("my stack", "my stack, from em, to ")):
        widget.form.layer.value = viewer.layers[layer]
        wait_ready(qtbot, widget)
        widget.toggle()
        assert widget.summary.text().startswith(words)
        stub.tell(step(10), Finished(tmp_path / "x.safetensors", 0.82, 10, 60.0), END)
        wait_ready(qtbot, widget)


def test_a_notice_is_told(widget, stub, qtbot, messages):
    widget.toggle()
    stub.tell(Notice("Memory ran out; going on with 4 patches in a step."), END)
    wait_ready(qtbot, widget)
    assert messages[0].startswith("Memory ran out")


def test_gains_are_put_honestly():
    assert (
        gain_words(-0.3) == "0.30 dB worse than bicubic interpolation on your xy slices, made coarse, that it never saw"
    )
    assert gain_words(0.001) == "as good as bicubic interpolation on your xy slices, made coarse, that it never saw"
    log = TrainingLog(goes_on=True)
    assert not log.gain_words
    blank = TrainingLog()
    blank.add(Validation(2, 1, 0.5, None, None, None, Path("a")))
    assert blank.gain_words == gain_words(None)
    assert "cannot be told" in gain_words(None)
    first = Path("a")
    log.add(trial(0, 32.0, first))
    assert log.gain_words.startswith("2.00 dB better")
    log.add(trial(10, 31.0))
    assert log.gain_words.startswith("2.00 dB better")  # the best is kept
    assert log.gain_words.endswith("(no better than before this training)")
    assert not log.learnt
    log.add(trial(20, 32.25, first))
    assert log.gain_words.endswith("(+0.25 dB by this training)")
    assert log.learnt


@pytest.mark.parametrize(("quality", "learnt"), [(29.7, False), (30.001, False), (30.2, True)])
def test_what_was_learnt_from_nothing_is_offered_if_it_is_better_than_interpolation(quality, learnt):
    log = TrainingLog()
    log.add(trial(20, quality, Path("a")))
    assert log.learnt is learnt


def test_many_points_are_thinned():
    points = np.stack([np.arange(10_001.0), np.ones(10_001)], axis=1)
    steps, values = thinned(points)
    assert len(steps) <= MOST_POINTS
    assert (steps[0], steps[-1]) == (2.5, 9998)
    np.testing.assert_allclose(values, 1)
    assert len(thinned(points[:0])[0]) == 0


def test_the_live_view_follows_every_checkpoint(in_napari, widget, stub, qtbot, viewer, tmp_path, interpolating_model):
    path = tmp_path / "my-stack-niiv.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    assert len(viewer.window.dock_widgets) == 1
    widget.toggle()
    stub.tell(Preparing("Reading", 0.0, 0.0, 300.0))
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 2)
    live = reconstruct(viewer)
    stub.tell(trial(10, 31.0, path))
    qtbot.waitUntil(lambda: live.models.loaded == (str(path), "auto"), timeout=20_000)
    assert live.checkpoint.value == str(path)
    qtbot.waitUntil(lambda: live.live is not None and live.live.model is live.model, timeout=20_000)
    before = live.model
    stub.tell(trial(20, 31.5, path))
    qtbot.waitUntil(lambda: live.model is not before, timeout=20_000)
    assert live.live.model is live.model
    stub.tell(Finished(path, 1.5, 20, 60.0), END)
    wait_ready(qtbot, widget)
    assert live.checkpoint.value == str(path)


def test_what_is_learnt_from_nothing_is_looked_at_once_it_is_worth_it(
    widget, stub, qtbot, viewer, tmp_path, interpolating_model
):
    path = tmp_path / "mine.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    widget.form.init.value = "nothing"
    widget.toggle()
    stub.tell(Preparing("Reading", 0.0, 0.0, 300.0), trial(10, 25.0, path), step(20))
    qtbot.waitUntil(lambda: "20 steps" in widget.status.toolTip())
    live = reconstruct(viewer)
    assert live.checkpoint.value == "em"
    stub.tell(trial(30, 30.5, path), step(40))
    qtbot.waitUntil(lambda: live.checkpoint.value == str(path))
    stub.tell(Finished(path, 0.5, 40, 60.0), END)
    wait_ready(qtbot, widget)


def test_what_is_no_better_than_what_it_began_with_is_not_used(
    widget, stub, qtbot, viewer, tmp_path, interpolating_model, messages
):
    path = tmp_path / "mine.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    widget.toggle()
    stub.tell(Preparing("Reading", 0.0, 0.0, 300.0), trial(0, 31.0, path), trial(10, 30.9))
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 2)
    live = reconstruct(viewer)
    qtbot.waitUntil(lambda: live.checkpoint.value == str(path))
    stub.tell(Finished(path, 1.0, 10, 60.0), END)
    wait_ready(qtbot, widget)
    assert live.checkpoint.value == "em"
    assert widget.status.text().endswith(
        "(no better than before this training). It is not used: what it began with serves as well."
    )


def test_a_view_that_is_closed_stays_closed_until_the_end(widget, stub, qtbot, viewer, tmp_path, interpolating_model):
    path = tmp_path / "mine.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    widget.toggle()
    stub.tell(Preparing("Reading", 0.0, 0.0, 300.0))
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 2)
    viewer.window.remove_dock_widget(viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[0])
    stub.tell(trial(10, 31.0, path), step(20))
    qtbot.waitUntil(lambda: "20 steps" in widget.status.toolTip())
    assert len(viewer.window.dock_widgets) == 1
    stub.tell(Finished(path, 1.0, 20, 60.0), END)
    wait_ready(qtbot, widget)
    assert reconstruct(viewer).checkpoint.value == str(path)


def test_only_the_newest_of_many_loads_is_done():
    class Later:
        """A background whose work is done when the test says so."""

        def __init__(self):
            self.started = []

        def run(self, work, then, failed):
            self.started.append((then, failed))

    later, loaded, refused = Later(), [], []
    loader = ModelLoader(later.run, lambda *outcome: loaded.append(outcome), lambda *trouble: refused.append(trouble))
    for name in ("first", "second", "third"):
        loader.load((name, "cpu"))
    assert len(later.started) == 1
    later.started[0][0](("model 1", ["cpu"]))
    assert loaded == [(("first", "cpu"), "model 1", ["cpu"])]
    assert len(later.started) == 2
    later.started[1][1]("It is damaged.")
    assert refused == [(("third", "cpu"), "It is damaged.")]
    loader.load(("fourth", "cpu"))
    assert len(later.started) == 3


# how a training ends


def test_the_end_tells_where_the_model_is_and_training_goes_again(widget, stub, qtbot, messages, tmp_path):
    for number in (1, 2):
        widget.toggle()
        stub.tell(step(10), Finished(widget.form.settings().config.output, 0.82, 10, 60.0), END)
        wait_ready(qtbot, widget)
        assert widget.button.text() == "Train on this volume"
        assert widget.form.visible
        assert len(stub.calls) == number
        assert stub.closed.is_set()
        shown = [m for m in messages if "There is no checkpoint" not in m]  # for the live view, at some time
        assert len(shown) == number
        assert "my-stack-niiv.safetensors: 0.82 dB better than bicubic" in shown[-1]
        assert shown[-1] == widget.status.text()


def test_stop_keeps_the_best_checkpoint_and_offers_to_resume(widget, stub, qtbot, messages, tmp_path):
    output = tmp_path / "my-stack-niiv.safetensors"
    widget.toggle()
    stub.tell(trial(10, 30.5, output))
    qtbot.waitUntil(lambda: "0.50 dB better" in widget.gain.text())
    widget.toggle()
    assert widget.button.text() == "Stopping…"
    assert not widget.button.isEnabled()
    output.touch()
    half = State(1, 0.0, 10, 5.0, 30.5, {"best.w": torch.zeros(30, 1000)})
    save_state(half, configuration(widget.form).model_copy(update={"output": output}), ["my stack"])
    size = bytes_of(state_path(output).stat().st_size)
    stub.tell(step(11))
    wait_ready(qtbot, widget)
    assert stub.closed.is_set()
    shown = [m for m in messages if m.startswith("Stopped")]
    assert shown == [
        f"Stopped; the best model so far is saved in {output}: {gain_words(0.5)}. "
        f"It can be resumed: {state_path(output)} ({size}) is kept until it is finished."
    ]
    assert widget.status.text() == shown[0]
    assert widget.button.text() == "Resume training"
    assert configuration(widget.form).resume
    assert configuration(widget.form).output == output
    widget.form.resume.value = False
    assert widget.button.text() == "Train on this volume"
    assert not configuration(widget.form).resume
    assert configuration(widget.form).output == tmp_path / "my-stack-niiv-2.safetensors"
    widget.form.resume.value = True
    widget.toggle()
    stub.tell(Finished(output, 0.6, 30, 60.0), END)
    wait_ready(qtbot, widget)
    assert stub.calls[-1][1].resume


def test_stopped_before_anything_was_learnt(widget, stub, qtbot, messages):
    stub.ticking = True
    widget.toggle()
    qtbot.waitUntil(lambda: "Ticking" in widget.status.text())
    widget.toggle()
    wait_ready(qtbot, widget)
    assert messages == ["Stopped; nothing was learnt yet, so nothing is saved."]
    assert not widget.form.resume.visible


def test_stopped_at_once_it_does_not_offer_to_resume_an_older_one(viewer, widget, stub, qtbot, messages, tmp_path):
    state_path(tmp_path / "my-stack-niiv.safetensors").touch()
    widget.form.update_output()
    widget.toggle()
    stub.tell(Preparing("Ticking", 0.0, 0.0, 60.0))
    qtbot.waitUntil(lambda: "Ticking" in widget.status.text())
    widget.toggle()
    wait_ready(qtbot, widget)
    assert widget.form.resume.visible
    assert widget.form.resume.value is False
    assert widget.button.text() == "Train on this volume"


def test_an_interrupted_training_found_on_disk_is_offered(viewer, qtbot, messages, tmp_path):
    output = tmp_path / "my-stack-niiv.safetensors"
    state_path(output).touch()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
    wait_ready(qtbot, widget)
    assert widget.form.resume.visible
    assert widget.form.chosen_output() == tmp_path / "my-stack-niiv-2.safetensors"  # unless it is accepted
    widget.form.resume.value = True
    assert widget.button.text() == "Resume training"
    assert widget.form.output.value == str(output)
    assert not widget.form.degradation.native.isEnabled()  # it goes on with what it had
    assert widget.form.minutes.native.isEnabled()
    widget.form.resume.value = False
    assert widget.form.degradation.native.isEnabled()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            TrainingError("The volume is too small; use a larger one."),
            "The volume is too small; use a larger one.",
        ),
        (RuntimeError("CUDA error"), "failed unexpectedly (RuntimeError('CUDA error')); please report it."),
        (SystemExit(3), "failed unexpectedly (SystemExit(3)); please report it."),
    ],
    ids=["ours", "a defect", "of a reader"],
)
def test_an_error_is_one_sentence_and_the_widget_lives(
    widget, stub, qtbot, messages, tmp_path, monkeypatch, error, sentence
):
    output = tmp_path / "mine.safetensors"
    for learnt in (False, True):
        messages.clear()
        widget.toggle()
        stub.tell(*([trial(10, 31.0, output)] if learnt else []), error)
        wait_ready(qtbot, widget)
        shown = [m for m in messages if "There is no checkpoint" not in m]  # for the live view
        assert len(shown) == 1
        assert sentence in shown[0]
        assert ("best model so far is saved" in shown[0]) == learnt
        assert widget.status.text() == shown[0]
    widget.toggle()
    stub.tell(Finished(output, 1.0, 10, 9.0), END)
    wait_ready(qtbot, widget)
    assert "The model is saved" in widget.status.text()

    def refuse(volumes, config):
        raise error

    monkeypatch.setattr(core, "train", refuse)
    widget.toggle()
    wait_ready(qtbot, widget)
    assert sentence in widget.status.text()


@pytest.mark.parametrize("what", ["dock", "viewer", "layer"])
def test_what_goes_in_the_middle_ends_the_thread(in_napari, widget, stub, qtbot, viewer, messages, what):
    stub.ticking = True
    widget.toggle()
    qtbot.waitUntil(lambda: "Ticking" in widget.status.text())
    worker = widget.worker
    if what == "dock":
        viewer.window.remove_dock_widget(viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)[0])
    elif what == "viewer":
        viewer.close()
    else:
        viewer.layers.remove("my stack")
    qtbot.waitUntil(lambda: not worker.alive, timeout=5000)
    assert stub.closed.is_set()
    if what == "dock":
        assert messages == [module.CLOSED]
    if what == "layer":
        wait_ready(qtbot, widget)
        assert messages == [
            "The training stopped as its layer 'my stack' was deleted; nothing was learnt yet, so nothing is saved."
        ]


@pytest.mark.parametrize("answer", [KEEP, STOP])
def test_closing_napari_in_the_middle_asks(make_napari_viewer, widget, stub, qtbot, hold_open, messages, answer):
    window = widget.window()
    closings = hold_open(window)
    stub.ticking = True
    qtbot.mouseClick(widget.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Ticking" in widget.status.text())
    worker = widget.worker
    window.close()
    assert closing_question(window).text() == "A training is running."
    click_answer(qtbot, window, answer)
    if answer == KEEP:
        assert (widget.worker, closings.count) == (worker, 0)
        widget.stop()
        wait_ready(qtbot, widget)
    else:
        qtbot.waitUntil(lambda: closings.count == 1, timeout=10_000)
        assert stub.closed.is_set()
        wait_ready(qtbot, widget)
        assert messages[-1].startswith("Stopped; ")


def test_the_program_ends_in_the_middle_of_a_training(tmp_path):
    code = """
import sys, time
from qtpy.QtCore import QCoreApplication, QObject, QTimer
from napari_niiv.plugin.common.event_worker import EventWorker
def events():
    try:
        while True:
            time.sleep(0.02)
            yield "something"
    finally:
        print("closed", flush=True)
app, parent = QCoreApplication([]), QObject()
worker = EventWorker(parent, events, "training")
worker.received.connect(lambda event: app.quit())
worker.begin()
app.exec()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "closed", "")


def test_the_button_of_the_other_widget_opens_it_on_its_layer(viewer, qtbot, messages):
    layer = viewer.layers["my stack"]
    viewer.add_image(np.zeros(SHAPE, np.uint8), scale=(4, 1, 1), name="other")
    live = reconstruct(viewer)
    live.layer.value = layer
    live.train.changed.emit(True)
    training = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)[1]
    assert isinstance(training, module.TrainOnVolume)
    assert training.form.layer.value is layer
    wait_ready(qtbot, training)


def test_a_real_training(widget, qtbot, viewer, tmp_path, messages, texture):
    """A few steps from nothing: too few to be used."""
    form = widget.form
    viewer.layers["my stack"].data = (texture((8, 132, 136)) * 1000).astype(np.uint16)
    form.init.value = "nothing"
    form.minutes.value, form.steps.value = 0, 4
    form.lateral.value, form.batch.value, form.device.value = 32, 2, "cpu"
    live = reconstruct(viewer)
    live.show_side("xz")
    qtbot.waitUntil(lambda: "refined" in live.status.value, timeout=30_000)
    widget.toggle()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=60_000)
    output = tmp_path / "my-stack-niiv.safetensors"
    assert f"The model is saved in {output}" in widget.status.text()
    assert "It is not used: train for longer." in widget.status.text()
    assert len(widget.curves.model.getData()[0]) >= 1
    assert live.checkpoint.value == "em"
    assert load_model(str(output), "cpu").card.training_volumes[0].name == "my stack"
    assert not state_path(output).exists()
