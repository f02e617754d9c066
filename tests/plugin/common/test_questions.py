"""One question at a time, the most urgent first."""

from functools import partial

import pytest

pytest.importorskip("napari")

from magicgui.widgets import Label, PushButton

from napari_niiv.plugin.common.forms import Form
from napari_niiv.plugin.common.questions import Questions, Urgency


def test_the_most_urgent_alone_is_shown_and_the_next_when_it_is_answered(qtbot):
    rows = {}

    def make(urgency):
        assert urgency not in rows
        rows[urgency] = (Label(value="?"), PushButton(text=urgency.name))
        return rows[urgency]

    questions = Questions()
    asked = {urgency: questions.add(urgency, partial(make, urgency)) for urgency in Urgency}
    form = Form(asked.values())
    qtbot.addWidget(form.native)
    form.show()

    def shown():
        return [urgency for urgency, pair in rows.items() if all(row.native.isVisible() for row in pair)]

    assert shown() == []
    assert rows == {}
    for urgency in reversed(Urgency):  # the least urgent comes up first, and stays till the user opens another
        asked[urgency].ask()
        assert shown() == [urgency if urgency <= Urgency.DATASET else max(Urgency)]
    for urgency, following in zip(Urgency, [*list(Urgency)[1:], None], strict=True):
        assert shown() == [urgency]
        asked[urgency].ask(False)
        assert shown() == ([] if following is None else [following])
    asked[Urgency.CHECKPOINT].ask()
    asked[Urgency.COPY].ask()
    assert shown() == [Urgency.CHECKPOINT]
    asked[Urgency.CHECKPOINT].ask(False)
    assert shown() == [Urgency.COPY]
    asked[Urgency.CHECKPOINT].ask(urgency=Urgency.BY_HAND)
    assert shown() == [Urgency.CHECKPOINT]


def test_of_another_layer_the_most_urgent_is_shown_whichever_is_asked_first(qtbot):
    told = []
    questions = Questions(lambda: told.append(questions.shown.urgency))
    urgent, other = (
        questions.add(urgency, lambda: (Label(value="?"),)) for urgency in (Urgency.FITTED, Urgency.CHECKPOINT)
    )
    other.ask()
    with questions.anew():
        other.ask()
        urgent.ask()
    assert (urgent.shown, other.shown) == (True, False)
    assert told == [Urgency.CHECKPOINT, Urgency.FITTED]
    with questions.anew():
        urgent.ask(False)
    assert other.shown


def test_each_question_that_comes_up_is_told_once(qtbot):
    told = []
    questions = Questions(lambda: told.append(questions.shown.urgency))
    first, second = (
        questions.add(urgency, lambda: (Label(value="?"),)) for urgency in (Urgency.CHANNELS, Urgency.FITTED)
    )
    for _ in range(2):
        first.ask()
        second.ask()
    assert told == [Urgency.CHANNELS]
    first.ask(False)
    assert told == [Urgency.CHANNELS, Urgency.FITTED]
