"""Plots as pyqtgraph draws them; importing it takes long, so it is imported beforehand, off the GUI thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy


def new_plot() -> Any:
    """An empty plot, which is looked at only."""
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


def line(plot: Any, colour: str, *, dashed: bool = False, dots: bool = False) -> Any:
    """A curve of a plot, without points yet."""
    style = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
    marks = {"symbolSize": 5, "symbolBrush": colour, "symbolPen": None}
    return plot.plot(pen=pg.mkPen(colour, style=style), symbol="o" if dots else None, **marks)


def recolour(plot: Any, text: str, background: str) -> None:
    """Give a plot the colours of a theme."""
    plot.setBackground(background)
    for name in ("left", "bottom"):
        axis = plot.getAxis(name)
        axis.setPen(text)
        axis.setTextPen(text)


def fit(plot: Any, across: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Show all of it; pyqtgraph would find the range out while it paints, and then paint again."""
    low, high = values.min(), values.max()
    least = 1e-3 * max(abs(high), 1e-6)  # a flat curve is not to look like a wild one
    margin = 0.06 * max(high - low, least)
    plot.setRange(xRange=(across[0], across[1]), yRange=(low - margin, high + margin), padding=0.02)
    plot.scene().prepareForPaint()
