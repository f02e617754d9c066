from __future__ import annotations

import os
import subprocess
import sys

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


THREADS = """
import ctypes, threading
from napari_niiv.reconstruction.allocator import stay_compact

stay_compact()
together = threading.Barrier(8)

def work():
    together.wait(20)
    kept = [bytes(1000) for _ in range(1000)]
    together.wait(20)

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(allocator._MALLOPT is None, reason="glibc alone can be told to")
def test_threads_share_few_heaps() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("<heap nr=") <= 2


ARRAYS = """
import ctypes
import numpy as np
from napari_niiv.reconstruction.allocator import stay_compact

libc = ctypes.CDLL(None)
in_heap = lambda array: abs(array.ctypes.data - libc_break(0)) < 1 << 30
libc_break = libc.sbrk
libc_break.restype = ctypes.c_void_p

def place():
    for _ in range(3):
        np.ones(24 << 20, np.uint8)  # as it is freed, glibc's own thresholds grow
    return "heap" if in_heap(np.ones(20 << 20, np.uint8)) else "apart"

print(place())
stay_compact()
print(place())
"""


@pytest.mark.skipif(allocator._MALLOPT is None, reason="glibc alone can be told to")
def test_large_arrays_lie_outside_of_the_heaps() -> None:
    # dask has its workers, and all that is started after them, give back each array
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", ARRAYS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=own)
    assert done.stdout.split() == ["heap", "apart"]
