"""Rows of a form beside their labels, and rows that are made when they are first shown."""

import pytest

pytest.importorskip("napari")

from magicgui.widgets import CheckBox, ComboBox, LineEdit, PushButton
from qtpy.QtWidgets import QLabel

from napari_niiv.plugin.common.forms import Form, LateRows, Row, paragraph


def shown(form) -> list[str]:
    """The labels that are seen, from above."""
    labels = [label for label in form.native.findChildren(QLabel) if label.isVisible() and label.text()]
    return [label.text() for label in sorted(labels, key=lambda label: label.mapTo(form.native, label.pos()).y())]


@pytest.fixture
def shown_form(qtbot):
    def show(rows, **options) -> Form:
        form = Form(rows, **options)
        qtbot.addWidget(form.native)
        form.show()
        return form

    return show


def test_a_label_comes_and_goes_with_its_row_and_says_the_same(shown_form):
    name, other = LineEdit(label="Name", tooltip="of the thing"), LineEdit(label="Other", visible=False)
    form = shown_form([name, other, CheckBox(text="a switch")])
    assert shown(form) == ["Name"]
    other.visible = True
    assert shown(form) == ["Name", "Other"]
    name.visible = False
    assert shown(form) == ["Other"]
    name.visible = True
    name.tooltip = "of something else"
    label = next(label for label in form.native.findChildren(QLabel) if label.text() == "Name")
    assert label.toolTip() == "of something else"


def test_a_row_has_one_label_and_offers_anew_what_is_in_it(shown_form):
    offered = ["a"]
    box, button = ComboBox(choices=lambda widget: offered), PushButton(text="…")
    both = Row("Both", box, button)
    form = shown_form([LineEdit(label="Name"), both])
    assert shown(form) == ["Name", "Both"]
    both.visible = False
    assert (shown(form), both.visible, box.visible) == (["Name"], False, False)
    both.visible = True
    assert (shown(form), both.visible, box.visible) == (["Name", "Both"], True, True)
    offered.append("b")
    form.reset_choices()
    assert box.choices == ("a", "b")


def test_rows_that_come_later_can_be_prepared_before_what_is_in_them_is_shown(shown_form):
    use, keep = PushButton(text="Use"), PushButton(text="Keep")
    late = LateRows(lambda: [Row("Answers", use, keep)])
    form = shown_form([LineEdit(label="Name"), late])
    late.prepare()
    use.visible, keep.visible = True, False
    assert shown(form) == ["Name"]
    assert not use.visible
    late.show()
    assert shown(form) == ["Name", "Answers"]
    assert (use.visible, keep.visible) == (True, False)


def test_labels_are_as_wide_as_the_widest_that_may_come(shown_form):
    line, box = LineEdit(label="A"), ComboBox(label="Rather long", choices=["a"])
    late = LineEdit(label="B")
    rows = LateRows(lambda: (late,))
    shown_form([line, box, rows], widest="Rather long")
    rows.show()
    assert line.native.x() == box.native.x() == late.native.x()


def test_rows_are_made_at_their_place_when_they_are_first_shown(shown_form, qtbot):
    made = []

    def make():
        sentence, buttons = paragraph(), Row("", PushButton(text="OK"))
        sentence.value = "so many words that they need more than a line or two in a form that is as narrow as this"
        made.append((sentence, buttons))
        return made[-1]

    rows = LateRows(make)
    above, below = LineEdit(label="Above"), LineEdit(label="Below")
    form = shown_form([above, rows, below])
    form.native.resize(200, 300)
    rows.show(False)
    assert (made, rows.shown) == ([], False)
    rows.show()
    ((sentence, buttons),) = made
    assert sentence.visible
    assert buttons.visible
    qtbot.waitUntil(lambda: sentence.native.height() > 2 * sentence.native.fontMetrics().lineSpacing())
    tops = [part.native.mapTo(form.native, part.native.rect().topLeft()).y() for part in (above, sentence, buttons)]
    assert tops == sorted(tops)
    assert tops[-1] < below.native.mapTo(form.native, below.native.rect().topLeft()).y()
    rows.show(False)
    assert not sentence.native.isVisible()
    rows.show()
    assert len(made) == 1
