"""Closing napari in the middle of long work: a real window, and work that ends when the test says so."""

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QApplication, QWidget

from napari_niiv.plugin.common.closing import KEEP, STOP, ClosingQuestion, ask_before_closing


class Work(QObject):
    ended = Signal(str)
    keeps = "It keeps something."

    def __init__(self, what="export", parent=None):
        super().__init__(parent)
        self.what, self.stops = what, 0

    def stop(self):
        self.stops += 1


class Closings(QObject):
    """Counts the closings that get through to napari, and keeps the window open after all."""

    def __init__(self, window):
        super().__init__()
        self.count = 0
        window.installEventFilter(self)  # the one that comes last is asked first

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Close:
            self.count += 1
            event.ignore()
        return event.type() == QEvent.Type.Close


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.add_dock_widget(QWidget(), name="place")
    return viewer


@pytest.fixture
def closings(viewer):
    closings = Closings(window_of(viewer))
    yield closings
    window_of(viewer).removeEventFilter(closings)


def window_of(viewer):
    """By public ways: the window that a dock is in."""
    return viewer.window.dock_widgets["place"].window()


def question(viewer):
    found = window_of(viewer).findChild(ClosingQuestion)
    return None if found is None else found.box


def click(qtbot, viewer, text):
    box = question(viewer)
    button = next(b for b in box.buttons() if b.text().replace("&", "") == text)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_keep_it_running(viewer, closings, qtbot):
    window, work = window_of(viewer), Work()
    ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    box = question(viewer)
    assert (box.text(), box.informativeText()) == ("An export is running.", "It keeps something.")
    window.close()  # no second question
    assert question(viewer) is box
    click(qtbot, viewer, KEEP)
    assert question(viewer) is None
    window.close()
    qtbot.keyClick(question(viewer), Qt.Key.Key_Escape)
    assert (work.stops, question(viewer), closings.count) == (0, None, 0)


def test_stop_and_close_waits_for_the_end_of_all(viewer, closings, qtbot):
    window, works = window_of(viewer), [Work("export"), Work("training")]
    for work in works:
        ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    assert question(viewer).text() == "An export and a training are running."
    click(qtbot, viewer, STOP)
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
    click(qtbot, viewer, STOP)
    assert closings.count == 0
    window.close()
    assert (closings.count, question(viewer)) == (1, None)


def test_work_that_ends_while_it_is_asked(viewer, closings, qtbot):
    window, work = window_of(viewer), Work()
    ask_before_closing(work, viewer.window.dock_widgets["place"])
    window.close()
    work.ended.emit("")
    assert closings.count == 0
    click(qtbot, viewer, STOP)
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
