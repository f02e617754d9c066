"""A GPU for each worker of a computer, whatever the workers are called and whoever started them."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

import torch


@functools.cache
def own_gpu(number: int) -> torch.device:
    """A GPU that no other process has claimed so; it is this process' until that ends.

    The claim is a lock on a file, named after the card: dask-cuda and batch systems show each worker the cards in
    another order, or just some of them, and a worker that replaces a dead one may have any name.

    Parameters
    ----------
    number : int
        Chooses among them where all are claimed, or the system has no such locks.
    """
    count = torch.cuda.device_count()
    for index in range(count):
        uuid = getattr(torch.cuda.get_device_properties(index), "uuid", index)
        if claim(Path(tempfile.gettempdir(), f"napari-niiv-{uuid}.lock")):
            return torch.device("cuda", index)
    return torch.device("cuda", number % count)


def claim(path: Path) -> bool:
    """Lock a file for the rest of this process; whether nobody else has."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        handle = os.open(path, os.O_RDONLY if path.exists() else os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    return True
