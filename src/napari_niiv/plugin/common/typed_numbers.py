"""Numbers that are typed into boxes: what is out of range is said, and the old value stays."""

from __future__ import annotations

import math
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSlider, QToolTip

_DONE = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
_MOST_DECIMALS = 6
_BESIDE_SLIDER = "min-width: 44px; max-width: 44px;"  # by napari's style it would leave the slider no room


class TypedNumber(QObject):
    """Lets anything be typed into a box, and takes it when it is done, if it is a number within the box's range.

    By itself, Qt swallows the digits that would lead out of the range, rounds to the decimals that are shown, and says
    nothing.

    Parameters
    ----------
    box : QAbstractSpinBox
        A spin box, or the one beside a slider.
    name : str
        What sentences call the number, such as "anisotropy".
    """

    def __init__(self, box: QAbstractSpinBox, name: str) -> None:
        super().__init__(box)
        self._box: Any = box
        self._name = name
        self._typed: str | None = None
        box.setKeyboardTracking(False)  # half a number is not meant
        line = box.lineEdit()
        assert line is not None
        self._line = line
        line.setValidator(None)
        line.textEdited.connect(self._note)
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Before Qt makes something of what was typed: it is done with Enter, or when another field is gone to."""
        done = isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() in _DONE
        if done or (event is not None and event.type() == QEvent.Type.FocusOut):
            self._take()
        return False

    def _note(self, text: str) -> None:
        self._typed = text

    def _take(self) -> None:
        text, self._typed = self._typed, None
        if text is None:
            return
        box = self._box
        plain = text.strip()
        if plain in ("", box.specialValueText()):
            box.setValue(box.minimum() if plain or box.specialValueText() else box.value())
            return
        try:
            value = float(plain.replace(",", "."))
        except ValueError:
            value = math.nan
        if problem := self._problem(value):
            self._say(f"The {self._name} must be {problem}, not {plain}; it stays {self._shown(box.value())}.")
        else:
            if isinstance(box, QDoubleSpinBox):
                _, _, digits = plain.replace(",", ".").partition(".")
                box.setDecimals(max(box.decimals(), min(len(digits), _MOST_DECIMALS)))
            box.setValue(value if isinstance(box, QDoubleSpinBox) else round(value))
        box.setValue(box.value())  # which puts it in the place of what was typed

    def _say(self, sentence: str) -> None:
        """Say what is wrong, beside the box and as a notification, which napari keeps."""
        QToolTip.showText(self._box.mapToGlobal(self._box.rect().bottomLeft()), sentence, self._box)
        show_warning(sentence)

    def _problem(self, value: float) -> str:
        """What a number must be that is none, or out of range; empty if it is all right."""
        low, high = self._box.minimum(), self._box.maximum()
        whole = not isinstance(self._box, QDoubleSpinBox)
        what = "a whole number" if whole else "a number"
        if math.isfinite(value) and low <= value <= high and not (whole and value != round(value)):
            return ""
        return f"{what} from {low:g} to {high:,.10g}"

    def _shown(self, value: float) -> str:
        special: str = self._box.specialValueText()
        return special if special and value == self._box.minimum() else f"{value:g}"


def typed(widget: Any, name: str) -> Any:
    """The same magicgui widget, a spin box or a slider, whose number can be typed as `TypedNumber` has it."""
    native = widget.native
    if isinstance(native, QAbstractSpinBox):
        box = native
    else:
        box = native.findChild(QAbstractSpinBox)
        slider = native.findChild(QSlider)
        slider.setPageStep(10 * slider.singleStep())  # a click beside the handle would not be seen
        box.setStyleSheet(f"{box.styleSheet()} {_BESIDE_SLIDER}")
    TypedNumber(box, name)
    box.setToolTip(widget.tooltip)
    return widget
