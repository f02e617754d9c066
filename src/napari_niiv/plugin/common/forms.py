"""What the dock widgets' forms share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from magicgui.widgets import Container, Label, PushButton
from magicgui.widgets.bases import ButtonWidget, Widget
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_niiv.models.catalog import checkpoint_name
from napari_niiv.plugin.common.words import with_short_names

_BESIDE = 5  # pixels of a label beside its words


class Form(Container):  # type: ignore[type-arg]
    """Rows below each other, each beside its label but for buttons, which carry theirs.

    Labels and rows are Qt's own: those of magicgui are widgets of its, and take ten times as long to make.

    Parameters
    ----------
    rows : iterable of Widget, Row or LateRows
    widest : str
        The longest label that there is, or may come: all are as wide then. Without it each is as wide as its words.

    Attributes
    ----------
    late : list of LateRows
        Those of the rows that come later.
    """

    def __init__(self, rows: Iterable[Widget | Row | LateRows], widest: str = "") -> None:
        rows = list(rows)
        self._rows = [row for row in rows if isinstance(row, Row)]
        self.late = [row for row in rows if isinstance(row, LateRows)]
        super().__init__(widgets=[row for row in rows if isinstance(row, Widget)], labels=False)
        self.margins = (0, 0, 0, 0)
        layout = self.native.layout()
        for place, row in enumerate(rows):
            if isinstance(row, LateRows):
                row.enter(layout, place, widest)
            elif not isinstance(row, ButtonWidget):
                layout.insertWidget(place, _Labelled(row, widest))

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Ask all choices anew."""
        super().reset_choices(*args, **kwargs)
        for row in self._rows:
            row.reset_choices()


class Row:
    """Widgets beside each other, under one label.

    Parameters
    ----------
    label : str
    *widgets : Widget or QWidget

    Attributes
    ----------
    native : QWidget
        Holds the widgets.
    title : QLabel
        The label; a form puts it beside them.
    """

    def __init__(self, label: str, *widgets: Widget | QWidget) -> None:
        self._widgets, self.native, self.title = widgets, QWidget(), QLabel(label)
        layout = QHBoxLayout(self.native)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            layout.addWidget(widget.native if isinstance(widget, Widget) else widget)

    @property
    def visible(self) -> bool:
        """Whether it is seen; setting it shows or hides it."""
        return bool(self.native.isVisible())

    @visible.setter
    def visible(self, value: bool) -> None:
        self.native.setVisible(value)

    def reset_choices(self) -> None:
        """Ask all choices in it anew."""
        for widget in self._widgets:
            if hasattr(widget, "reset_choices"):
                widget.reset_choices()


class LateRows:
    """Rows of a form that are made when they are first shown: many are seen by few.

    Parameters
    ----------
    make : callable
        Gives the rows.

    Attributes
    ----------
    shown : bool
    """

    def __init__(self, make: Callable[[], Sequence[Widget | Row]]) -> None:
        self._make, self._widest, self.shown = make, "", False
        self._rows: Sequence[Widget | Row] | None = None
        self._place = QVBoxLayout()

    def enter(self, layout: QBoxLayout, place: int, widest: str) -> None:
        """Take a place in the layout of a form; called by the form."""
        self._widest = widest
        layout.insertLayout(place, self._place)

    def prepare(self) -> None:
        """Make the rows, hidden, before any of their widgets is shown or hidden: outside of a form it is a window."""
        if self._rows is None:
            self._rows = self._make()
            for row in self._rows:
                plain = isinstance(row, ButtonWidget)
                self._place.addWidget(row.native if plain else _Labelled(row, self._widest))
                row.visible = False

    def show(self, shown: bool = True) -> None:
        """Show or hide the rows."""
        self.shown = shown
        if shown:
            self.prepare()
        for row in self._rows or ():
            row.visible = shown


class _Labelled(QWidget):
    """A row beside its label, there as long as the row is."""

    def __init__(self, row: Widget | Row, widest: str) -> None:
        super().__init__()
        self._label = label = row.title if isinstance(row, Row) else QLabel(row.label)
        native = row.native
        label.setToolTip(native.toolTip())
        label.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        if widest:
            label.setMinimumWidth(label.fontMetrics().boundingRect(widest).width() + _BESIDE)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label)
        layout.addWidget(native)
        native.installEventFilter(self)
        if native.testAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide) and native.isHidden():
            self.hide()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Come and go with the row, and say what it says."""
        kind = None if event is None else event.type()
        if kind in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent):
            self.setVisible(kind == QEvent.Type.ShowToParent)
        elif kind == QEvent.Type.ToolTipChange and isinstance(watched, QWidget):
            self._label.setToolTip(watched.toolTip())
        return False


def button(text: str, tooltip: str, press: Callable[[], Any]) -> PushButton:
    """A button that does something."""
    made = PushButton(text=text, tooltip=tooltip)
    made.changed.connect(lambda _=None: press())
    return made


def paragraph() -> Label:
    """A label for sentences, as wide as the form, however long they are; hidden until there are any."""
    label = Label(value="")
    wrapped(label.native)
    label.visible = False
    return label


def wrapped(label: QLabel) -> None:
    """Let a label have the height that its text takes at the width of the form."""
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)  # a file's name is no HTML
    # of a long text Qt would have it wide rather than high
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


def write(label: Label, text: str) -> None:
    """Put sentences into a label; of names that are too long for it the middle is left out, and the tooltip has all."""
    label.value = short = with_short_names(text)
    label.tooltip = text if short != text else ""


def short_names(files: list[str]) -> list[tuple[str, str]]:
    """Choices of checkpoints by their names, by their whole paths where two have the same name."""
    names = [checkpoint_name(file) for file in files]
    return [(name if names.count(name) == 1 else file, file) for name, file in zip(names, files, strict=True)]


class Leaving(QObject):
    """Deletes a widget that is taken out of its dock: napari's close button only takes it out.

    Parameters
    ----------
    widget : QWidget
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Delete the widget when its dock takes it out."""
        moved = event is not None and event.type() == QEvent.Type.ParentChange
        if moved and isinstance(watched, QWidget) and watched.parent() is None:
            watched.deleteLater()
        return False


class Drops(QObject):
    """Takes files dropped on a widget.

    Parameters
    ----------
    widget : QWidget
    opened : callable
        Gets the paths.
    """

    def __init__(self, widget: QWidget, opened: Callable[[list[Path]], None]) -> None:
        super().__init__(widget)
        self._opened = opened
        widget.setAcceptDrops(True)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Accept drags of local files and open what is dropped."""
        if not isinstance(event, QDropEvent) or event.type() == QEvent.Type.DragMove:
            return False
        data = event.mimeData()
        paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()] if data else []
        if not paths:
            return False
        event.acceptProposedAction()
        if event.type() == QEvent.Type.Drop:
            self._opened(paths)
        return True
