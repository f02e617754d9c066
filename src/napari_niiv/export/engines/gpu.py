"""A GPU for each worker of a computer, whatever the workers are called and whoever started them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from filelock import BaseFileLock

from napari_niiv.file_locks import LockedError, lock, private_folder

# locks of the GPUs that this process has claimed, held until it ends
_CLAIMS: list[BaseFileLock] = []


@functools.cache
def claim_gpu(number: int) -> torch.device:
    """A GPU that no other process of this user has claimed so; it is this process' until that ends.

    The claim is a lock on a file, named after the card: dask-cuda and batch systems show each worker the cards in
    another order, or just some of them, and a worker that replaces a dead one may have any name.

    Parameters
    ----------
    number : int
        Chooses among them where all are claimed, or the system has no such locks.
    """
    count = torch.cuda.device_count()
    folder = private_folder(Path(tempfile.gettempdir()))
    for index in range(count):
        uuid = getattr(torch.cuda.get_device_properties(index), "uuid", index)
        if folder is not None and claim(folder / f"{uuid}.lock"):
            return torch.device("cuda", index)
    return torch.device("cuda", number % count)


def claim(path: Path) -> bool:
    """Lock a file for the rest of this process; whether nobody else has."""
    try:
        claimed = lock(path)
    except LockedError:
        return False
    if claimed is None:
        return False
    _CLAIMS.append(claimed)
    return True
