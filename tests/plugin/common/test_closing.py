"""Closing napari in the middle of long work: a real window, and work that ends when the test says so."""

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QApplication, QWidget

from napari_niiv.plugin.common.closing import KEEP, STOP, ask_before_closing
from tests.plugin.conftest import click_answer, closing_question


class Work(QObject):
    ended = Signal(str)
    keeps = "It keeps something."

    def __init__(self, what="export", parent=None):
        super().__init__(parent)
        self.what, self.stops = what, 0

    def stop(self):
        self.stops += 1


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.add_dock_widget(QWidget(), name="place")
    return viewer


@pytest.fixture
def closings(viewer, hold_open):
    return hold_open(window_of(viewer))


def window_of(viewer):
    """By public ways: the window that a dock is in."""
    return viewer.window.dock_widgets["place"].window()


def test_keep_it_running(viewer, closings, qtbot):
    window, work = window_of(viewer), Work()
    ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    box = closing_question(window)
    assert (box.text(), box.informativeText()) == ("An export is running.", "It keeps something.")
    window.close()  # no second question
    assert closing_question(window) is box
    click_answer(qtbot, window, KEEP)
    assert closing_question(window) is None
    window.close()
    qtbot.keyClick(closing_question(window), Qt.Key.Key_Escape)
    assert (work.stops, closing_question(window), closings.count) == (0, None, 0)


def test_stop_and_close_waits_for_the_end_of_all(viewer, closings, qtbot):
    window, works = window_of(viewer), [Work("export"), Work("training")]
    for work in works:
        ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    assert closing_question(window).text() == "An export and a training are running."
    click_answer(qtbot, window, STOP)
    assert [work.stops for work in works] == [1, 1]
    works[0].ended.emit("")
    QApplication.processEvents()
    assert closings.count == 0
    works[1].ended.emit("")
    qtbot.waitUntil(lambda: closings.count == 1)


def test_who_does_not_want_to_wait_closes_again(viewer, closings, qtbot):
    window, work = window_of(viewer), Work()
    ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    click_answer(qtbot, window, STOP)
    assert closings.count == 0
    window.close()
    assert (closings.count, closing_question(window)) == (1, None)


def test_work_that_ends_while_it_is_asked(viewer, closings, qtbot):
    window, work = window_of(viewer), Work()
    ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    work.ended.emit("")
    assert closings.count == 0
    click_answer(qtbot, window, STOP)
    qtbot.waitUntil(lambda: closings.count == 1)
    assert work.stops == 0


def test_each_window_asks_of_its_own_work_and_only_while_it_runs(make_napari_viewer, viewer, closings):
    other, work = make_napari_viewer(show=True), Work()
    other.window.add_dock_widget(QWidget(), name="place")
    ask_before_closing(work, other.window.dock_widgets["place"])
    window_of(viewer).close()
    assert closings.count == 1
    ask_before_closing(work, viewer.window.dock_widgets["place"])
    work.ended.emit("")
    window_of(viewer).close()
    assert closings.count == 2
    parent = QObject()
    ask_before_closing(Work(parent=parent), viewer.window.dock_widgets["place"])
    parent.deleteLater()
    QApplication.sendPostedEvents(parent, QEvent.Type.DeferredDelete)
    window_of(viewer).close()
    assert closings.count == 3


@pytest.mark.parametrize("show", [True, False])
def test_a_script_is_not_asked(make_napari_viewer, show):
    viewer = make_napari_viewer(show=show)
    viewer.window.add_dock_widget(QWidget(), name="place")
    window = window_of(viewer)
    ask_before_closing(Work(), viewer.window.dock_widgets["place"])
    viewer.close()
    assert not window.isVisible()
    ask_before_closing(Work(), QWidget())  # in no viewer's window
