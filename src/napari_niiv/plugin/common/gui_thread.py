"""From other threads to the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Qt, Signal

_messenger: _Messenger | None = None


class _Messenger(QObject):
    """Carries actions; never destroyed: where an object goes while another thread emits its signal, Qt crashes."""

    posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        application = QCoreApplication.instance()
        if application is not None:
            self.moveToThread(application.thread())
        self.posted.connect(self._act, Qt.ConnectionType.QueuedConnection)

    def _act(self, action: Callable[[], Any]) -> None:
        action()


def prepare() -> None:
    """Make `on_gui_thread` ready; to be called on the GUI thread before others call that."""
    global _messenger
    _messenger = _messenger or _Messenger()


def on_gui_thread(action: Callable[[], Any]) -> None:
    """Have something done on the GUI thread, in the order of the calls; may be called on any thread."""
    if _messenger is None:
        raise RuntimeError("prepare comes first")
    _messenger.posted.emit(action)
