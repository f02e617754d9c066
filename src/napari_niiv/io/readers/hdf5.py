"""HDF5 files: plain ones (ilastik, Fiji's plugin, CARE …), Imaris and BigDataViewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.readers import bdv, imaris
from napari_niiv.io.readers.array_attributes import named_axes, spacing_of
from napari_niiv.io.readers.hdf5_file import attributes_of, lazy_dataset, opened_file
from napari_niiv.io.readers.luxendo import levels_of, luxendo_spacing, without_levels
from napari_niiv.io.spacing import agreed
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, usual_axes


def read_hdf5(location: str, dataset: str | None = None) -> StoredVolume:
    """Open a dataset of an HDF5 file, lazily; Imaris', BigDataViewer's and Luxendo's with their pyramid.

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
        names = without_levels(_candidates(file))
        if not names:
            raise VolumeError(f"{path.name} holds no dataset of three or more dimensions; choose another file.")
        if len(names) > 1:
            raise DatasetChoice(path.name, names)
        dataset = names[0]
    array = file.get(dataset)
    if not isinstance(array, h5py.Dataset):
        raise VolumeError(
            f"{path.name} holds no dataset {dataset!r}, but {', '.join(_candidates(file)[:12]) or 'none'}; "
            "give one of these."
        )
    attributes = attributes_of(array)
    if any(labels := [dim.label for dim in array.dims]):
        attributes.setdefault("DIMENSION_LABELS", labels)
    axes = named_axes(attributes, array.ndim) or usual_axes(array.ndim)
    spacing, origin = spacing_of(attributes, axes)
    if spacing.problem and "_" not in dataset:
        spacing = agreed([("attributes", spacing), ("metadata", luxendo_spacing(file))])
    return StoredVolume(lazy_dataset(path, array), axes, spacing, {}, _pyramid(path, file, dataset, axes), origin)


def _pyramid(path: Path, file: Any, dataset: str, axes: str) -> tuple[FileArray, ...]:
    fine = file[dataset]
    coarser = [file[name] for name in levels_of(dataset, file)] if axes.endswith("zyx") else []
    return tuple(
        lazy_dataset(path, level)
        for level in coarser
        if level.ndim == fine.ndim
        and level.shape[:-3] == fine.shape[:-3]
        and covers_whole(fine.shape[-3:], level.shape[-3:])
    )


def _candidates(file: Any) -> list[str]:
    import h5py

    names: list[str] = []

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 3:
            names.append(name)

    file.visititems(collect)
    return names
