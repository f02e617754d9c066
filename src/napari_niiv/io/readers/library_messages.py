"""What libraries log while we open or read a file: collected, not printed, as problems reach the user in our words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_LOCK = threading.Lock()
_collectors: list[tuple[str, int, list[str]]] = []


def tifffile_messages() -> AbstractContextManager[list[str]]:
    """`messages_of` tifffile."""
    return messages_of("tifffile")


@contextmanager
def messages_of(logger: str) -> Iterator[list[str]]:
    """Nothing that a logger is given is printed in this block; what it is given in this thread is in the list."""
    messages: list[str] = []
    collector = (logger, threading.get_ident(), messages)
    with _LOCK:
        _collectors.append(collector)
        logging.getLogger(logger).addFilter(_collect)
    try:
        yield messages
    finally:
        with _LOCK:
            _collectors[:] = [each for each in _collectors if each is not collector]
            if not any(name == logger for name, _, _ in _collectors):
                logging.getLogger(logger).removeFilter(_collect)


def _collect(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    for logger, thread, messages in tuple(_collectors):
        if (record.name, record.thread) == (logger, thread):
            messages.append(text)
    return False
