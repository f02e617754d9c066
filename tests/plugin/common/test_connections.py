"""Callbacks that are disconnected together."""

import pytest

pytest.importorskip("napari")

from napari.utils.events import EventEmitter
from psygnal import SignalInstance
from qtpy.QtCore import QObject, Signal

from napari_niiv.plugin.common.connections import Connections


class Thing(QObject):
    changed = Signal()


@pytest.mark.parametrize("kind", ["napari", "psygnal", "qt"])
def test_all_kinds_of_events(kind, qapp):
    thing = Thing()
    event = {"napari": EventEmitter(type_name="changed"), "psygnal": SignalInstance(()), "qt": thing.changed}[kind]
    emit = event if kind == "napari" else event.emit
    connections, calls = Connections(), []

    def one(event=None):
        calls.append("one")

    def other(event=None):
        calls.append("other")

    connections.connect(one, event)
    connections.connect(other, event)
    emit()
    assert sorted(calls) == ["one", "other"]
    connections.disconnect()
    connections.disconnect()
    emit()
    assert len(calls) == 2


def test_options_are_the_events_own():
    event, calls = EventEmitter(type_name="changed"), []
    connections = Connections()
    connections.connect(lambda event: calls.append("first"), event)
    connections.connect(lambda event: calls.append("last"), event, position="last")
    event()
    assert calls == ["first", "last"]
