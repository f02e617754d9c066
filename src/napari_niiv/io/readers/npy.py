"""NumPy's .npy files, memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.stored_volume import StoredVolume, refusing, usual_axes


def read_npy(path: Path) -> StoredVolume:
    """Map a .npy file, which names neither axes nor voxel size.

    Raises
    ------
    VolumeError
        If the file is unreadable or truncated.
    """
    with refusing(path.name, ".npy array"):
        array = mapped(np.load(path, mmap_mode="r", allow_pickle=False))
    return StoredVolume(array, usual_axes(array.ndim))
