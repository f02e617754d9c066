"""Groups of a form that fold, and the part of it that scrolls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from magicgui.widgets import Container
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QToolButton

from napari_niiv.plugin.common.forms import Form
from napari_niiv.plugin.common.scrolling import ScrollingForm

_LETTERS_WIDE = 46  # all rows fit in, whatever they say

_open: dict[str, bool] = {}  # as the user left each group, until napari ends


class FoldingGroup(Container):  # type: ignore[type-arg]
    """Rows of a form under a title; a click on it folds them away.

    A group that was folded or opened by the user comes the same way when its form is opened again.

    Parameters
    ----------
    title : str
    rows : list of Widget
    tooltip : str
        What the group is for.
    is_open : bool
        Whether the rows show at first.

    Attributes
    ----------
    title : str
    header : QToolButton
        Carries the title, checked while the group is open.
    """

    def __init__(self, title: str, rows: Sequence[Any], tooltip: str, is_open: bool = True) -> None:
        self._body = Form(rows)
        self._body.margins = (12, 0, 0, 0)
        super().__init__(widgets=[self._body], labels=False)
        self.margins = (0, 0, 0, 0)
        self.title = title
        self.header = header = QToolButton()
        header.setText(title)
        header.setToolTip(tooltip)
        header.setCheckable(True)
        header.setAutoRaise(True)
        header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.native.layout().insertWidget(0, header)
        self._show(_open.get(title, is_open))
        header.toggled.connect(self._toggled)

    @property
    def is_open(self) -> bool:
        """Whether the rows show; setting it is as good as a click."""
        return bool(self.header.isChecked())

    @is_open.setter
    def is_open(self, value: bool) -> None:
        self.header.setChecked(value)

    def _toggled(self, is_open: bool) -> None:
        _open[self.title] = is_open
        self._show(is_open)

    def _show(self, is_open: bool) -> None:
        self.header.setChecked(is_open)
        self.header.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self._body.native.setVisible(is_open)


class Scrolled(Container):  # type: ignore[type-arg]
    """Groups of a form above each other, which scroll where the window is too low for them.

    Parameters
    ----------
    groups : list of Widget
    """

    def __init__(self, groups: Iterable[Any]) -> None:
        self._form = Container(widgets=list(groups), labels=False)
        self._form.margins = (0, 0, 0, 0)
        self._form.native.layout().addStretch()
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.native.layout().addWidget(ScrollingForm(self._form.native, _LETTERS_WIDE))

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Ask all choices of the groups anew."""
        self._form.reset_choices(*args, **kwargs)
