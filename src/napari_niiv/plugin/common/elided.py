"""Combo boxes of names: as narrow as the dock, the middle of a long name left out, all of it in the tooltip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QModelIndex, QObject, Qt
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

_LEAST = 6  # characters that are always shown


class ElidedCombo(QObject):
    """Draws the chosen name of a combo box to fit, and gives each item a tooltip.

    Parameters
    ----------
    combo : QComboBox
    describe : callable
        Gets the data of an item and its text, and returns its tooltip.
    """

    def __init__(self, combo: Any, describe: Callable[[Any, str], str]) -> None:
        super().__init__(combo)
        self._combo, self._describe = combo, describe
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(_LEAST)
        combo.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
        combo.installEventFilter(self)
        combo.model().rowsInserted.connect(self._inserted)
        self.refresh()

    def refresh(self) -> None:
        """Describe all items anew."""
        for row in range(self._combo.count()):
            self._tip(row)

    def _inserted(self, parent: QModelIndex, first: int, last: int) -> None:
        for row in range(first, last + 1):
            self._tip(row)

    def _tip(self, row: int) -> None:
        combo = self._combo
        tip = self._describe(combo.itemData(row), combo.itemText(row))
        combo.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Paint what the combo box shows, the middle left out where there is no room."""
        if event is None or event.type() != QEvent.Type.Paint:
            return False
        combo = self._combo
        option = QStyleOptionComboBox()
        combo.initStyleOption(option)
        control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = combo.style().subControlRect(control, option, field, combo).width() - 4
        option.currentText = option.fontMetrics.elidedText(option.currentText, Qt.TextElideMode.ElideMiddle, room)
        painter = QStylePainter(combo)
        painter.drawComplexControl(control, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
        return True


def elided(widget: Any, describe: Callable[[Any, str], str] = lambda data, text: text) -> ElidedCombo:
    """Make a combo box of magicgui's one of names, which may be long.

    Parameters
    ----------
    widget : ComboBox
    describe : callable, optional
        Gets the data of an item and its text, and returns its tooltip: the whole text by default.
    """
    return ElidedCombo(widget.native, describe)
