"""Memory that is free once layers are gone goes back to the system: glibc keeps what lies between what is in use."""

from __future__ import annotations

import threading
from typing import Any

from qtpy.QtCore import QTimer

from napari_niiv.reconstruction.allocator import trim

_SETTLED_MS = 1000  # from a removal until all that went with it is free
_waiting = False


def give_back_soon(event: Any = None) -> None:
    """Give back what was freed, 200 MB and more, once for all that goes within a second; a callback of removals.

    It is done on a thread, as it may take 100 ms.
    """
    global _waiting
    if not _waiting:
        _waiting = True
        QTimer.singleShot(_SETTLED_MS, _give_back)


def _give_back() -> None:
    global _waiting
    _waiting = False
    threading.Thread(target=trim, name="napari-niiv giving memory back").start()
