"""HDF5 files: plain ones (ilastik, Fiji's plugin, CARE …), Imaris and BigDataViewer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.stored_volume import StoredVolume, missing_extra, unreadable, usual_axes


def read_hdf5(location: str, dataset: str | None = None) -> StoredVolume:
    """Open a dataset of an HDF5 file, lazily; Imaris' and BigDataViewer's with channels, times and pyramid.

    Raises
    ------
    DatasetChoice
        If there are several of three or more dimensions, and none was named.
    VolumeError
        If there is none, the file is no readable HDF5, or h5py is missing.
    """
    from napari_niiv.io.readers import bdv, imaris

    path = Path(location)
    with opened_file(path) as file:
        if dataset is None and imaris.is_imaris(file):
            return imaris.read_imaris(path, file)
        if bdv.is_bdv(file) and (dataset is None or dataset.strip("/") in bdv.setups(file)):
            return bdv.read_bdv(path, file, dataset)
        return _plain(path, file, dataset)


@contextmanager
def opened_file(path: Path) -> Iterator[Any]:
    """An HDF5 file for reading; what its library refuses becomes one sentence.

    Raises
    ------
    VolumeError
        If h5py is missing or the file is damaged.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise missing_extra(path.name, "hdf5", "HDF5") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except VolumeError:
        raise
    except Exception as error:  # h5py turns HDF5's errors into half a dozen types
        raise unreadable(path.name, "HDF5 file", error) from error


def lazy_dataset(path: Path, dataset: Any, dtype: Any = None) -> FileArray:
    """A dataset of an open file as an array that opens the file anew where it is read."""
    where = (str(path), dataset.name)
    return FileArray(_reopened, where, dataset.shape, dtype or dataset.dtype, dataset.chunks)


def attributes_of(thing: Any) -> dict[str, Any]:
    """Attributes as Python's own types."""
    return {key: _python(value) for key, value in thing.attrs.items()}


def _reopened(path: str, name: str) -> Any:
    import h5py

    return h5py.File(path, "r")[name]


def _plain(path: Path, file: Any, dataset: str | None) -> StoredVolume:
    import h5py

    if dataset is None:
        names = _candidates(file)
        if not names:
            raise VolumeError(
                f"{path.name} holds no dataset of three or more dimensions; choose another file."
            )
        if len(names) > 1:
            raise DatasetChoice(path.name, names)
        dataset = names[0]
    found = file.get(dataset)
    if not isinstance(found, h5py.Dataset):
        raise VolumeError(
            f"{path.name} holds no dataset {dataset!r}, but {', '.join(_candidates(file)[:12]) or 'none'}; "
            "give one of these."
        )
    attributes = attributes_of(found)
    if any(labels := [dim.label for dim in found.dims]):
        attributes.setdefault("DIMENSION_LABELS", labels)
    axes = named_axes(attributes, found.ndim) or usual_axes(found.ndim)
    spacing, origin = spacing_of(attributes, axes)
    return StoredVolume(lazy_dataset(path, found), axes, spacing, origin=origin)


def _candidates(file: Any) -> list[str]:
    import h5py

    names: list[str] = []

    def note(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and thing.ndim >= 3:
            names.append(name)

    file.visititems(note)
    return names


def _python(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        return [_python(item) for item in value.tolist()] if value.ndim else _python(value.item())
    return value.item() if isinstance(value, np.generic) else value
