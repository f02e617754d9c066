"""Which pass is on the screen: a mark whose form says it as well as its colour, and a word."""

from __future__ import annotations

from typing import NamedTuple

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_niiv.reconstruction.views.request import SliceResponse


class Appearance(NamedTuple):
    """How a state looks: its colour, how much of the disc is full (None: a cross), and what it means."""

    colour: str
    filled: float | None
    meaning: str


STATES = {
    "off": Appearance("#8a8d91", 0.0, "nothing is reconstructed here"),
    "waiting": Appearance("#8a8d91", 0.0, "the first picture is on its way"),
    "hidden": Appearance("#8a8d91", 0.0, "the reconstruction is hidden"),
    "covered": Appearance("#8a8d91", 0.0, "another layer lies over the reconstruction"),
    "source": Appearance("#8a8d91", 0.0, "the source, as long as it is compared"),
    "interpolated": Appearance("#8a8d91", 0.0, "linear interpolation between the slices"),
    "measured": Appearance("#3fa66a", 1.0, "as it was measured: in xy there is nothing to restore"),
    "fast": Appearance("#e0a030", 0.5, "restored by the model in one plane; refined when the view rests"),
    "refined": Appearance("#3fa66a", 1.0, "restored by the model, the mean of both planes"),
    "failed": Appearance("#d9534f", None, "there is no picture; the status says why"),
}
_SIZE = 12


def pass_of(response: SliceResponse) -> str:
    """Which of `STATES` a picture puts on the screen."""
    if response.quality == "placeholder":
        return "interpolated"
    if not response.inferred:
        return "measured" if response.request.plane == "xy" else "interpolated"
    return response.quality


class PassIndicator(QWidget):
    """A mark and a word for what is on the screen: one of `STATES`."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ""
        self._mark, self._word = _Mark(), QLabel()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._mark)
        layout.addWidget(self._word, 1)
        self.show_state("off")

    @property
    def word(self) -> str:
        """The word beside the mark, the state that is shown."""
        return str(self._word.text())

    def show_state(self, state: str) -> None:
        """Show a state, one of the keys of `STATES`."""
        if state != self.state:
            self.state = state
            self._mark.show_appearance(STATES[state])
            self._word.setText(state)
            self.setToolTip(STATES[state].meaning)


class _Mark(QWidget):
    """A disc, empty, half full or full, or a cross."""

    def __init__(self) -> None:
        super().__init__()
        self._appearance = STATES["off"]
        self.setFixedSize(QSize(_SIZE, _SIZE))

    def show_appearance(self, appearance: Appearance) -> None:
        self._appearance = appearance
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour, lo, hi = QColor(self._appearance.colour), 2.0, _SIZE - 2.0
        painter.setPen(QPen(colour, 2))
        if self._appearance.filled is None:
            painter.drawLine(QPointF(lo, lo), QPointF(hi, hi))
            painter.drawLine(QPointF(lo, hi), QPointF(hi, lo))
        else:
            disc = QRectF(lo, lo, hi - lo, hi - lo)
            painter.drawEllipse(disc)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawPie(disc, 90 * 16, round(360 * 16 * self._appearance.filled))
        painter.end()
