"""What is asked when napari's window is closed in the middle of long work, such as an export or a training."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_niiv.plugin.napari_compat import closed_by_script

STOP, KEEP = "Stop and close", "Keep it running"


class Work(Protocol):
    """Work that can be stopped, as `EventWorker` is.

    Attributes
    ----------
    what : str
        Its name, such as "export".
    keeps : str
        A sentence: what is kept of it when it is stopped.
    ended : Signal
        Tells that it does no more.
    """

    what: str
    keeps: str
    ended: Any

    def stop(self) -> None:
        """Have it end."""


def ask_before_closing(work: Work, place: QObject | None) -> None:
    """While some work runs, ask the user who closes the window that it is part of.

    Scripts that close a viewer are not asked: the work is stopped.

    Parameters
    ----------
    work : Work
    place : QObject or None
        A widget somewhere in the window; in none, nothing is asked.
    """
    if (window := _window_of(place)) is not None:
        questions = window.findChildren(ClosingQuestion, options=Qt.FindChildOption.FindDirectChildrenOnly)
        question = next(iter(questions), None)
        (question or ClosingQuestion(window)).watch(work)


def _window_of(place: QObject | None) -> QMainWindow | None:
    while place is not None:
        if isinstance(place, QMainWindow):
            return place
        place = place.parent()
    return None


class ClosingQuestion(QObject):
    """Keeps a window open until the user has said what becomes of the work that runs, and that has ended.

    The question comes before napari's own, which is about closing by mistake, and does not wait: napari goes on.

    Parameters
    ----------
    window : QMainWindow

    Attributes
    ----------
    box : QMessageBox or None
        The question, while it is on display.
    """

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._running: list[Work] = []
        self._closing = False  # as soon as all has ended
        self.box: QMessageBox | None = None
        window.installEventFilter(self)

    def watch(self, work: Work) -> None:
        """Ask as long as this work runs."""
        self._running.append(work)
        self._closing = False
        work.ended.connect(lambda _: self._ended(work))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Hold a closing back; a second one, while the work ends, goes through."""
        if event is None or event.type() != QEvent.Type.Close or watched is not self._window:
            return False
        # what went with its widget is stopped already
        self._running = [work for work in self._running if isalive(work)]  # type: ignore[no-untyped-call]
        if not self._running or self._closing or closed_by_script(self._window):
            return False
        event.ignore()
        self._ask()
        return True

    def _ask(self) -> None:
        if self.box is not None:
            self.box.raise_()
            return
        self.box = box = _question(self._running, self._window)
        stop = box.addButton(STOP, QMessageBox.ButtonRole.DestructiveRole)
        keep = box.addButton(KEEP, QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.setEscapeButton(keep)
        box.finished.connect(lambda _: self._answered(box.clickedButton() is stop))
        box.open()
        box.raise_()  # an export's window may lie over it
        box.activateWindow()

    def _answered(self, stopping: bool) -> None:
        box, self.box = self.box, None
        if box is not None:
            box.deleteLater()
        if not stopping:
            return
        self._closing = True
        for work in list(self._running):
            work.stop()
        self._close_if_idle()

    def _ended(self, work: Work) -> None:
        self._running.remove(work)
        if self._closing:
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._running:
            QTimer.singleShot(0, self._close)  # others hear of the end first

    def _close(self) -> None:
        if self._closing and not self._running:
            self._closing = False
            with contextlib.suppress(RuntimeError):  # it is closed already
                QWidget.close(self._window)  # napari's own `close` would forget whether all of napari was to end


def _question(works: list[Work], window: QMainWindow) -> QMessageBox:
    names = [f"{'an' if work.what[0] in 'aeiou' else 'a'} {work.what}" for work in works]
    running = f"{' and '.join(names)} {'is' if len(works) == 1 else 'are'} running."
    box = QMessageBox(window)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close napari?")
    box.setText(running[:1].upper() + running[1:])
    box.setInformativeText(" ".join(dict.fromkeys(work.keeps for work in works)))
    return box
