"""A file that is opened again is offered the checkpoint fitted to it, and what was set for it."""

import datetime

import numpy as np
import pytest
import tifffile

from tests.plugin.controls.conftest import DATA

pytest.importorskip("napari")

from napari_niiv.errors import OutputError
from napari_niiv.io.remembered import Correction, recall, recall_checkpoint, remember, remember_sections, state_folder
from napari_niiv.io.remembered_settings import FileSettings, recall_settings, remember_fit, remember_settings
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.common.layers import FITTED
from napari_niiv.plugin.controls import fitted_offer as module
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET


@pytest.fixture
def checkpoint(tmp_path, interpolating_model):
    path = tmp_path / "brain-niiv.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    return path


@pytest.fixture
def open_again(request, make_bare_viewer, file, qtbot):
    """Opens the file in a viewer of its own, with the dock widget."""

    def open_it():
        napari = "in_napari" in request.fixturenames
        viewer = request.getfixturevalue("lent_viewer") if napari else make_bare_viewer()
        viewer.open(file, plugin="napari")
        widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
        qtbot.waitUntil(lambda: widget.models.loaded is not None, timeout=30_000)
        return widget

    return open_it


def wait_question(qtbot, widget):
    qtbot.waitUntil(lambda: widget.fitted.answers.visible, timeout=20_000)
    return widget.fitted.sentence.value


def settle(qtbot, widget):
    """Wait until what is remembered was looked up, and answered for."""
    done = []
    widget._host.run(lambda: None, done.append)
    qtbot.waitUntil(lambda: bool(done))


def test_the_checkpoint_fitted_to_it_is_offered_and_used(in_napari, open_again, file, checkpoint, qtbot, messages):
    remember_fit(file, checkpoint)
    remember_settings(file, {"denoise": 0.0, "finest": 0.5})
    widget = open_again()
    day = datetime.date.today().isoformat()
    question = wait_question(qtbot, widget)
    assert question == f"Fitted to this volume on {day}: brain-niiv, and you had denoise 0 and output scale 2. Use it?"
    assert (widget.checkpoint.value, widget.live_layers.settings_of(widget.layer.value).denoise) == (
        "em",
        "auto",
    )  # not before it is wanted
    widget.fitted.use.native.click()
    assert not widget.fitted.answers.visible
    qtbot.waitUntil(lambda: widget.models.loaded == (str(checkpoint), "auto"), timeout=20_000)
    assert widget.live_layers.settings_of(widget.layer.value).finest == 0.5
    assert (widget.output_scale.value, widget.match_zoom.value) == (2, False)
    assert widget.live_layers.settings_of(widget.layer.value).denoise == 0
    told = f"brain is restored with {checkpoint.name}, fitted to it on {day} with denoise 0 and output scale 2."
    assert messages.count(told) == 1


def test_not_now_leaves_all_as_it_is_until_it_is_opened_again(open_again, file, checkpoint, qtbot, messages):
    remember_fit(file, checkpoint)
    widget = open_again()
    wait_question(qtbot, widget)
    widget.fitted.later.native.click()
    assert not widget.fitted.answers.visible
    assert widget.checkpoint.value == "em"
    widget.viewer.window.remove_dock_widget(widget.native)
    widget.viewer.layers.clear()
    wait_question(qtbot, open_again())


