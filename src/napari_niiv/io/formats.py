"""Which reader opens what: by the suffix of a file, by what lies in a folder, by the end of a URL."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from napari_niiv.errors import VolumeError

VolumePath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A path or URL, or the paths of a stack's slices."""

# module, function, whether it takes a dataset; modules are imported when they are needed
_TIFF = ("tiff", "read_tiff", True)
_NPY = ("npy", "read_npy", False)
_HDF5 = ("hdf5", "read_hdf5", True)
_MRC = ("mrc", "read_mrc", False)
_NIFTI = ("nifti", "read_nifti", False)
_SLICES = ("slices", "read_slices", False)
_SLICE_FILES = ("slices", "read_files", False)
_ZARR = ("ome_zarr", "read_zarr", True)
_N5 = ("n5", "read_n5", True)
_WEBKNOSSOS = ("webknossos", "read_webknossos", True)
_BDV_XML = ("bdv_xml", "read_bdv_xml", True)

_BY_SUFFIX = {
    ".npy": _NPY,
    ".xml": _BDV_XML,
    **dict.fromkeys((".tif", ".tiff", ".tf2", ".tf8", ".btf", ".stk", ".lsm", ".companion.ome"), _TIFF),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".ims", ".ilp"), _HDF5),
    **dict.fromkeys((".mrc", ".rec", ".st", ".map", ".mrcs", ".ali"), _MRC),
    **dict.fromkeys((".nii", ".nii.gz"), _NIFTI),
}
_BUCKETS = ("s3", "gs", "gcs")
_WITH_HOST = ("http", "https", *_BUCKETS)
_DOUBLE = (".nii.gz", ".companion.ome")  # suffixes of two parts
_BY_CONTENT = {
    ".zarray": _ZARR,
    ".zgroup": _ZARR,
    ".zattrs": _ZARR,
    "zarr.json": _ZARR,
    "attributes.json": _N5,
    "datasource-properties.json": _WEBKNOSSOS,
}


@dataclass(frozen=True)
class Location:
    """Where a volume is.

    Attributes
    ----------
    address : str
        A path or a URL.
    files : tuple of Path
        The slices of a list of files, of which `address` is the first; empty of anything else.
    """

    address: str
    files: tuple[Path, ...] = ()

    @property
    def remote(self) -> bool:
        """Whether it is a URL."""
        return is_url(self.address)

    @property
    def name(self) -> str:
        """Its last part, as messages call it."""
        if self.remote:
            return PurePosixPath(urlsplit(self.address).path).name or self.address
        return Path(self.address).name or Path(self.address).resolve().name or self.address

    @property
    def suffix(self) -> str:
        """The suffix of its name in lower case, such as ".tif"; so are ".nii.gz" and ".companion.ome"."""
        name = self.name.lower()
        return next((s for s in _DOUBLE if name.endswith(s)), PurePosixPath(name).suffix)

    @property
    def title(self) -> str:
        """The name without its suffixes."""
        end = len(self.name) - len(self.suffix)
        return self.name[:end].removesuffix(".ome") or self.name

    @property
    def is_file(self) -> bool:
        """Whether it is a local file."""
        return not self.remote and Path(self.address).is_file()


def first_path(path: VolumePath) -> str | os.PathLike[str]:
    """The path by which a volume is known: the first of a list.

    Raises
    ------
    VolumeError
        If the list is empty.
    """
    if isinstance(path, str | os.PathLike):
        return path
    if not path:
        raise VolumeError("There are no files in the list; name at least two slices.")
    return path[0]


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL (and no drive of Windows)."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and len(scheme) > 1 and scheme.isascii()


def locate(path: VolumePath) -> Location:
    """The location that a path or URL names, or a list of paths.

    Raises
    ------
    VolumeError
        If a local path does not exist, or a URL is none.
    """
    if not isinstance(path, str | os.PathLike):
        if len(path) > 1:
            files = tuple(Path(locate(each).address) for each in path)
            return Location(str(files[0]), files)
        path = first_path(path)
    if is_url(path):
        text = str(path).rstrip("/") if not str(path).endswith("://") else str(path)
        if not text.startswith("file://"):
            _check_address(text)
            return Location(text)
        path = text.removeprefix("file://")
    local = Path(path).expanduser()
    if not local.exists():
        raise VolumeError(f"There is no file {str(local)!r}; check its name.")
    return Location(str(local))


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        named = parts.scheme not in _WITH_HOST or bool(parts.netloc if parts.scheme in _BUCKETS else parts.hostname)
        _ = parts.port
    except ValueError:  # of brackets and ports
        named = False
    if not named:
        raise VolumeError(f"{url} is no address of a server or bucket; check how it is written.")


def find_reader(location: Location) -> tuple[Callable[..., Any], bool]:
    """The function that reads the volume at a location, and whether it takes a dataset.

    Raises
    ------
    VolumeError
        If it is of no kind that can be read.
    """
    module, function, takes_dataset = _reader_of(location)
    return getattr(importlib.import_module(f"napari_niiv.io.readers.{module}"), function), takes_dataset


def _reader_of(location: Location) -> tuple[str, str, bool]:
    if location.files:
        return _SLICE_FILES
    if location.remote:
        if location.suffix in _BY_SUFFIX:
            raise VolumeError(
                f"{location.name} is not read from a URL, as zarr and N5 are; download it, then open the file."
            )
        return _N5 if ".n5" in location.address.lower() else _ZARR
    path = Path(location.address)
    if not path.is_dir():
        reader = _BY_SUFFIX.get(location.suffix)
    elif (reader := next((each for name, each in _BY_CONTENT.items() if (path / name).exists()), None)) is None:
        reader = {**_BY_SUFFIX, ".zarr": _ZARR, ".n5": _N5}.get(location.suffix, _SLICES)
    if reader is None:
        raise VolumeError(
            f"{location.name} is of a kind that cannot be read; convert it to TIFF, OME-Zarr, HDF5 or .npy."
        )
    return reader
