"""glibc's allocator: what it gives back to the system, and what it keeps."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Give the system back what was freed; takes some milliseconds.

    Pictures come in ever other sizes, between which glibc is left with more and more gaps that it keeps.
    """
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)


def share_arenas() -> None:
    """Have all threads allocate from few heaps, where glibc would give up to eight a core to threads.

    Each heap keeps what its threads once needed. A window starts many threads that live briefly and need much.
    """
    if _MALLOPT is not None:
        _MALLOPT(_M_ARENA_MAX, _ARENAS)


def keep_freed() -> None:
    """Let glibc keep what is freed for the next array, as it does by default.

    dask tells its workers to give back each array. A page that is got anew is filled with zeros first: that took half
    of the time of an export on a GPU.
    """
    if _MALLOPT is not None:
        _MALLOPT(_M_MMAP_THRESHOLD, _MOST_KEPT)
        _MALLOPT(_M_TRIM_THRESHOLD, 2 * _MOST_KEPT)


_GLIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_MALLOC_TRIM, _MALLOPT = getattr(_GLIBC, "malloc_trim", None), getattr(_GLIBC, "mallopt", None)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_ARENAS = 2
_MOST_KEPT = 32 << 20  # bytes of an array: what glibc's own thresholds grow to
