"""Plots of a training: its loss, and how good the model is beside interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_niiv.training.events import Validation

MOST_POINTS = 2000
# readable on dark and on light
LOSS, MODEL, BICUBIC, LINEAR = "#e08a3c", "#4a90e2", "#3fa66a", "#b366c9"
LOSS_COMES = "a curve of how far the model is from the truth while it learns: it appears with the first steps"
QUALITY_COMES = "how good the model is on slices that it never learns from, beside interpolation: after its first trial"
BLANK = "the slices kept aside to judge by are blank: there is nothing to compare with"


class Curves(QWidget):
    """Two plots over the steps; before there is something to draw, each is a sentence that says what will come.

    Parameters
    ----------
    text, background : str
        Colours.
    """

    def __init__(self, text: str, background: str) -> None:
        super().__init__()
        self._colours = text, background
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.loss_words, self.quality_words = QLabel(), QLabel()
        self._loss_comes, self._quality_comes = _sentence(LOSS_COMES), _sentence(QUALITY_COMES)
        # made with their first points: pyqtgraph takes its time
        self.loss_plot: Any = None
        self.quality_plot: Any = None
        self.loss: Any = None
        self.model: Any = None
        self.bicubic: Any = None
        self.linear: Any = None
        for label, place in ((self.loss_words, self._loss_comes), (self.quality_words, self._quality_comes)):
            label.setTextFormat(Qt.TextFormat.RichText)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            layout.addWidget(label)
            layout.addWidget(place, 1)
        self.loss_words.setToolTip(
            "the mean difference between what the model restores and what is true, called loss: lower is better"
        )
        self.quality_words.setToolTip(
            "peak signal-to-noise ratio, in dB, on xy slices that the model is never trained on, made coarse: "
            "higher is better"
        )
        self.show_progress([], [])

    def recolour(self, text: str, background: str) -> None:
        """Take the colours of a theme."""
        self._colours = text, background
        for plot in (self.loss_plot, self.quality_plot):
            if plot is not None:
                _plots().recolour(plot, text, background)

    def show_progress(self, losses: Sequence[tuple[float, float]], validations: Sequence[Validation]) -> None:
        """Draw what there is."""
        steps, values = thinned(np.array(losses, dtype=np.float64).reshape(-1, 2))
        judged = [v for v in validations if v.gain is not None]
        tried, quality = thinned(np.array([(v.step, v.model) for v in judged], np.float64).reshape(-1, 2))
        across = np.array([0.0, max([1.0, *steps[-1:], *tried[-1:]])])
        self._show_loss(across, steps, values)
        self._show_quality(across, tried, quality, judged[-1] if judged else None)
        if not judged:
            self._quality_comes.setText(BLANK if validations else QUALITY_COMES)

    def _show_loss(self, across: NDArray[Any], steps: NDArray[Any], values: NDArray[Any]) -> None:
        self.loss_words.setText(_named("deviation while learning", LOSS, f"{values[-1]:.4f}" if len(values) else ""))
        if len(values) and self.loss_plot is None:
            self.loss_plot = self._new_plot(after=self._loss_comes)
            self.loss = _plots().line(self.loss_plot, LOSS)
        _show_one(self._loss_comes, self.loss_plot, len(values) > 0)
        if len(values):
            self.loss.setData(steps, values)
            self.loss.setSymbol("o" if len(values) == 1 else None)  # one point is no line
            _plots().fit(self.loss_plot, across, values)

    def _show_quality(
        self, across: NDArray[Any], tried: NDArray[Any], quality: NDArray[Any], last: Validation | None
    ) -> None:
        if last is not None and self.quality_plot is None:
            plots, self.quality_plot = _plots(), self._new_plot(after=self._quality_comes)
            self.bicubic = plots.line(self.quality_plot, BICUBIC, dashed=True)
            self.linear = plots.line(self.quality_plot, LINEAR, dashed=True)
            self.model = plots.line(self.quality_plot, MODEL, dots=True)
        _show_one(self._quality_comes, self.quality_plot, last is not None)
        if last is None:
            self.quality_words.setText("closeness to the truth")
            return
        self.model.setData(tried, quality)
        self.bicubic.setData(across, [last.bicubic] * 2)
        self.linear.setData(across, [last.linear] * 2)
        _plots().fit(self.quality_plot, across, np.append(quality, np.array((last.bicubic, last.linear), np.float64)))
        named = (
            ("model", MODEL, last.model),
            ("bicubic", BICUBIC, last.bicubic),
            ("linear", LINEAR, last.linear),
        )
        self.quality_words.setText(", ".join(_named(n, colour, f"{v:.2f}") for n, colour, v in named) + " dB")

    def _new_plot(self, after: QLabel) -> Any:
        """A plot in the place of the sentence that says what will come."""
        layout, plot = self.layout(), _plots().new_plot()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(layout.indexOf(after) + 1, plot, 1)
        _plots().recolour(plot, *self._colours)
        return plot


def thinned(points: NDArray[np.float64], most: int = MOST_POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """Abscissae and ordinates of an (n, 2) array, neighbours averaged so that at most `most` are left."""
    group = -(-len(points) // most)
    if group > 1:
        starts = np.arange(0, len(points), group)
        points = np.add.reduceat(points, starts) / np.diff(np.append(starts, len(points)))[:, None]
    return points[:, 0], points[:, 1]


def _plots() -> Any:
    """What draws, imported when it is needed."""
    from napari_niiv.plugin.training import plots

    return plots


def _sentence(words: str) -> QLabel:
    """A sentence in the place of a plot, as small as a plot may be."""
    label = QLabel(words)
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignCenter)
    label.setMinimumSize(120, 105)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
    return label


def _show_one(sentence: QLabel, plot: Any, drawn: bool) -> None:
    """Show a plot, or what is said in its place."""
    sentence.setVisible(not drawn)
    if plot is not None:
        plot.setVisible(drawn)


def _named(name: str, colour: str, value: str) -> str:
    return f'<span style="color:{colour}"><b>{name}</b></span> {value}'
