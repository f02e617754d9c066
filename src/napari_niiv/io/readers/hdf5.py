"""HDF5 files: plain ones (ilastik, Fiji's plugin, CARE …), Imaris and BigDataViewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.readers import bdv, imaris
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.readers.hdf5_file import attributes_of, lazy_dataset, missing_chunks, opened_file
from napari_niiv.io.stored_volume import StoredVolume, usual_axes


def read_hdf5(location: str, dataset: str | None = None) -> StoredVolume:
    """Open a dataset of an HDF5 file, lazily; Imaris' and BigDataViewer's with channels, times and pyramid.

    Raises
    ------
    DatasetChoice
        If there are several of three or more dimensions, and none was named.
    VolumeError
        If there is none, the file is no readable HDF5, or h5py is missing.
    """
    path = Path(location)
    with opened_file(path) as file:
        if dataset is None and imaris.is_imaris(file):
            return imaris.read_imaris(path, file)
        if bdv.is_bdv(file) and (dataset is None or dataset.strip("/") in bdv.setups(file)):
            return bdv.read_bdv(path, file, dataset)
        return _plain(path, file, dataset)


def _plain(path: Path, file: Any, dataset: str | None) -> StoredVolume:
    import h5py

    if dataset is None:
        images = _images(file)
        if not images:
            raise VolumeError(f"{path.name} holds no dataset of three or more dimensions; choose another file.")
        if len(images) > 1:
            raise choice(path.name, images)
        dataset = images[0].name
    array = file.get(dataset)
    if not isinstance(array, h5py.Dataset):
        names = ", ".join(image.name for image in _images(file)[:12])
        raise VolumeError(f"{path.name} holds no dataset {dataset!r}, but {names or 'none'}; give one of these.")
    attributes = attributes_of(array)
    if any(labels := [dim.label for dim in array.dims]):
        attributes.setdefault("DIMENSION_LABELS", labels)
    axes = named_axes(attributes, array.ndim) or usual_axes(array.ndim)
    spacing, origin = spacing_of(attributes, axes)
    return StoredVolume(lazy_dataset(path, array), axes, spacing, origin=origin, note=missing_chunks(array))


def _images(file: Any) -> list[StoredImage]:
    import h5py

    images: list[StoredImage] = []

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 3:
            images.append(StoredImage.of(name, node))

    file.visititems(collect)
    return images
