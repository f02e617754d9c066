"""Which reader opens what: by the suffix of a file, by what lies in a folder, by the end of a URL."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from napari_niiv.errors import VolumeError

# module, function, whether it takes a dataset; modules are imported when they are needed
_TIFF = ("tiff", "read_tiff", False)
_NPY = ("npy", "read_npy", False)
_HDF5 = ("hdf5", "read_hdf5", True)
_MRC = ("mrc", "read_mrc", False)
_NIFTI = ("nifti", "read_nifti", False)
_SLICES = ("slices", "read_slices", False)
_ZARR = ("ome_zarr", "read_zarr", True)
_N5 = ("n5", "read_n5", True)

_BY_SUFFIX = {
    ".npy": _NPY,
    **dict.fromkeys((".tif", ".tiff", ".tf2", ".tf8", ".btf", ".stk", ".lsm"), _TIFF),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".ims", ".ilp"), _HDF5),
    **dict.fromkeys((".mrc", ".rec", ".st", ".map", ".mrcs", ".ali"), _MRC),
    **dict.fromkeys((".nii", ".nii.gz"), _NIFTI),
}
_BY_CONTENT = {
    ".zarray": _ZARR,
    ".zgroup": _ZARR,
    ".zattrs": _ZARR,
    "zarr.json": _ZARR,
    "attributes.json": _N5,
}


@dataclass(frozen=True)
class Place:
    """Where a volume is.

    Attributes
    ----------
    location : str
        A path or a URL.
    remote : bool
    """

    location: str
    remote: bool

    @property
    def name(self) -> str:
        """Its last part, as messages call it."""
        if self.remote:
            return PurePosixPath(urlsplit(self.location).path).name or self.location
        return Path(self.location).name or Path(self.location).resolve().name or self.location

    @property
    def suffix(self) -> str:
        """In lower case; ".nii.gz" as one."""
        name = self.name.lower()
        return ".nii.gz" if name.endswith(".nii.gz") else PurePosixPath(name).suffix

    @property
    def title(self) -> str:
        """The name without its suffixes."""
        end = len(self.name) - len(self.suffix)
        return self.name[:end].removesuffix(".ome") or self.name

    @property
    def is_file(self) -> bool:
        """Whether it is a local file."""
        return not self.remote and Path(self.location).is_file()


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL (and no drive of Windows)."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and len(scheme) > 1 and scheme.isascii()


def place_of(path: str | os.PathLike[str]) -> Place:
    """The place that a path or URL names.

    Raises
    ------
    VolumeError
        If a local path does not exist.
    """
    if is_url(path):
        text = str(path).rstrip("/")
        if not text.startswith("file://"):
            return Place(text, True)
        path = text.removeprefix("file://")
    local = Path(path).expanduser()
    if not local.exists():
        raise VolumeError(f"There is no file {str(local)!r}; check its name.")
    return Place(str(local), False)


def find_reader(place: Place) -> tuple[Callable[..., Any], bool]:
    """The function that opens it, and whether that takes a dataset.

    Raises
    ------
    VolumeError
        If it is of no kind that can be read.
    """
    module, function, takes_dataset = _kind(place)
    return getattr(importlib.import_module(f"napari_niiv.io.readers.{module}"), function), takes_dataset


def _kind(place: Place) -> tuple[str, str, bool]:
    if place.remote:
        if place.suffix in _BY_SUFFIX:
            raise VolumeError(
                f"{place.name} is not read from a URL, as zarr and N5 are; download it, then open the file."
            )
        return _N5 if ".n5" in place.location.lower() else _ZARR
    path = Path(place.location)
    if not path.is_dir():
        kind = _BY_SUFFIX.get(place.suffix)
    elif (kind := next((k for name, k in _BY_CONTENT.items() if (path / name).exists()), None)) is None:
        kind = {**_BY_SUFFIX, ".zarr": _ZARR, ".n5": _N5}.get(place.suffix, _SLICES)
    if kind is None:
        raise VolumeError(
            f"{place.name} is of a kind that cannot be read; convert it to TIFF, OME-Zarr, HDF5 or .npy."
        )
    return kind
