"""The plots of a training, alone."""

from pathlib import Path

import pytest

pytest.importorskip("napari")

from napari_niiv.plugin.training.curves import BLANK, LOSS_COMES, QUALITY_COMES, Curves
from napari_niiv.training.events import Validation


@pytest.fixture
def curves(qtbot):
    curves = Curves("#ffffff", "#000000")
    qtbot.addWidget(curves)
    curves.show()
    return curves


def shown(curves):
    """The sentences that stand in the place of plots."""
    return [label.text() for label in (curves._loss_comes, curves._quality_comes) if label.isVisible()]


def test_before_there_are_points_it_is_said_what_will_come(curves):
    assert shown(curves) == [LOSS_COMES, QUALITY_COMES]
    assert curves.loss_plot is curves.quality_plot is None
    curves.show_progress([(1, 0.5)], [])
    assert shown(curves) == [QUALITY_COMES]
    assert curves.loss_plot.isVisible()
    assert curves.loss.opts["symbol"] == "o"  # a line through one point would be nothing
    curves.show_progress([(1, 0.5), (2, 0.4)], [])
    assert curves.loss.opts["symbol"] is None
    curves.show_progress([(1, 0.5)], [Validation(2, 1, 0.5, 31.0, 29.0, 30.0, Path("a"))])
    assert shown(curves) == []
    assert curves.quality_plot.isVisible()
    curves.show_progress([], [])  # of the next training
    assert shown(curves) == [LOSS_COMES, QUALITY_COMES]
    assert not curves.loss_plot.isVisible()
    curves.show_progress([(1, 0.5)], [Validation(2, 1, 0.5, None, None, None, Path("a"))])
    assert shown(curves) == [BLANK]


def test_plots_that_come_later_have_the_colours_of_the_theme(curves):
    curves.recolour("#000000", "#fedcba")
    curves.show_progress([(1, 0.5)], [])
    assert curves.loss_plot.backgroundBrush().color().name() == "#fedcba"
