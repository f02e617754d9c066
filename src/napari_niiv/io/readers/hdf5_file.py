"""HDF5 files as such, whatever the layout in them: opened, their datasets lazy, their attributes plain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.readers.chunks_there import absence
from napari_niiv.io.readers.hdf5_elsewhere import check_links, check_sources
from napari_niiv.io.stored_volume import library, refusing

_MOST_COUNTED = 100_000  # chunks
_MOST_BYTES = 1 << 24  # of an attribute
_CHECKSUM = 4  # bytes


@contextmanager
def opened_file(path: Path) -> Iterator[Any]:
    """An HDF5 file for reading; what its library refuses becomes one sentence.

    Raises
    ------
    VolumeError
        If h5py is missing, the file is damaged, or it names files outside of its folder.
    """
    h5py = library("h5py", path.name, "hdf5", "HDF5")
    with refusing(path.name, "HDF5 file"), h5py.File(path, "r") as file:
        check_links(path, file)
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
        If its voxels were never written, or are in other files that are missing; HDF5 reads them as blank. If the file
        is too short.
    """
    path = Path(dataset.file.filename)  # another one, if it is linked
    _check_voxels(path, dataset)
    arguments = (str(path), dataset.name, bool(dataset.external))
    _check_chunks(path, dataset)
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
    check_sources(path, dataset)
    if dataset.size and not dataset.is_virtual and dataset.external is None and dataset.id.get_storage_size() == 0:
        raise VolumeError(f"{path.name} holds no voxels of {dataset.name}, only their description; get it anew.")


def _check_chunks(path: Path, dataset: Any) -> None:
    """Refuse a file that lacks parts of its chunks.

    HDF5 takes memory for what a chunk is said to need, and a checksum of less than it needs itself ends the process.
    """
    if dataset.chunks is None or dataset.is_virtual:
        return
    if not dataset.fletcher32 and dataset.id.get_num_chunks() > _MOST_COUNTED:
        return
    least, end = _CHECKSUM if dataset.fletcher32 else 0, path.stat().st_size

    def check(chunk: Any) -> bool | None:
        return None if least <= chunk.size <= end - chunk.byte_offset else True

    if dataset.id.chunk_iter(check):
        raise VolumeError(f"{path.name} is truncated or damaged: chunks of {dataset.name} are cut off; get it anew.")


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of an HDF5 group or dataset that are numbers and texts, as Python's own types."""
    attributes = {}
    for key in node.attrs:
        with suppress(Exception):  # of what is damaged, or of no use
            stored = node.attrs.get_id(key)
            if stored.get_type().get_class() in _plain_classes() and stored.get_storage_size() <= _MOST_BYTES:
                attributes[key] = _python(node.attrs[key])
    return attributes


def _plain_classes() -> tuple[int, ...]:
    from h5py import h5t

    return h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM


def _reopened(path: str, name: str, raw_files: bool) -> Any:
    import h5py

    file = h5py.File(path, "r")
    if not raw_files:
        return file[name]
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(b"${ORIGIN}")  # beside the file, not where the program was started
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def _python(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        return [_python(item) for item in value.tolist()] if value.ndim else _python(value.item())
    return value.item() if isinstance(value, np.generic) else value
