"""A checkpoint that does not suit a volume is said to, and a better one offered; the answer is remembered."""

import threading

import numpy as np
import pytest
import tifffile

from tests.plugin.controls.conftest import DATA

pytest.importorskip("napari")

from napari_niiv.errors import VolumeError
from napari_niiv.evaluation import suitability as core
from napari_niiv.evaluation.suitability import Suitability, Verdict
from napari_niiv.io.remembered import Correction, recall, recall_checkpoint, remember, remember_checkpoint
from napari_niiv.io.remembered_settings import remember_fit
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET


@pytest.fixture
def tried(monkeypatch):
    """What was tried; `em` is 0.1 dB worse than cubic interpolation on every volume, `lm` 2.4 dB better."""
    gains, names = {"em": -0.1, "lm": 2.4}, []

    def verdict(volume, name, model):
        assert threading.current_thread() is not threading.main_thread()
        assert volume.shape == DATA.shape
        names.append(name)
        best = "lm" if gains["lm"] > gains[name] else name
        return Verdict(Suitability(name, gains[name]), Suitability(best, gains[best]))

    monkeypatch.setattr(core, "verdict", verdict)
    return names, gains


@pytest.fixture
def opened(dock_viewer, file):
    viewer = dock_viewer
    viewer.open(file, plugin="napari")
    return viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]


def wait_offer(qtbot, widget):
    qtbot.waitUntil(lambda: bool(widget.suitability.sentence.value), timeout=30_000)
    return widget.suitability


@pytest.mark.parametrize("answer", ["use", "keep"])
def test_a_better_checkpoint_is_offered_and_the_answer_remembered(
    in_napari, opened, file, qtbot, messages, untried, tried, answer
):
    offer = wait_offer(qtbot, opened)
    assert offer.sentence.value.startswith("lm suits this volume better than em")
    assert (offer.use.text, offer.keep.text) == ("Use lm", "Keep em")
    assert offer.use.visible
    getattr(offer, answer).changed.emit(True)
    chosen = "lm" if answer == "use" else "em"
    assert opened.checkpoint.value == chosen
    assert not offer.sentence.visible
    assert not offer.answers.visible
    qtbot.waitUntil(lambda: recall_checkpoint(file) == chosen, timeout=5000)
    # another picture does not bring it back
    with qtbot.waitSignal(opened.live.shown, timeout=30_000):
        opened.show_side("yz")
    assert not offer.sentence.visible
    assert tried[0] == ["em"]
    assert all("taken from the file" in m for m in messages)


def test_what_was_chosen_for_the_file_before_is_offered_without_a_trial(
    dock_viewer, file, qtbot, messages, untried, tried
):
    remember_checkpoint(file, "lm")
    viewer = dock_viewer
    viewer.open(file, plugin="napari")
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    offer = wait_offer(qtbot, widget)
    assert offer.sentence.value == "You chose lm for this volume before."
    offer.use.changed.emit(True)
    qtbot.waitUntil(lambda: widget.models.loaded == ("lm", "auto"), timeout=20_000)
    assert not tried[0]


@pytest.fixture
def fitted(file, tmp_path, interpolating_model):
    """A checkpoint that was fitted to the file."""
    path = tmp_path / "brain-niiv.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    remember_fit(file, path)
    return path


def test_where_what_was_fitted_is_not_wanted_a_better_one_is_offered_all_the_same(
    fitted, opened, qtbot, messages, untried, tried
):
    widget = opened
    qtbot.waitUntil(lambda: widget.fitted.answers.visible, timeout=30_000)
    qtbot.waitUntil(lambda: tried[0] == ["em"], timeout=30_000)
    widget.fitted.later.native.click()
    offer = wait_offer(qtbot, widget)
    qtbot.waitUntil(lambda: offer.answers.visible, timeout=30_000)
    assert offer.sentence.value.startswith("lm suits this volume better than em")


def test_what_was_fitted_comes_first_when_the_layer_is_chosen_again(fitted, opened, qtbot, messages, untried, tried):
    """It was not answered for; a better one than that in use may be worse than what was fitted."""
    widget, brain = opened, opened.layer.value
    qtbot.waitUntil(lambda: widget.fitted.answers.visible, timeout=30_000)
    wait_offer(qtbot, widget)
    other = widget.viewer.add_image(DATA, scale=(4, 1, 1), name="other")
    widget.layer.value = other
    assert not widget.fitted.answers.visible
    widget.layer.value = brain
    assert widget.fitted.answers.visible
    assert not widget.suitability.answers.visible


def test_a_better_checkpoint_is_offered_in_3d_too(in_napari, dock_viewer, file, qtbot, messages, untried, tried):
    dock_viewer.dims.ndisplay = 3
    dock_viewer.open(file, plugin="napari")
    widget = dock_viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    offer = wait_offer(qtbot, widget)
    assert offer.sentence.value.startswith("lm suits this volume better than em")
    assert dock_viewer.dims.ndisplay == 3


def test_one_that_suits_is_not_spoken_of(opened, qtbot, messages, untried, tried):
    tried[1]["em"] = 3.0
    qtbot.waitUntil(lambda: tried[0] == ["em"], timeout=30_000)
    assert not opened.suitability.sentence.value
    assert not opened.suitability.sentence.visible


def test_where_none_suits_it_is_said_and_only_keeping_can_be_answered(opened, qtbot, messages, untried, tried):
    tried[1]["lm"] = -0.5
    offer = wait_offer(qtbot, opened)
    assert "hardly suits" in offer.sentence.value
    assert not offer.use.visible


def test_choosing_another_checkpoint_withdraws_the_offer(opened, qtbot, messages, untried, tried):
    offer = wait_offer(qtbot, opened)
    opened.checkpoint.value = "lm"
    assert not offer.sentence.visible
    assert not offer.answers.visible


def test_what_cannot_be_tried_is_let_be(opened, qtbot, messages, untried, monkeypatch):
    asked = threading.Event()

    def verdict(*_):
        asked.set()
        raise VolumeError("There is nothing to judge by.")

    monkeypatch.setattr(core, "verdict", verdict)
    qtbot.waitUntil(asked.is_set, timeout=30_000)
    assert not opened.suitability.sentence.value
    assert all("taken from the file" in m for m in messages)


def test_corrections_and_checkpoints_of_a_file_are_kept_side_by_side(file):
    remember_checkpoint(file, "lm")
    correction = Correction((4.0, 1.0, 1.0), "micrometer", "zyx")
    remember(file, correction)
    assert recall_checkpoint(file) == "lm"
    remember_checkpoint(file, "em")
    assert recall(file) == correction
    assert recall_checkpoint(file) == "em"
    tifffile.imwrite(file, np.zeros((6, 4, 5), np.uint8))  # another file of that name
    assert recall_checkpoint(file) is None
    remember_checkpoint(file, "lm")
    assert recall(file) == Correction()
