"""What tifffile logs while we open or read a file: collected, not printed, as problems reach the user in our words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_collectors: list[tuple[int, list[str]]] = []


@contextmanager
def tifffile_messages() -> Iterator[list[str]]:
    """Nothing that tifffile logs is printed in this block; what it logs in this thread is in the list."""
    logger = logging.getLogger("tifffile")
    messages: list[str] = []
    collector = (threading.get_ident(), messages)
    with _LOCK:
        _collectors.append(collector)
        logger.addFilter(_collect)
    try:
        yield messages
    finally:
        with _LOCK:
            _collectors[:] = [each for each in _collectors if each is not collector]
            if not _collectors:
                logger.removeFilter(_collect)


def _collect(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    for thread, messages in tuple(_collectors):
        if record.thread == thread:
            messages.append(text)
    return False
