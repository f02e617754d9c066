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


def stay_compact() -> None:
    """Have a process that lives long, as that of a window, allocate from few heaps, with large arrays outside of them.

    glibc would give up to eight heaps a core to threads, and each keeps what its threads once needed: a window starts
    many threads that live briefly and need much. And once arrays of up to 32 MiB were freed, it would put their like
    into the heaps, where whatever small is made meanwhile comes to lie in the gaps between them and keeps their pages.
    """
    if _MALLOPT is not None:
        _MALLOPT(_M_ARENA_MAX, _ARENAS)
    _keep_below(_LARGE)


def keep_freed() -> None:
    """Let glibc keep what is freed for the next array, as it does by default.

    dask tells its workers to give back each array. A page that is got anew is filled with zeros first: that took half
    of the time of an export on a GPU.
    """
    _keep_below(_MOST_KEPT)


def _keep_below(size: int) -> None:
    """Have arrays below a size lie in the heaps, which keep twice as much at their ends."""
    if _MALLOPT is not None:
        _MALLOPT(_M_MMAP_THRESHOLD, size)
        _MALLOPT(_M_TRIM_THRESHOLD, 2 * size)


_GLIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_MALLOC_TRIM, _MALLOPT = getattr(_GLIBC, "malloc_trim", None), getattr(_GLIBC, "mallopt", None)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_ARENAS = 2
_LARGE = 8 << 20  # bytes of an array
_MOST_KEPT = 32 << 20  # what glibc's own thresholds grow to
