"""Open a volume from a file."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from napari_niiv.errors import VolumeError
from napari_niiv.io import tiff
from napari_niiv.io.spacing import Spacing
from napari_niiv.volume import Volume


def open_volume(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    voxel_size: tuple[float, float, float] | None = None,
) -> Volume:
    """Open a volume; voxels are read when they are looked at, where the format allows.

    Parameters
    ----------
    path : str or path
        A TIFF file (ImageJ and OME voxel sizes are understood) or a .npy file.
    axes : str, optional
        Correct the order of axes, such as "zyx" or "tczyx".
    voxel_size : tuple of float, optional
        Correct the voxel size (z, y, x).

    Returns
    -------
    Volume
        ``metadata["spacing_problem"]`` says what is wrong with the file's voxel size, if anything.

    Raises
    ------
    VolumeError
        If the file is missing, unreadable, truncated, or holds no volume.
    """
    source = Path(path).expanduser()
    if not source.exists():
        raise VolumeError(f"There is no file {str(source)!r}; check its name.")
    suffix = source.suffix.lower()
    spacing = Spacing()
    metadata: dict[str, Any] = {}
    if suffix in tiff.SUFFIXES:
        array, found, spacing, metadata = tiff.read_tiff(source)
    elif suffix == ".npy":
        array = _open_npy(source)
        found = "tczyx"[-array.ndim :] if array.ndim <= 5 else "?" * array.ndim
    else:
        raise VolumeError(f"{source.name} is of a kind that cannot be read; convert it to TIFF or .npy.")
    array, order = _in_order(array, (axes or found).lower(), source.name)
    if spacing.problem and voxel_size is None:
        metadata["spacing_problem"] = spacing.problem
    return Volume(
        array,
        order,
        voxel_size or spacing.voxel_size,
        spacing.unit,
        source.name.removesuffix(source.suffix).removesuffix(".ome"),
        metadata=MappingProxyType({**metadata, "path": str(source)}),
    )


def read_spacing(path: str | os.PathLike[str]) -> Spacing:
    """The voxel size a file gives, empty for kinds of files that give none.

    Raises
    ------
    VolumeError
        If the file is unreadable.
    """
    source = Path(path)
    if source.suffix.lower() in tiff.SUFFIXES and source.is_file():
        return tiff.tiff_spacing(source)
    return Spacing()


def _open_npy(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise VolumeError(
            f"{path.name} is not a readable .npy array ({error}); get the file anew."
        ) from error


def _in_order(array: Any, axes: str, name: str) -> tuple[Any, str]:
    """Axes moved to (t, c, z, y, x), those of length 1 beside z, y and x dropped."""
    if len(axes) != array.ndim:
        raise VolumeError(f"The axes {axes!r} do not fit {name}, whose shape is {tuple(array.shape)}.")
    if "s" in axes:
        raise VolumeError(f"{name} is an RGB picture; convert it to one intensity channel first.")
    if "z" not in axes:
        for other in "iq":  # a stack whose third axis has no name
            if axes.count(other) == 1:
                axes = axes.replace(other, "z")
                break
    keep = [i for i, a in enumerate(axes) if a in "zyx" or array.shape[i] != 1]
    if len(keep) < len(axes):
        array = array[tuple(slice(None) if i in keep else 0 for i in range(len(axes)))]
        axes = "".join(axes[i] for i in keep)
    if not {"z", "y", "x"} <= set(axes):
        raise VolumeError(
            f"{name} has the axes {axes.upper()!r} and no {', '.join(sorted({'z', 'y', 'x'} - set(axes))).upper()}; "
            "open a stack of slices, or name its axes in order, such as 'zyx'."
        )
    unknown = [a for a in axes if a not in "tczyx"]
    order = unknown + [a for a in "tczyx" if a in axes]
    if len(set(axes)) != len(axes) or len(unknown) > 1:
        raise VolumeError(
            f"The axes {axes!r} of {name} are not understood; name them in order, such as 'tczyx'."
        )
    array = array.transpose([axes.index(a) for a in order]) if order != list(axes) else array
    return array, "".join("t" if a not in "tczyx" and "t" not in axes else a for a in order)
