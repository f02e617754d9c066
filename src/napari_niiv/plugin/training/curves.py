"""Plots of a training: its loss, and how good the model is beside interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_niiv.training.events import Validation

MOST_POINTS = 2000
# readable on dark and on light
LOSS, MODEL, BICUBIC, LINEAR = "#e08a3c", "#4a90e2", "#3fa66a", "#b366c9"


class Curves(QWidget):
    """Two plots over the steps.

    Parameters
    ----------
    text, background : str
        Colours.
    """

    def __init__(self, text: str, background: str) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.loss_words, self.quality_words = QLabel(), QLabel()
        self.loss_plot, self.quality_plot = _plot(), _plot()
        for label, plot in ((self.loss_words, self.loss_plot), (self.quality_words, self.quality_plot)):
            label.setTextFormat(Qt.TextFormat.RichText)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            layout.addWidget(label)
            layout.addWidget(plot, 1)
        self.loss_words.setToolTip(
            "the mean difference between what the model restores and what is true, called loss: lower is better"
        )
        self.quality_words.setToolTip(
            "peak signal-to-noise ratio, in dB, on xy slices that the model is never trained on, made coarse: "
            "higher is better"
        )
        self.loss = self.loss_plot.plot(pen=pg.mkPen(LOSS))
        self.bicubic = self.quality_plot.plot(pen=pg.mkPen(BICUBIC, style=Qt.PenStyle.DashLine))
        self.linear = self.quality_plot.plot(pen=pg.mkPen(LINEAR, style=Qt.PenStyle.DashLine))
        self.model = self.quality_plot.plot(
            pen=pg.mkPen(MODEL), symbol="o", symbolSize=5, symbolBrush=MODEL, symbolPen=None
        )
        self.recolour(text, background)
        self.show_progress([], [])

    def recolour(self, text: str, background: str) -> None:
        """Take the colours of a theme."""
        for plot in (self.loss_plot, self.quality_plot):
            plot.setBackground(background)
            for name in ("left", "bottom"):
                axis = plot.getAxis(name)
                axis.setPen(text)
                axis.setTextPen(text)

    def show_progress(self, losses: Sequence[tuple[float, float]], validations: Sequence[Validation]) -> None:
        """Draw what there is."""
        steps, values = thinned(np.array(losses, dtype=np.float64).reshape(-1, 2))
        judged = [v for v in validations if v.gain is not None]
        tried, quality = thinned(np.array([(v.step, v.model) for v in judged], np.float64).reshape(-1, 2))
        across = np.array([0.0, max([1.0, *steps[-1:], *tried[-1:]])])
        self.loss.setData(steps, values)
        self.loss_words.setText(_named("error in training", LOSS, f"{values[-1]:.4f}" if len(values) else ""))
        _fit(self.loss_plot, across, values)
        self.model.setData(tried, quality)
        if not judged:
            for line in (self.bicubic, self.linear):
                line.setData([], [])
            self.quality_words.setText(
                "nothing to judge by" if validations else "closeness to the truth: waits for the first trial"
            )
            _fit(self.quality_plot, across, quality)
            return
        last = judged[-1]
        self.bicubic.setData(across, [last.bicubic] * 2)
        self.linear.setData(across, [last.linear] * 2)
        _fit(self.quality_plot, across, np.append(quality, np.array((last.bicubic, last.linear), np.float64)))
        named = (
            ("model", MODEL, last.model),
            ("bicubic", BICUBIC, last.bicubic),
            ("linear", LINEAR, last.linear),
        )
        self.quality_words.setText(", ".join(_named(n, colour, f"{v:.2f}") for n, colour, v in named) + " dB")


def thinned(points: NDArray[np.float64], most: int = MOST_POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """Abscissae and ordinates of an (n, 2) array, neighbours averaged so that at most `most` are left."""
    group = -(-len(points) // most)
    if group > 1:
        starts = np.arange(0, len(points), group)
        points = np.add.reduceat(points, starts) / np.diff(np.append(starts, len(points)))[:, None]
    return points[:, 0], points[:, 1]


def _plot() -> Any:
    plot = pg.PlotWidget()
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.disableAutoRange()
    plot.setMinimumSize(120, 105)
    # its own wish is for 480 pixels
    plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
    # turning the wheel scrolls the widget
    plot.setMouseEnabled(x=False, y=False)
    plot.setFrameShape(plot.Shape.NoFrame)
    plot.getAxis("left").setWidth(44)
    for name in ("left", "bottom"):
        plot.getAxis(name).enableAutoSIPrefix(False)
    plot.showGrid(x=False, y=True, alpha=0.15)
    return plot


def _fit(plot: Any, across: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Show all of it; pyqtgraph would find the range out while it paints, and then paint again."""
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    least = 1e-3 * max(abs(high), 1e-6)  # a flat curve is not to look like a wild one
    margin = 0.06 * max(high - low, least)
    plot.setRange(xRange=(across[0], across[1]), yRange=(low - margin, high + margin), padding=0.02)
    plot.scene().prepareForPaint()


def _named(name: str, colour: str, value: str) -> str:
    return f'<span style="color:{colour}"><b>{name}</b></span> {value}'
