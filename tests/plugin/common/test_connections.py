"""What is connected to events, and what is done when Qt objects go."""

from __future__ import annotations

import gc

import pytest

pytest.importorskip("napari")

from qtpy.QtWidgets import QWidget

from napari_niiv.plugin.common import connections
from napari_niiv.plugin.common.connections import when_destroyed


class Holder:
    """Holds a widget which, connected to what it does, holds it: garbage together."""

    def __init__(self, done: list[str]) -> None:
        self.widget = QWidget()
        when_destroyed(self.widget, lambda: done.append(type(self.widget).__name__))


def test_what_is_garbage_with_its_widget_is_done_once_qt_destroys_that(qapp):
    """Without being held, it is taken apart first, and the process crashes."""
    done: list[str] = []
    before = len(connections._waiting)
    for _ in range(20):
        Holder(done).widget.deleteLater()
    gc.collect()
    assert done == []
    qapp.sendPostedEvents(None, 52)  # deferred deletions
    assert done == ["QWidget"] * 20
    assert len(connections._waiting) <= before
