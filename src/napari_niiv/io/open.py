"""Open a volume from a file, a folder or a URL."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.formats import Place, find_reader, place_of
from napari_niiv.io.lazy_arrays import rearranged
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume
from napari_niiv.volume import Volume

IN_MEMORY_BYTES = 2 << 30


def open_volume(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    voxel_size: tuple[float, float, float] | None = None,
    unit: str | None = None,
    dataset: str | None = None,
    memory: int | None = None,
) -> Volume:
    """Open a volume; voxels are read when they are looked at, where the format allows.

    Parameters
    ----------
    path : str or path
        A file (TIFF, HDF5, Imaris, MRC, NIfTI, .npy), a folder (zarr, OME-Zarr, N5, numbered slices), or the URL of
        a zarr or N5 (``https://``, ``s3://``, or another that fsspec knows).
    axes : str, optional
        Correct the order of axes, such as "zyx" or "tczyx".
    voxel_size : tuple of float, optional
        Correct the voxel size (z, y, x).
    unit : str, optional
        Of `voxel_size`, such as "micrometer"; that of the file where it is not given.
    dataset : str, optional
        Which one, where there are several: of an HDF5 or N5 file, or which image or array of a zarr.
    memory : int, optional
        Bytes of voxels up to which a compressed TIFF or NIfTI file is decoded at once; 2 GiB by default. A larger one
        is read piece by piece, slowly, which ``metadata["slow"]`` tells.

    Returns
    -------
    Volume
        ``metadata["spacing_problem"]`` says what is wrong with the file's voxel size, if anything, and
        ``metadata["spacing"]`` what it says; ``metadata["note"]`` what else is remarkable.
        ``metadata["stored_axes"]`` tells which axis of the file became which, "?" for those left out: what `axes` would
        have to be.

    Raises
    ------
    DatasetChoice
        If there are several datasets and none was named; its ``datasets`` are their names.
    VolumeError
        If the file is missing, unreadable, truncated, or holds no volume, or its library is not installed.
    """
    place = place_of(path)
    opened = _read(place, dataset)
    order, found = _order(tuple(opened.array.shape), (axes or opened.axes).lower(), place.name)
    spacing, origin = _renamed(opened, axes.lower() if axes else opened.axes)
    array, metadata = opened.array, dict(opened.metadata)
    if opened.decode is not None:
        if array.nbytes <= (IN_MEMORY_BYTES if memory is None else memory):
            array = opened.decode()
        else:
            metadata["slow"] = "it is compressed, and read piece by piece"
    if spacing.problem and voxel_size is None:
        metadata["spacing_problem"], metadata["spacing"] = spacing.problem, spacing
    named = dict(zip(order, found, strict=True))
    metadata["stored_axes"] = "".join(named.get(i, "?") for i in range(len(opened.array.shape)))
    if dataset is not None:
        metadata["dataset"] = dataset
    return Volume(
        rearranged(array, order),
        found,
        voxel_size or spacing.voxel_size,
        unit if unit is not None and voxel_size is not None else spacing.unit,
        place.title if dataset is None else f"{place.title}/{dataset.strip('/')}",
        origin,
        MappingProxyType({**metadata, "path": place.location}),
        tuple(rearranged(level, order) for level in opened.pyramid),
    )


def read_spacing(path: str | os.PathLike[str]) -> Spacing:
    """The voxel size a file gives, empty for kinds of files that give none.

    Raises
    ------
    VolumeError
        If the file is unreadable, or its axes are not z, y, x.
    """
    from napari_niiv.io.readers import tiff

    try:
        place = place_of(path)
        find_reader(place)
    except VolumeError:  # another reader knew what it is
        return Spacing()
    if place.is_file and place.suffix in tiff.SUFFIXES:
        return tiff.tiff_spacing(Path(place.location))
    try:
        opened = _read(place, None)
    except DatasetChoice:
        return Spacing()
    order = "".join(a for a, n in zip(opened.axes, opened.array.shape, strict=True) if n > 1 or a in "zyx")
    if not order.endswith("zyx") and not order.startswith(
        "xyz"
    ):  # x first: other readers turn that themselves
        raise VolumeError(
            f"{place.name} stores its axes as {opened.axes.upper()}; drop the file on this widget, which sorts them."
        )
    return opened.spacing


def _read(place: Place, dataset: str | None) -> StoredVolume:
    read, takes_dataset = find_reader(place)
    if not takes_dataset and dataset is not None:
        raise VolumeError(f"{place.name} holds one volume, not datasets; leave the dataset {dataset!r} out.")
    opened: StoredVolume = read(place.location, dataset) if takes_dataset else read(Path(place.location))
    return opened


def _renamed(opened: StoredVolume, axes: str) -> tuple[Spacing, tuple[float, float, float]]:
    """Voxel size and origin where the caller exchanged the names of z, y and x: they belong to the stored axes."""
    if not set("zyx") <= set(opened.axes) or not set("zyx") <= set(axes):
        return opened.spacing, opened.origin
    source = ["zyx".find(opened.axes[axes.index(a)]) for a in "zyx"]
    if sorted(source) != [0, 1, 2]:
        return opened.spacing, opened.origin
    z, y, x = source
    sizes, origin = opened.spacing.sizes, opened.origin
    spacing = Spacing((sizes[z], sizes[y], sizes[x]), opened.spacing.unit)
    return spacing, (origin[z], origin[y], origin[x])


def _order(shape: tuple[int, ...], axes: str, name: str) -> tuple[tuple[int, ...], str]:
    """The stored axes in the order (t, c, z, y, x), those of length 1 beside z, y and x left out; and their names."""
    if len(axes) != len(shape):
        raise VolumeError(f"The axes {axes!r} do not fit {name}, whose shape is {shape}.")
    if "s" in axes:
        raise VolumeError(f"{name} is an RGB picture; convert it to one intensity channel first.")
    if "z" not in axes:
        for other in "iq":  # a stack whose third axis has no name
            if axes.count(other) == 1:
                axes = axes.replace(other, "z")
                break
    kept = [i for i, a in enumerate(axes) if a in "zyx" or shape[i] != 1]
    names = "".join(axes[i] for i in kept)
    if not {"z", "y", "x"} <= set(names):
        raise VolumeError(
            f"{name} has the axes {names.upper()!r} and no {', '.join(sorted({'z', 'y', 'x'} - set(names))).upper()}; "
            "open a stack of slices, or name its axes in order, such as 'zyx'."
        )
    unknown = [a for a in names if a not in "tczyx"]
    order = unknown + [a for a in "tczyx" if a in names]
    if len(set(names)) != len(names) or len(unknown) > 1:
        raise VolumeError(
            f"The axes {names!r} of {name} are not understood; name them in order, such as 'tczyx'."
        )
    found = "".join("t" if a not in "tczyx" and "t" not in names else a for a in order)
    return tuple(kept[names.index(a)] for a in order), found
