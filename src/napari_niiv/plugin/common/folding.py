"""Groups of a form that fold, and the part of it that scrolls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from magicgui.widgets import Container
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QToolButton, QWidget

# the least size of what scrolls: all rows fit in the width, whatever they say
_LETTERS_WIDE, _LINES_HIGH = 46, 4

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
        self._body = Container(widgets=list(rows))
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
        self.native.layout().addWidget(_ScrollArea(self._form.native))

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Ask all choices of the groups anew."""
        self._form.reset_choices(*args, **kwargs)


class _ScrollArea(QScrollArea):
    """Wide enough for what it holds, and no wider whatever that says; as high as that, where there is room."""

    def __init__(self, rows: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setWidget(rows)
        self._rows = rows
        rows.installEventFilter(self)

    def minimumSizeHint(self) -> QSize:
        """Wide enough for the rows, and at least a few of them high."""
        letter, bar = self.fontMetrics(), self.verticalScrollBar()
        rows = self._rows.minimumSizeHint().width() + (bar.sizeHint().width() if bar else 0)
        return QSize(max(rows, _LETTERS_WIDE * letter.averageCharWidth()), _LINES_HIGH * letter.height())

    def sizeHint(self) -> QSize:
        """All the rows."""
        return QSize(self.minimumSizeHint().width(), self._rows.sizeHint().height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask for another size when rows come or go."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))
