"""The legend of a map of trust: what it shows, its colours in grey levels and in words, what it says of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_niiv.plugin.common.forms import LateRows, Row
from napari_niiv.plugin.live.trust_appearance import APPEARANCES

if TYPE_CHECKING:
    from napari_niiv.reconstruction.doubt import Doubt
    from napari_niiv.reconstruction.views.request import SliceResponse, Trust

_INSET = 4  # pixels between the ends of the bar and the words on it
_BACKGROUND = 0.5  # the picture's grey, on the whole, where the map is clear

WAITING = "being computed…"
HIDDEN = "Its picture is hidden."
NOTHING_INFERRED = "Nothing is inferred in this view."
SIDE_VIEWS_ONLY = "Only in side views (xz, yz)."


def judgement(kind: Trust, response: SliceResponse) -> str | None:
    """What a map says of a picture, in a sentence; None where a better pass is still to say it."""
    doubt = response.doubt
    if doubt is not None and kind in doubt.shares:
        return _of_shares(kind, doubt)
    if response.quality != "placeholder" and not response.inferred:
        return NOTHING_INFERRED
    if kind == "misfit" and response.request.plane == "xy":
        return SIDE_VIEWS_ONLY
    return None


def _of_shares(kind: Trust, doubt: Doubt) -> str:
    part = percentage(doubt.shares[kind])
    if kind == "bridged":
        return "None in this view." if doubt.agrees(kind) else f"{part} of this view is bridged."
    if doubt.agrees(kind):
        where = "nearly everywhere" if doubt.shares[kind] else "everywhere"  # specks may be seen
        return f"xz and yz agree {where}." if kind == "disagreement" else f"Agrees {where}."
    return f"{part} of this view is doubtful."


def percentage(share: float) -> str:
    """Such as 3 %, or 0.3 %."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 0.95 else f"{percent:.1g} %"


class MapLegend(QWidget):
    """The legend of one map; as wide as there is room, however long its sentences are.

    Parameters
    ----------
    kind : {"disagreement", "misfit", "bridged"}

    Attributes
    ----------
    row : LateRows
        The legend beside the map's name, to be put into a form.
    scale : Scale or None
        Its colours; a map of what is there or not has no scale.
    """

    def __init__(self, kind: Trust) -> None:
        super().__init__()
        appearance = APPEARANCES[kind]
        title, self._sentence = QLabel(appearance.title), QLabel()
        self.scale = Scale(kind) if appearance.words else None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (title, self.scale, self._sentence):
            if widget is not None:
                layout.addWidget(widget)
        for label in (title, self._sentence):
            label.setWordWrap(True)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setToolTip(appearance.explanation)
        emphasis = self._sentence.font()
        emphasis.setBold(True)
        self._sentence.setFont(emphasis)
        self.row = LateRows(lambda: (Row(appearance.name, self),))

    @property
    def sentence(self) -> str:
        """What it says of the view."""
        return str(self._sentence.text())

    def show_sentence(self, sentence: str) -> None:
        """Say something of the view."""
        self._sentence.setText(sentence)


class Scale(QWidget):
    """The colours of a map with words on them, and grey levels below.

    Parameters
    ----------
    kind : {"disagreement", "misfit"}

    Attributes
    ----------
    limits : (float, float) or None
        Grey levels at the ends, once they are known.
    """

    def __init__(self, kind: Trust) -> None:
        super().__init__()
        self._appearance = APPEARANCES[kind]
        self.limits: tuple[float, float] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """The bar and a line of numbers."""
        return QSize(0, 2 * self.fontMetrics().height())

    def show_limits(self, limits: tuple[float, float] | None) -> None:
        """Show the grey levels at the ends; none where they are not known."""
        if limits != self.limits:
            self.limits = limits
            self.update()

    @property
    def numbers(self) -> tuple[str, ...]:
        """Grey levels below the bar, evenly spaced: the ends, what is doubtful and, between two such, zero."""
        if self.limits is None:
            return ()
        (low, high), steps = self.limits, 4 if self._appearance.limits[0] < 0 else 2
        return tuple(_grey_level(low + (high - low) * i / steps) for i in range(steps + 1))

    def _fitting(self, width: float) -> tuple[str, ...]:
        """The numbers; every other one where there is no room for all."""
        widths = [self.fontMetrics().horizontalAdvance(f"{number}  ") for number in self.numbers]
        if len(widths) < 3:
            return self.numbers
        # the first begins where the bar does, the others are in the middle of their places
        fits = max(widths[0], widths[-1]) + max(widths[1:-1]) / 2 <= width / (len(widths) - 1)
        return self.numbers if fits else self.numbers[::2]

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint bar, words and numbers."""
        painter = QPainter(self)
        bar = QRectF(0, 0, self.width(), self.fontMetrics().height())
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for place, (*colour, opacity) in self._appearance.colours:
            mixed = (opacity * part + (1 - opacity) * _BACKGROUND for part in colour)
            gradient.setColorAt(place, QColor.fromRgbF(*mixed))
        painter.fillRect(bar, gradient)
        painter.setPen(QColor("black"))
        _write(painter, self._appearance.words, bar.adjusted(_INSET, 0, -_INSET, 0))
        painter.setPen(self.palette().windowText().color())
        _write(painter, self._fitting(bar.width()), bar.translated(0, bar.height()))
        painter.end()


def _grey_level(value: float) -> str:
    """In three digits at least, and without an exponent where the number has no more than six."""
    return f"{value:.3g}" if abs(value) < 999.5 or abs(value) >= 1e6 else f"{value:.0f}"


def _write(painter: QPainter, words: tuple[str, ...], line: QRectF) -> None:
    """Words evenly spaced along a line, the first and the last at its ends."""
    flags = Qt.AlignmentFlag
    for i, word in enumerate(words):
        if i in (0, len(words) - 1):
            painter.drawText(line, flags.AlignLeft if i == 0 else flags.AlignRight, word)
            continue
        centre = line.left() + line.width() * i / (len(words) - 1)
        painter.drawText(
            QRectF(centre - line.width() / 4, line.top(), line.width() / 2, line.height()), flags.AlignHCenter, word
        )
