"""A list of the images in a file, of which one can be chosen, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QListView, QSizePolicy, QStyledItemDelegate, QStyleOptionViewItem

Described = tuple[str, str]
"""The name of an image, and its shape, type and voxel size in words."""

MOST_ROWS = 8
_MARGIN = 8  # pixels beside a line
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class DatasetList(QListView):
    """Names of images with what is known of each; a double click or Enter opens one.

    Its lines are made as they come into view, so that thousands cost nothing.
    """

    opened = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._images = _Images(self)
        self.setModel(self._images)
        self.setItemDelegate(_Line(self))
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip("the images of the file, likely ones first and labels last; double click or Enter opens one")
        self.doubleClicked.connect(lambda _: self.opened.emit())

    def show_images(self, images: Sequence[Described]) -> None:
        """List images, the first of them chosen."""
        self._images.replace(images)
        self.setCurrentIndex(self._images.index(0))
        rows = min(max(len(images), 1), MOST_ROWS)
        self.setFixedHeight(rows * max(self.sizeHintForRow(0), 1) + 2 * self.frameWidth() + _MARGIN)

    @property
    def chosen(self) -> str | None:
        """The name of the image that is chosen."""
        name: str | None = self.currentIndex().data(Qt.ItemDataRole.UserRole)
        return name

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Open what is chosen with Enter; letters find names, as in all lists."""
        if event is not None and event.key() in _ENTER:
            self.opened.emit()
        else:
            super().keyPressEvent(event)


class _Images(QAbstractListModel):
    """Lines of images."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._images: Sequence[Described] = ()

    def replace(self, images: Sequence[Described]) -> None:
        self.beginResetModel()
        self._images = images
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return len(self._images)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        name, words = self._images[index.row()]
        if role == Qt.ItemDataRole.UserRole:
            return name
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return line(name, words)
        return None


class _Line(QStyledItemDelegate):
    """Draws a line; the middle of a name goes first where there is no room, shape and type stay."""

    def initStyleOption(self, option: QStyleOptionViewItem | None, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        if option is None:
            return
        name = index.data(Qt.ItemDataRole.UserRole)
        rest = index.data(Qt.ItemDataRole.DisplayRole)[len(name) :]
        metrics, width = option.fontMetrics, option.rect.width() - _MARGIN
        room = max(width - metrics.horizontalAdvance(rest), width // 3)
        option.text = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, room) + rest


def line(name: str, words: str) -> str:
    """How an image is listed, such as "raw  — 12 × 48 × 56 uint8, 4 × 0.5 × 0.5 µm"."""
    return f"{name}  — {words}" if words else name
