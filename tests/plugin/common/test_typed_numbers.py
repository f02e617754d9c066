"""Numbers that are typed: what is out of range is said, and nothing is truncated in silence."""

import pytest

pytest.importorskip("napari")

from magicgui.widgets import Container, FloatSlider, FloatSpinBox, SpinBox
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication

from napari_niiv.plugin.common import typed_numbers
from napari_niiv.plugin.common.setting_widgets import setting_widget
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.manifest_names import PLUGIN, TRAINING, WIDGET
from napari_niiv.training.config import TrainingConfig


@pytest.fixture
def typing(qtbot, monkeypatch):
    """Types a text into a widget, and what was said of it."""

    def typing(make, text, key=Qt.Key.Key_Return):
        said, changes = [], []
        monkeypatch.setattr(typed_numbers, "show_warning", said.append)
        widget = make()
        form = Container(widgets=[widget])
        qtbot.addWidget(form.native)
        form.show()
        native = widget.native
        box = native if isinstance(native, QAbstractSpinBox) else native.findChild(QAbstractSpinBox)
        widget.changed.connect(changes.append)
        box.setFocus()
        box.selectAll()
        qtbot.keyClicks(box, text) if text else qtbot.keyClick(box, Qt.Key.Key_Delete)
        if key is not None:
            qtbot.keyClick(box, key)
        return widget, box, said, changes

    return typing


def spin():
    return typed(FloatSpinBox(value=4, min=1, max=16, step=0.1), "anisotropy")


def whole():
    return typed(SpinBox(value=4, min=1, max=16), "anisotropy")


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter])
@pytest.mark.parametrize("text", ["50", "0.5", "-3", "1e9"])
def test_out_of_range_is_said_and_the_old_value_stays(typing, text, key):
    widget, box, said, changes = typing(spin, text, key)
    assert said == [f"The anisotropy must be a number from 1 to 16, not {text}; it stays 4."]
    assert (widget.value, box.text(), changes) == (4, "4.00", [])


@pytest.mark.parametrize("text", ["abc", "1.2.3", "nan"])
def test_what_is_no_number_is_said(typing, text):
    widget, box, said, _ = typing(spin, text)
    assert said == [f"The anisotropy must be a number from 1 to 16, not {text}; it stays 4."]
    assert (widget.value, box.text()) == (4, "4.00")


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("7,5", 7.5), (" 2.125 ", 2.125), ("16", 16), ("", 4)])
def test_what_is_within_is_taken_to_its_last_digit(typing, text, value):
    widget, _, said, changes = typing(spin, text)
    assert widget.value == value
    assert changes == ([] if value == 4 else [value])
    assert said == []


def test_it_is_taken_when_another_field_is_gone_to(typing):
    widget, box, said, _ = typing(spin, "50", None)
    assert said == []
    QApplication.sendEvent(box, QFocusEvent(QEvent.Type.FocusOut))
    assert len(said) == 1
    assert (widget.value, box.text()) == (4, "4.00")


def test_whole_numbers(typing):
    _, _, said, _ = typing(whole, "2.5")
    assert said == ["The anisotropy must be a whole number from 1 to 16, not 2.5; it stays 4."]
    assert typing(whole, "12")[0].value == 12


def test_the_number_beside_a_slider(typing):
    def slider():
        return typed(FloatSlider(value=1, min=0.25, max=4, step=0.05, tooltip="how fine"), "anisotropy")

    widget, box, said, _ = typing(slider, "9")
    assert said == ["The anisotropy must be a number from 0.25 to 4, not 9; it stays 1."]
    assert (widget.value, box.value(), box.toolTip()) == (1, 1, "how fine")
    assert typing(slider, "2.5")[0].value == 2.5


@pytest.mark.parametrize(("text", "value"), [("no limit", 0), ("", 0), ("7", 7)])
def test_a_number_that_may_be_left_open(typing, text, value):
    widget, _, said, _ = typing(lambda: setting_widget(TrainingConfig, "steps", value=3), text)
    assert widget.value == value
    assert said == []


def test_every_number_of_the_docks_is_taken_so(dock_viewer, qtbot, monkeypatch):
    said = []
    monkeypatch.setattr(typed_numbers, "show_warning", said.append)
    viewer = dock_viewer
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    _, training = viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
    boxes = [
        box
        for top in (widget.native, training, widget.export.open())
        for box in top.findChildren(QAbstractSpinBox)
        if not isinstance(box.parent(), QAbstractSpinBox)
    ]
    assert len(boxes) > 10
    for box in boxes:
        before = box.value(), box.text()
        box.lineEdit().selectAll()
        qtbot.keyClicks(box.lineEdit(), "1e12")
        QApplication.sendEvent(box, QFocusEvent(QEvent.Type.FocusOut))
        assert (box.value(), box.text()) == before
        assert "not 1e12; it stays" in said[-1]
    assert len(said) == len(boxes)
    assert "The anisotropy must be a number from 1 to 16, not 1e12; it stays 1." in said
