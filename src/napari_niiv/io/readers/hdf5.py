"""HDF5 files: plain ones (ilastik, Fiji's plugin, CARE …), Imaris and BigDataViewer."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.readers import bdv, imaris
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.readers.hdf5_elsewhere import linked_elsewhere
from napari_niiv.io.readers.hdf5_file import attributes_of, lazy_dataset, missing_chunks, opened_file
from napari_niiv.io.readers.luxendo import level_names, levels_of, luxendo_spacing
from napari_niiv.io.spacing import agreed
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, usual_axes


def read_hdf5(location: str, dataset: str | None = None, xml: Path | None = None) -> StoredVolume:
    """Open a dataset of an HDF5 file, lazily; Imaris', BigDataViewer's and Luxendo's with their pyramid.

    Parameters
    ----------
    location : str
    dataset : str, optional
    xml : Path, optional
        BigDataViewer's, where it has another name than the file.

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
            return bdv.read_bdv(path, file, dataset, xml)
        return _plain(path, file, dataset)


def _plain(path: Path, file: Any, dataset: str | None) -> StoredVolume:
    import h5py

    if dataset is None:
        images = _images(file)
        levels = level_names([image.name for image in images])
        images = [image for image in images if image.name not in levels]
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
    axes = named_axes(attributes, array.ndim) or usual_axes(array.ndim)
    spacing, origin = spacing_of(attributes, axes)
    if spacing.problem and "_" not in dataset:
        spacing = agreed([("attributes", spacing), ("metadata", luxendo_spacing(file))])
    pyramid = _pyramid(path, file, dataset, axes)
    return StoredVolume(lazy_dataset(path, array), axes, spacing, {}, pyramid, origin, note=missing_chunks(array))


def _pyramid(path: Path, file: Any, dataset: str, axes: str) -> tuple[FileArray, ...]:
    fine = file[dataset]
    coarser = [file[name] for name in levels_of(dataset, file)] if axes.endswith("zyx") else []
    levels = []
    for level in coarser:
        same = level.ndim == fine.ndim and level.shape[:-3] == fine.shape[:-3]
        if same and covers_whole(fine.shape[-3:], level.shape[-3:]):
            with suppress(VolumeError):  # of a level without voxels
                levels.append(lazy_dataset(path, level))
    return tuple(levels)


def _images(file: Any) -> list[StoredImage]:
    import h5py

    images: list[StoredImage] = []

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 3:
            attributes = attributes_of(node)
            axes = named_axes(attributes, node.ndim) or usual_axes(node.ndim)
            images.append(StoredImage.of(name, node, spacing_of(attributes, axes)[0]))

    file.visititems(collect)
    # which leaves out what is in other files
    for link in linked_elsewhere(file):
        node = file.get(link)
        collect(link, node)
        if isinstance(node, h5py.Group):
            node.visititems(lambda name, below, link=link: collect(f"{link}/{name}", below))
    return images
