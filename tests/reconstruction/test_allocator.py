from __future__ import annotations

import psutil
import pytest

from napari_niiv.reconstruction import allocator


@pytest.mark.skipif(allocator._MALLOC_TRIM is None, reason="glibc alone can be asked to")
def test_freed_memory_goes_back_to_the_system() -> None:
    process = psutil.Process()
    pieces = [bytearray(60_000) for _ in range(2000)]  # too small to be given back one by one
    kept = pieces[-1]
    before = process.memory_info().rss
    del pieces
    allocator.trim()
    assert before - process.memory_info().rss > 80_000_000
    assert len(kept) == 60_000
