"""Groups of a form that fold, in the dock widget."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from magicgui.widgets import CheckBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_niiv.plugin.common import folding
from napari_niiv.plugin.common.folding import FoldingGroup, Scrolled
from napari_niiv.plugin.widget import IsotropicReconstruct


@pytest.fixture(autouse=True)
def _nothing_folded(monkeypatch):
    monkeypatch.setattr(folding, "_open", {})


def test_a_click_folds_the_rows_away(qtbot):
    row = CheckBox(text="a row")
    group = FoldingGroup("Title", [row], "what it is for")
    form = Scrolled([group])
    qtbot.addWidget(form.native)
    form.show()
    assert (row.native.isVisible(), group.header.toolTip()) == (True, "what it is for")
    qtbot.mouseClick(group.header, Qt.MouseButton.LeftButton)
    assert (row.native.isVisible(), group.is_open) == (False, False)
    qtbot.mouseClick(group.header, Qt.MouseButton.LeftButton)
    assert (row.native.isVisible(), group.is_open) == (True, True)


def test_a_hidden_row_stays_hidden_in_a_group_that_opens(qtbot):
    row, hidden = CheckBox(text="a row"), CheckBox(text="another", visible=False)
    group = FoldingGroup("Title", [row, hidden], "", is_open=False)
    form = Scrolled([group])
    qtbot.addWidget(form.native)
    form.show()
    group.is_open = True
    assert (row.native.isVisible(), hidden.native.isVisible()) == (True, False)


def test_groups_open_again_as_they_were_left(dock_viewer, qtbot):
    def groups() -> dict[str, FoldingGroup]:
        widget = IsotropicReconstruct(viewer)
        qtbot.addWidget(widget.native)
        widgets.append(widget)
        return widget.groups

    viewer, widgets = dock_viewer, []
    first = groups()
    assert {title for title, group in first.items() if group.is_open} == {"Volume", "Picture", "Compare"}
    first["Volume"].is_open, first["Trust"].is_open = False, True
    assert {title for title, group in groups().items() if group.is_open} == {"Trust", "Picture", "Compare"}


def test_the_width_does_not_follow_what_is_open_or_said(dock_viewer, qtbot):
    widget = IsotropicReconstruct(dock_viewer)
    qtbot.addWidget(widget.native)
    widget.show()
    area = widget.native.findChild(QScrollArea)
    for group in widget.groups.values():
        group.is_open = False
    QApplication.processEvents()
    narrow, low = widget.native.minimumSizeHint().width(), area.sizeHint().height()
    for group in widget.groups.values():
        group.is_open = True
    widget.denoise.field.reason.value = "a reason " * 30
    widget.denoise.field.reason.visible = True
    widget._status.tell("a sentence " * 40)
    qtbot.waitUntil(lambda: area.sizeHint().height() > low, timeout=5000)
    assert widget.native.minimumSizeHint().width() == narrow
    assert widget.native.minimumSizeHint().height() < 700  # of a window of 1280 × 800
