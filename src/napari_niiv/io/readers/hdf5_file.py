"""HDF5 files as such, whatever the layout in them: opened, their datasets lazy, their attributes plain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.readers.chunks_there import absence
from napari_niiv.io.stored_volume import library, refusing

_MOST_COUNTED = 100_000  # chunks


@contextmanager
def opened_file(path: Path) -> Iterator[Any]:
    """An HDF5 file for reading; what its library refuses becomes one sentence.

    Raises
    ------
    VolumeError
        If h5py is missing or the file is damaged.
    """
    h5py = library("h5py", path.name, "hdf5", "HDF5")
    with refusing(path.name, "HDF5 file"), h5py.File(path, "r") as file:
        yield file


def lazy_dataset(path: Path, dataset: Any, dtype: Any = None) -> FileArray:
    """A dataset of an open HDF5 file as an array that opens the file anew where it is read.

    Parameters
    ----------
    path : Path
    dataset : h5py.Dataset
    dtype : dtype, optional
        What its voxels are cast to; its own type by default.

    Raises
    ------
    VolumeError
        If its voxels were never written, or are in other files that are missing; HDF5 reads them as blank.
    """
    _check_voxels(path, dataset)
    arguments = (str(path), dataset.name)
    return FileArray(_reopened, arguments, dataset.shape, dtype or dataset.dtype, dataset.chunks)


def missing_chunks(dataset: Any) -> str:
    """What to say of the chunks that were never written; empty if none is missing, or there are too many to count."""
    if dataset.chunks is None or dataset.is_virtual:
        return ""
    total = math.prod(-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if total > _MOST_COUNTED:
        return ""
    return absence(total - dataset.id.get_num_chunks(), total, total, dataset.fillvalue)


def _check_voxels(path: Path, dataset: Any) -> None:
    if dataset.is_virtual:
        names = {source.file_name for source in dataset.virtual_sources()} - {"."}
        if missing := sorted(name for name in names if not (path.parent / name).exists()):
            raise VolumeError(f"{path.name} lacks the files that hold its voxels ({', '.join(missing[:4])}); get them.")
    elif dataset.size and dataset.external is None and dataset.id.get_storage_size() == 0:
        raise VolumeError(f"{path.name} holds no voxels of {dataset.name}, only their description; get it anew.")


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of an HDF5 group or dataset, as Python's own types."""
    return {key: _python(value) for key, value in node.attrs.items()}


def _reopened(path: str, name: str) -> Any:
    import h5py

    return h5py.File(path, "r")[name]


def _python(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        return [_python(item) for item in value.tolist()] if value.ndim else _python(value.item())
    return value.item() if isinstance(value, np.generic) else value
