"""Open a volume from a file, a folder or a URL."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from napari_niiv.errors import DatasetChoice, VolumeError, printable
from napari_niiv.io.formats import Location, VolumePath, find_reader, locate
from napari_niiv.io.lazy_arrays import rearranged
from napari_niiv.io.links import check_links
from napari_niiv.io.spacing import Spacing, join_notes
from napari_niiv.io.stored_volume import StoredVolume, unsorted_axes
from napari_niiv.volume import Provenance, Volume

IN_MEMORY_BYTES = 2 << 30


def open_volume(
    path: VolumePath,
    *,
    axes: str | None = None,
    voxel_size: tuple[float, float, float] | None = None,
    unit: str | None = None,
    dataset: str | None = None,
    memory: int | None = None,
    empty: tuple[float, ...] | None = None,
    follow_links: bool = False,
) -> Volume:
    """Open a volume from a file, a folder or a URL; voxels are read when they are indexed, where the format allows.

    Parameters
    ----------
    path : str, path, or sequence of them
        A file (TIFF, the ``.companion.ome`` of a set of OME-TIFF files, HDF5, Imaris, MRC, NIfTI, .npy), a folder
        (zarr, OME-Zarr, N5, numbered slices), or the URL of a zarr or N5 (``https://``, ``s3://``, or another that
        fsspec knows); or the files of a stack's slices, in any order.
    axes : str, optional
        Correct the order of axes, such as "zyx" or "tczyx".
    voxel_size : tuple of float, optional
        Correct the voxel size (z, y, x).
    unit : str, optional
        Of `voxel_size`, such as "micrometer"; that of the file where it is not given.
    dataset : str, optional
        Which one, where there are several: of an HDF5 or N5 file, or which image of a TIFF, or image or array of a
        zarr.
    memory : int, optional
        Bytes of voxels up to which a compressed TIFF or NIfTI file is decoded at once; 2 GiB by default. A larger one
        is read piece by piece, slowly, which ``provenance.slow`` tells.
    empty : tuple of float, optional
        Values of voxels that hold no measurement, such as (0,); () if there are none. They are found by default.
    follow_links : bool
        Follow symbolic links that lead out of a folder; by default it is refused. The first 20,000 files of a folder
        are looked at, metadata first.

    Returns
    -------
    Volume
        Its ``provenance`` tells what is known of the file: ``spacing`` is the voxel size that the file gives, and
        ``spacing_problem`` what is wrong with it, if anything; ``stored_axes`` which axis became which.

    Raises
    ------
    DatasetChoice
        If there are several images and none was named; its ``datasets`` are their names, its ``descriptions`` their
        shapes and types.
    VolumeError
        If the file is missing, unreadable, truncated, or holds no volume, or its library is not installed.
    """
    location = locate(path)
    if not follow_links and Path(location.address).is_dir() and not location.files:
        check_links(Path(location.address))
    stored = _read(location, dataset)
    order, letters = _order(tuple(stored.array.shape), (axes or stored.axes).lower(), location.name)
    spacing, origin = _spacing_along(stored, axes.lower() if axes else stored.axes)
    array, slow = stored.array, ""
    if stored.decode is not None:
        if array.nbytes <= (IN_MEMORY_BYTES if memory is None else memory):
            array = stored.decode()
        else:
            slow = "it is compressed, and read piece by piece"
    by_axis = dict(zip(order, letters, strict=True))
    provenance = Provenance(
        location.address,
        dataset,
        stored_axes="".join(by_axis.get(i, "?") for i in range(len(stored.array.shape))),
        spacing=spacing,
        spacing_problem=spacing.problem if voxel_size is None else "",
        slow=slow,
        note=printable(join_notes(stored.note, spacing.note if voxel_size is None else "")),
    )
    return Volume(
        rearranged(array, order),
        letters,
        voxel_size or spacing.voxel_size,
        unit if unit is not None and voxel_size is not None else spacing.unit,
        location.title if dataset is None else f"{location.title}/{dataset.strip('/')}",
        origin,
        MappingProxyType(dict(stored.metadata)),
        tuple(rearranged(level, order) for level in stored.pyramid),
        provenance,
        empty=empty,
    )


def read_spacing(path: str | os.PathLike[str]) -> Spacing:
    """The voxel size a file gives, empty for kinds of files that give none.

    Raises
    ------
    VolumeError
        If the file is unreadable, or lacks one of the axes z, y, x.
    """
    from napari_niiv.io.readers import tiff

    try:
        location = locate(path)
        find_reader(location)
    except VolumeError:  # another reader knew what it is
        return Spacing()
    try:
        if location.is_file and location.suffix in tiff.SUFFIXES:
            return tiff.tiff_spacing(Path(location.address))
        stored = _read(location, None)
    except DatasetChoice:
        return Spacing()
    order = "".join(a for a, n in zip(stored.axes, stored.array.shape, strict=True) if n > 1 or a in "zyx")
    # files with x first are turned by other readers themselves
    if not set("zyx") <= set(order):
        raise unsorted_axes(location.name, stored.axes)
    unsorted = not order.endswith("zyx") and not order.startswith("xyz")
    return replace(stored.spacing, unsorted=order) if unsorted else stored.spacing


def _read(location: Location, dataset: str | None) -> StoredVolume:
    read, takes_dataset = find_reader(location)
    if not takes_dataset and dataset is not None:
        raise VolumeError(f"{location.name} holds one volume, not datasets; leave the dataset {dataset!r} out.")
    if takes_dataset:
        stored: StoredVolume = read(location.address, dataset)
    else:
        stored = read(location.files or Path(location.address))
    if stored.array.shape and min(stored.array.shape) < 1:
        raise VolumeError(f"{location.name} is empty: its shape is {tuple(stored.array.shape)}; get it anew.")
    return stored


def _spacing_along(stored: StoredVolume, axes: str) -> tuple[Spacing, tuple[float, float, float]]:
    """Voxel size and origin where the caller exchanged the names of z, y and x: they belong to the stored axes."""
    if not set("zyx") <= set(stored.axes) or not set("zyx") <= set(axes):
        return stored.spacing, stored.origin
    source = ["zyx".find(stored.axes[axes.index(a)]) for a in "zyx"]
    if sorted(source) != [0, 1, 2]:
        return stored.spacing, stored.origin
    z, y, x = source
    sizes, origin = stored.spacing.sizes, stored.origin
    spacing = replace(stored.spacing, sizes=(sizes[z], sizes[y], sizes[x]))
    return spacing, (origin[z], origin[y], origin[x])


def _order(shape: tuple[int, ...], axes: str, name: str) -> tuple[tuple[int, ...], str]:
    """Which stored axes a volume has, in the order (t, c, z, y, x), and their letters.

    Axes of length 1 are left out, but for z, y and x.
    """
    if len(axes) != len(shape):
        raise VolumeError(f"The axes {axes!r} do not fit {name}, whose shape is {shape}.")
    if axes == "syx":  # what many programs make of a stack of three or four slices
        raise VolumeError(
            f"{name} is an RGB picture of {shape[0]} planes; convert it to one intensity channel first, or, if these "
            "are slices, name its axes 'zyx'."
        )
    if "s" in axes:
        raise VolumeError(f"{name} is an RGB picture; convert it to one intensity channel first.")
    if "z" not in axes:
        # a stack whose third axis has no name
        for other in "iq":
            if axes.count(other) == 1:
                axes = axes.replace(other, "z")
                break
    present = [i for i, a in enumerate(axes) if a in "zyx" or shape[i] != 1]
    names = "".join(axes[i] for i in present)
    if not {"z", "y", "x"} <= set(names):
        raise VolumeError(
            f"{name} has the axes {names.upper()!r} and no {', '.join(sorted({'z', 'y', 'x'} - set(names))).upper()}; "
            "open a stack of slices, or name its axes in order, such as 'zyx'."
        )
    unknown = [a for a in names if a not in "tczyx"]
    order = unknown + [a for a in "tczyx" if a in names]
    if len(set(names)) != len(names) or len(unknown) > 1:
        raise VolumeError(f"The axes {names!r} of {name} are not understood; name them in order, such as 'tczyx'.")
    letters = "".join("t" if a not in "tczyx" and "t" not in names else a for a in order)
    return tuple(present[names.index(a)] for a in order), letters
