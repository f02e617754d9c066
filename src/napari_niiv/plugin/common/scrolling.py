"""A form that gives up room to what is below it."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QWidget

from napari_niiv.plugin.common.timers import single_shot

SCROLL_BAR = 12  # pixels across
_SETTLE_MS = 20  # until rows that came are laid out
_LEAST = 90  # pixels: the height of some rows


class ScrollingForm(QScrollArea):
    """As high as the form where there is room; else it scrolls, and what is below it stays in view.

    Parameters
    ----------
    form : QWidget
    letters : int
        The least width, whatever the form says; 0 leaves it to the form.
    """

    def __init__(self, form: QWidget, letters: int = 0) -> None:
        super().__init__()
        self._form, self._letters = form, letters
        self.setWidget(form)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        form.installEventFilter(self)
        self._wanted: QWidget | None = None
        # rows that have just come are not in their places yet
        self._scrolling = single_shot(self, _SETTLE_MS, self._scroll)

    def bring_into_view(self, widget: QWidget) -> None:
        """Scroll until a widget of the form is seen, as soon as it is laid out."""
        self._wanted = widget
        self._scrolling.start()

    def _scroll(self) -> None:
        if self._wanted is not None:
            self.ensureWidgetVisible(self._wanted, 0, 0)
            self._wanted = None

    def sizeHint(self) -> QSize:
        """As high as the form, and the border that napari draws."""
        return QSize(self.minimumSizeHint().width(), self._form.sizeHint().height() + self._border.height())

    def minimumSizeHint(self) -> QSize:
        """As wide as the form and a scroll bar, and a few rows high."""
        bar = self.verticalScrollBar()
        across = (SCROLL_BAR if bar is None else bar.sizeHint().width()) + self._border.width()
        width = max(
            self._form.minimumSizeHint().width() + across, self._letters * self.fontMetrics().averageCharWidth()
        )
        return QSize(width, min(self._form.sizeHint().height(), _LEAST))

    @property
    def _border(self) -> QSize:
        margins = self.contentsMargins()
        return QSize(margins.left() + margins.right(), margins.top() + margins.bottom())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Have room shared out anew when rows come or go."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def scroll_to(widget: QWidget) -> None:
    """Have the form that a widget is in scroll until it is seen; nothing where no form scrolls."""
    area = widget.parent()
    while area is not None and not isinstance(area, ScrollingForm):
        area = area.parent()
    if area is not None:
        area.bring_into_view(widget)


class Yielding(QWidget):
    """What a scroll area holds, with a `ScrollingForm` in it: before this scrolls, that does."""

    def heightForWidth(self, width: int) -> int:
        """The least height, where Qt takes the one that is preferred."""
        layout = self.layout()
        return super().heightForWidth(width) if layout is None else layout.minimumHeightForWidth(width)
