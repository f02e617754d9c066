"""MRC files and their kin (.mrc, .rec, .st, .map), memory-mapped."""

from __future__ import annotations

import warnings
from pathlib import Path

from napari_niiv.errors import VolumeError
from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, library, refusing


def read_mrc(path: Path) -> StoredVolume:
    """Map an MRC file; voxel size and origin are in ångström, as the format says.

    Raises
    ------
    VolumeError
        If the file is unreadable or truncated, or mrcfile is missing.
    """
    mrcfile = library("mrcfile", path.name, "mrc", "MRC")
    with refusing(path.name, "MRC file"), warnings.catch_warnings():
        # headers of older software are read all the same
        warnings.simplefilter("ignore")
        with mrcfile.mmap(path, mode="r", permissive=True) as file:
            array, header = file.data, file.header
            if array is None:
                raise VolumeError(f"{path.name} is truncated or no MRC file; get the file anew.")
            array, size = mapped(array), file.voxel_size
        origin = (float(header.origin.z), float(header.origin.y), float(header.origin.x))
    # a stack of pictures (.st) counts as slices
    axes = "tzyx"[-array.ndim :]
    if array.ndim == 4 and array.shape[-1] in (3, 4) and int(header.mode) == 16:
        axes = "zyxs"
    # a cell of no size means that nothing is known of it
    sizes = [float(v) or None for v in (size.z, size.y, size.x)]
    return StoredVolume(array, axes, Spacing.of(sizes, ["angstrom"] * 3), {}, (), origin)
