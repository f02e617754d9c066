"""What the dock widgets' forms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import Container, Label
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_niiv.models.catalog import checkpoint_name
from napari_niiv.plugin.common.words import with_short_names


def row(label: str, *widgets: Any) -> Container:  # type: ignore[type-arg]
    """Widgets beside each other, under one label."""
    container = Container(widgets=list(widgets), layout="horizontal", label=label, labels=False)
    container.margins = (0, 0, 0, 0)
    return container


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
