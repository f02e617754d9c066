"""Groups of a form that fold, and the part of it that scrolls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from magicgui.widgets import Container
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_niiv.plugin.common.forms import Form
from napari_niiv.plugin.common.scrolling import ScrollingForm

_LETTERS_WIDE = 46  # all rows fit in, whatever they say

_open: dict[str, bool] = {}  # as the user left each group, until napari ends


class FoldingGroup(Form):
    """Rows of a form under a title; a click on it folds them away. `Scrolled` puts both into a window.

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
        super().__init__(rows)
        self.margins = (12, 0, 0, 0)
        self.title = title
        self.header = header = QToolButton()
        header.setText(title)
        header.setToolTip(tooltip)
        header.setCheckable(True)
        header.setAutoRaise(True)
        header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        is_open = _open.get(title, is_open)
        if not is_open:  # to be shown, it must be in a window
            self.native.hide()
        self._point(is_open)
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
        self._point(is_open)
        self.native.setVisible(is_open)

    def _point(self, is_open: bool) -> None:
        self.header.setChecked(is_open)
        self.header.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)


class Scrolled(Container):  # type: ignore[type-arg]
    """Groups of a form above each other, which scroll where the window is too low for them.

    Parameters
    ----------
    groups : list of FoldingGroup
    """

    def __init__(self, groups: Iterable[FoldingGroup]) -> None:
        self._groups = list(groups)
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        form = QWidget()
        layout = QVBoxLayout(form)
        layout.setContentsMargins(0, 0, 0, 0)
        for group in self._groups:
            layout.addWidget(group.header)
            layout.addWidget(group.native)
        layout.addStretch()
        self.native.layout().addWidget(ScrollingForm(form, _LETTERS_WIDE))

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Ask all choices of the groups anew."""
        for group in self._groups:
            group.reset_choices(*args, **kwargs)
