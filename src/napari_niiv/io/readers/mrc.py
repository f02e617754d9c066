"""MRC files and their kin (.mrc, .rec, .st, .map), memory-mapped."""

from __future__ import annotations

import warnings
from pathlib import Path

from napari_niiv.errors import VolumeError
from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, missing_extra, unreadable


def read_mrc(path: Path) -> StoredVolume:
    """Map an MRC file; voxel size and origin are in ångström, as the format says.

    Raises
    ------
    VolumeError
        If the file is unreadable or truncated, or mrcfile is missing.
    """
    try:
        import mrcfile
    except ModuleNotFoundError as error:
        raise missing_extra(path.name, "mrc", "MRC") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of older software, which are read all the same
            with mrcfile.mmap(path, mode="r", permissive=True) as file:
                array, header = file.data, file.header
                if array is None:
                    raise VolumeError(f"{path.name} is truncated or no MRC file; get the file anew.")
                array, size = mapped(array), file.voxel_size
            origin = (float(header.origin.z), float(header.origin.y), float(header.origin.x))
    except VolumeError:
        raise
    except Exception as error:  # mrcfile raises what NumPy and the system do
        raise unreadable(path.name, "MRC file", error) from error
    axes = "tzyx"[-array.ndim :]  # a stack of pictures (.st) counts as slices
    if array.ndim == 4 and array.shape[-1] in (3, 4) and int(header.mode) == 16:
        axes = "zyxs"
    sizes = [float(v) or None for v in (size.z, size.y, size.x)]  # a cell of no size says nothing
    return StoredVolume(array, axes, Spacing.of(sizes, ["angstrom"] * 3), {}, (), origin)