def test_what_is_set_by_hand_is_remembered_and_offered(open_again, file, qtbot, messages):
    widget = open_again()
    settle(qtbot, widget)
    widget.match_zoom.native.click()
    widget.output_scale.value = 0.5
    for level in (0.01, 0.02, 0.03):  # as a slider that is drawn
        widget.denoise.field.auto.value = False
        widget.denoise.field.slider.value = level
    widget.trust.project.value = True
    set_by_hand = FileSettings(denoise=0.03, finest=2.0, project=True)
    qtbot.waitUntil(lambda: recall_settings(file) == set_by_hand, timeout=5000)
    box = widget.checkpoint.native
    box.setCurrentIndex(box.findText("lm"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: recall_checkpoint(file) == "lm", timeout=20_000)
    widget.viewer.layers.clear()
    again = open_again()
    words = "You had denoise 0.03 and output scale 0.5 and measured averages kept for this volume: use it again?"
    assert wait_question(qtbot, again) == words
    assert not again.trust.project.value
    again.fitted.use.native.click()
    assert again.live_layers.settings_of(again.layer.value).denoise == 0.03
    assert again.denoise.field.slider.value == 0.03
    assert again.trust.project.value


def test_nothing_is_asked_of_a_file_that_nothing_is_known_of_or_that_is_as_it_was(open_again, file, qtbot, messages):
    remember_settings(file, {"denoise": "auto", "finest": 0.0})
    widget = open_again()
    settle(qtbot, widget)
    assert not widget.fitted.answers.visible
    assert not widget.fitted.sentence.visible


@pytest.mark.parametrize("trouble", ["gone", "changed"])
def test_a_checkpoint_that_is_another_by_now_is_told_and_forgotten(
    open_again, file, checkpoint, qtbot, messages, trouble
):
    remember(file, Correction((4.0, 1.0, 1.0), "um"))
    remember_fit(file, checkpoint)
    if trouble == "gone":
        checkpoint.unlink()
    else:
        checkpoint.write_bytes(checkpoint.read_bytes() + b" ")
    widget = open_again()
    qtbot.waitUntil(lambda: any("brain-niiv.safetensors" in m for m in messages), timeout=20_000)
    told = next(m for m in messages if "brain-niiv.safetensors" in m)
    assert told.startswith("The checkpoint fitted to this volume, brain-niiv.safetensors, ")
    assert told.endswith("it is forgotten.")
    assert not widget.fitted.answers.visible
    assert (recall_settings(file).fit, recall_checkpoint(file)) == (None, None)
    assert recall(file) == Correction((4.0, 1.0, 1.0), "um")


def test_a_checkpoint_deleted_while_it_is_offered_is_one_sentence(open_again, file, checkpoint, qtbot, messages):
    remember_fit(file, checkpoint)
    widget = open_again()
    wait_question(qtbot, widget)
    checkpoint.unlink()
    widget.fitted.use.native.click()
    assert f"{checkpoint} is gone since it was offered; all stays as it is." in messages
    assert not any("is restored with" in message for message in messages)
    assert widget.checkpoint.value == "em"


def test_a_damaged_store_and_a_layer_that_goes_ask_nothing(open_again, file, checkpoint, qtbot, messages, monkeypatch):
    remember_fit(file, checkpoint)
    (state_folder() / "volumes.json").write_bytes(b"{ damaged")
    widget = open_again()
    settle(qtbot, widget)
    assert not widget.fitted.answers.visible
    remember_fit(file, checkpoint)
    widget.viewer.open(file, plugin="napari")
    widget.viewer.layers.clear()
    settle(qtbot, widget)
    assert not widget.fitted.answers.visible


def test_a_full_disk_is_told_once_and_what_is_set_is_in_use(open_again, file, qtbot, messages, monkeypatch):
    widget = open_again()
    settle(qtbot, widget)

    def full(*_):
        raise OutputError("That cannot be remembered: the disk is full.")

    monkeypatch.setattr(module, "remember_settings", full)
    for level in (0.01, 0.02, 0.03):
        widget.denoise.field.auto.value = False
        widget.denoise.field.slider.value = level
    qtbot.waitUntil(lambda: any("disk is full" in m for m in messages), timeout=5000)
    assert widget.live_layers.settings_of(widget.layer.value).denoise == 0.03


def test_what_was_fitted_in_this_session_is_in_use_when_the_dock_is_opened(dock_viewer, checkpoint, qtbot, messages):
    viewer = dock_viewer
    viewer.add_image(DATA, scale=(4, 1, 1), name="no file", metadata={FITTED: str(checkpoint)})
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    qtbot.waitUntil(lambda: widget.models.loaded == (str(checkpoint), "auto"), timeout=20_000)
    assert "no file is restored with brain-niiv.safetensors, which was fitted to it." in messages
    viewer.add_image(DATA, scale=(4, 1, 1), name="another")
    widget.layer.value = viewer.layers["another"]
    assert widget.checkpoint.value == "em"  # what was fitted to one is not for another
    widget.layer.value = viewer.layers["no file"]
    assert widget.checkpoint.value == str(checkpoint)


def test_corrections_of_sections_come_back_with_a_word(dock_viewer, tmp_path, qtbot, messages, texture):
    data = (texture((12, 96, 96)) * 200 + 20).astype(np.uint8)
    data[5] = 0
    path = tmp_path / "sections.tif"
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX", "spacing": 4.0, "unit": "um"})
    remember_sections(path, {"bridge": False})
    viewer = dock_viewer
    viewer.open(path, plugin="napari")
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    told = "sections: its sections are treated as you have set it for this file."
    qtbot.waitUntil(lambda: told in messages, timeout=30_000)
    assert not widget.sections.switches["bridge"].value
