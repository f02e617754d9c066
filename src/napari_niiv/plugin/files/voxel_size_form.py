"""The form in which the user says what a file does not: voxel size and axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from magicgui.widgets import ComboBox, Label, LineEdit, PushButton
from qtpy.QtWidgets import QSizePolicy

from napari_niiv.errors import VolumeError
from napari_niiv.io.spacing import Spacing
from napari_niiv.plugin.common.forms import Row, button, paragraph, write
from napari_niiv.plugin.common.questions import Questions, Urgency

_UNITS = {"pixel": "pixel", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "angstrom": "Å"}
_MOST_AXES = 6
_SPATIAL = "zyx"


@dataclass(frozen=True)
class Answer:
    """The voxel size and axes that the user has written.

    Attributes
    ----------
    voxel_size : tuple of float
        Along z, y, x.
    unit : str
        Of the voxel size.
    axes : str
        A letter for each axis that the layer has now, in order.
    """

    voxel_size: tuple[float, float, float]
    unit: str
    axes: str


class SpacingForm:
    """Voxel size and axes of a layer; hidden until `ask`.

    Parameters
    ----------
    questions : Questions
        That are asked in the form.
    apply, later, never : callable
        What the buttons do.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form: the question, sizes, axes and buttons.
    """

    def __init__(
        self, questions: Questions, apply: Callable[[], None], later: Callable[[], None], never: Callable[[], None]
    ) -> None:
        self._apply, self._later, self._never = apply, later, never
        self._lengths: tuple[int, ...] = ()
        self._names: list[str] = []
        self._unit = self._shown_unit = "pixel"  # that the form was filled with, and what it made of it
        self._unit_choices = [(short, name) for name, short in _UNITS.items()]
        self._question = questions.add(Urgency.VOXEL_SIZE, self._make)
        self.rows = [self._question]

    @cached_property
    def question(self) -> Label:
        """What is asked."""
        return paragraph()

    @cached_property
    def sizes(self) -> dict[str, LineEdit]:
        """Of a voxel, by the letters of its axes."""
        edits = {a: LineEdit(tooltip=f"size of a voxel along {a}") for a in _SPATIAL}
        for edit in edits.values():
            edit.native.returnPressed.connect(self._apply)
        return edits

    @cached_property
    def unit(self) -> ComboBox:
        """Of the sizes."""
        tip = "of the three sizes; another unit leaves their numbers as they are"
        return ComboBox(choices=lambda widget: self._unit_choices, tooltip=tip)

    @cached_property
    def axes(self) -> list[ComboBox]:
        """One for each axis that a layer may have."""
        tip = "what this axis is, and how long"
        boxes = [ComboBox(choices=partial(self._choices, number), tooltip=tip) for number in range(_MOST_AXES)]
        for number, box in enumerate(boxes):
            box.changed.connect(partial(self._rename, number))
        return boxes

    @cached_property
    def apply(self) -> PushButton:
        """Takes what is written."""
        return button("Apply", "gives the layer this voxel size, and remembers it for the file", self._apply)

    @cached_property
    def later(self) -> PushButton:
        """Takes nothing."""
        return button("Not now", "leaves the layer as it is", self._later)

    @cached_property
    def never(self) -> PushButton:
        """Takes nothing, ever."""
        return button("Never ask", "do not ask for this file again", self._never)

    def _make(self) -> tuple[Label, Row, Row, Row]:
        # lest they widen the dock
        for part in (*self.sizes.values(), *self.axes):
            part.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            part.native.setMinimumWidth(44)
        return (
            self.question,
            Row("z, y, x", *self.sizes.values(), self.unit),
            Row("Axes", *self.axes),
            Row("", self.apply, self.later, self.never),
        )

    def ask(self, sentence: str, names: str, lengths: Sequence[int], by_hand: bool) -> None:
        """Show the form for a layer, after `fill`.

        Parameters
        ----------
        sentence : str
            The question.
        names : str
            The letters of its axes now.
        lengths : sequence of int
            Of the axes.
        by_hand : bool
            Whether the user opened it, and was not asked.
        """
        self._question.prepare()
        write(self.question, sentence)
        self._names, self._lengths = list(names), tuple(lengths)
        self._show_names()
        self.later.text = "Cancel" if by_hand else "Not now"
        for number, box in enumerate(self.axes):
            box.visible = number < len(names)
        self.never.visible = not by_hand
        self._question.ask(urgency=Urgency.BY_HAND if by_hand else Urgency.VOXEL_SIZE)

    def hide(self) -> None:
        """Hide the form and its question."""
        self._question.ask(False)

    @property
    def shown(self) -> bool:
        """Whether it is open."""
        return self._question.shown

    def fill(self, spacing: Spacing) -> None:
        """Write a voxel size into the form, in a readable unit; sizes that are None or absurd stay empty."""
        self._unit, shown = spacing.unit, spacing.readable
        unit = self._shown_unit = shown.unit
        for edit, size in zip(self.sizes.values(), shown.sizes, strict=True):
            usable = size is not None and math.isfinite(size) and size > 0
            edit.value = f"{size:.6g}" if usable else ""
        if unit not in [name for _, name in self._unit_choices]:
            self._unit_choices.append((unit, unit))
            self.unit.reset_choices()
        self.unit.value = unit

    def answer(self) -> Answer:
        """What the user has written into the form; in the unit that it was filled with, unless another was chosen.

        Raises
        ------
        VolumeError
            If it is no voxel size.
        """
        z, y, x = (_number(letter, edit.value) for letter, edit in self.sizes.items())
        written = Spacing((z, y, x), self.unit.value)
        spacing = written.to(self._unit) if written.unit == self._shown_unit else written
        return Answer(spacing.voxel_size, spacing.unit, "".join(self._names))

    def _choices(self, number: int, widget: Any) -> list[tuple[str, str]]:
        count = len(self._names)
        letters = {3: _SPATIAL, 4: "tczyx", 5: "tczyx"}.get(count, "tcqzyx")
        length = self._lengths[number] if number < count else 0
        return [(f"{letter.upper()} {length}", letter) for letter in letters]  # short: up to six are in a row

    def _show_names(self) -> None:
        for box, letter in zip(self.axes, self._names, strict=False):
            with box.changed.blocked():
                box.reset_choices()
                box.value = letter

    def _rename(self, number: int, letter: str) -> None:
        """An axis gets another name; the axis that had it gets the former one, and their sizes go with them."""
        if number >= len(self._names) or letter == (former := self._names[number]):
            return
        if letter in self._names:
            self._names[self._names.index(letter)] = former
            if letter in _SPATIAL and former in _SPATIAL:
                one, other = self.sizes[letter], self.sizes[former]
                one.value, other.value = other.value, one.value
        self._names[number] = letter
        self._show_names()


def _number(letter: str, text: str) -> float:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise VolumeError(f"The size along {letter} must be a positive number, such as 0.25; write it there.")
    return value
