"""What is asked in a form: one question at a time, the most urgent first, and none that changes under the mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from magicgui.widgets.bases import Widget

from napari_niiv.plugin.common.forms import LateRows, Row


class Urgency(IntEnum):
    """The order of questions, for each follows from the answers to those before it."""

    BY_HAND = 0
    """What the user has opened."""
    DATASET = 1
    """Which image of a file is meant."""
    VOXEL_SIZE = 2
    """What the voxel size and axes of a layer are."""
    CHANNELS = 3
    """Whether channels that a slider goes through are to be shown together."""
    COPY = 4
    """Whether a file that reads slowly is to be copied."""
    FITTED = 5
    """Whether what was fitted to the file, or set for it, is to be used again."""
    CHECKPOINT = 6
    """Whether a checkpoint that suits the volume better is to be used."""
    SECTIONS = 7
    """What is to be done about damaged sections."""


class Question(LateRows):
    """Rows of a form that ask something, made when that is asked; `Questions.add` makes it.

    Parameters
    ----------
    questions : Questions
        Which of them is shown.
    urgency : Urgency
    make : callable
        Gives the rows.

    Attributes
    ----------
    waiting : bool
        Whether it is asked, shown or behind a more urgent one.
    """

    def __init__(self, questions: Questions, urgency: Urgency, make: Callable[[], Sequence[Widget | Row]]) -> None:
        super().__init__(make)
        self._questions, self.urgency, self.waiting = questions, urgency, False

    def ask(self, waiting: bool = True, urgency: Urgency | None = None) -> None:
        """Ask, or withdraw the question; it appears when no other is more urgent."""
        self.waiting = waiting
        if urgency is not None:
            self.urgency = urgency
        self._questions.show_first()


class Questions:
    """The questions of a form, of which at most one is shown.

    Parameters
    ----------
    asked : callable, optional
        Called when one is shown.
    """

    def __init__(self, asked: Callable[[], None] = lambda: None) -> None:
        self._asked = asked
        self._all: list[Question] = []
        self._held = False

    @contextmanager
    def anew(self) -> Iterator[None]:
        """While another layer is attended to; the most urgent of its questions is shown, whichever is asked first."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._show(self._most_urgent)

    def add(self, urgency: Urgency, make: Callable[[], Sequence[Widget | Row]]) -> Question:
        """What is to be put into the form where something may be asked.

        Parameters
        ----------
        urgency : Urgency
        make : callable
            Gives the rows that ask, when that is asked for the first time.
        """
        question = Question(self, urgency, make)
        self._all.append(question)
        return question

    @property
    def shown(self) -> Question | None:
        """The question that is asked now: once it is, it stays, but for what the user has opened since."""
        first = self._most_urgent
        if first is None or first.urgency <= Urgency.DATASET:
            return first
        return next((question for question in self._all if question.waiting and question.shown), first)

    def show_first(self) -> None:
        """Show the most urgent question that waits, and no other."""
        if not self._held:
            self._show(self.shown)

    @property
    def _most_urgent(self) -> Question | None:
        waiting = [question for question in self._all if question.waiting]
        return min(waiting, key=lambda question: question.urgency, default=None)

    def _show(self, chosen: Question | None) -> None:
        for question in self._all:
            if question is not chosen:
                question.show(False)
        if chosen is not None:
            new = not chosen.shown
            chosen.show(True)
            if new:
                self._asked()
