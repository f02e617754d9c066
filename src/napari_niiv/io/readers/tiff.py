"""TIFF files: lazy voxels, axes and voxel size, from ImageJ and OME metadata."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.mapped_arrays import map_file
from napari_niiv.io.readers.library_messages import tifffile_messages
from napari_niiv.io.readers.tiff_headers import ome_elements, tiff_header_spacing
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, refusing, unsorted_axes
from napari_niiv.io.units import convert, number, unit_name
from napari_niiv.io.write import SOFTWARE

SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf", ".stk", ".lsm")


def read_tiff(path: Path) -> StoredVolume:
    """Open the first series of a TIFF file.

    It is memory-mapped where the file's layout allows, else read tile by tile or page by page, or decoded at once. Its
    axes are those that tifffile names.

    Raises
    ------
    VolumeError
        If the file is unreadable, truncated or no TIFF.
    """
    with _opened_file(path) as (file, messages):
        if not file.series:
            raise VolumeError(f"{path.name} holds no picture; choose another file.")
        series = file.series[0]
        shape, axes = tuple(series.shape), series.axes.lower()
        _check_complete(file, series, path, messages)
        array = _array(path, file, series)
        spacing, metadata = tiff_header_spacing(file), _metadata(file)
        origin = _origin(file, spacing)
        pyramid = _pyramid(path, series)
    _check_shape(array, shape, path)
    decode = functools.partial(_decoded, path, shape) if isinstance(array, FileArray) else None
    return StoredVolume(array, axes, spacing, metadata, pyramid, origin, decode)


def _decoded(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """All voxels of a TIFF file, decoded at once."""
    with _opened_file(path) as (file, _):
        array = file.series[0].asarray()
    _check_shape(array, shape, path)
    return array


def _check_shape(array: Any, shape: tuple[int, ...], path: Path) -> None:
    if tuple(array.shape) != shape:
        raise VolumeError(f"{path.name} is truncated: {tuple(array.shape)} of {shape} is there; get the file anew.")


def tiff_spacing(path: Path) -> Spacing:
    """Only the voxel size of a TIFF file; errors as `read_tiff`."""
    with _opened_file(path) as (file, _):
        series = file.series[0]
        order = [a for a, n in zip(series.axes.lower(), series.shape, strict=True) if n > 1 or a in "zyx"]
        if "z" in order and order[-3:] != ["z", "y", "x"]:
            raise unsorted_axes(path.name, series.axes)
        return tiff_header_spacing(file)


@contextmanager
def _opened_file(path: Path) -> Iterator[tuple[tifffile.TiffFile, list[str]]]:
    """A TIFF file, and what tifffile logs of it; errors become one sentence."""
    with refusing(path.name, "TIFF file"), tifffile_messages() as messages, tifffile.TiffFile(path) as file:
        yield file, messages


# what tifffile logs of missing parts, as it reads on with what is left: of the chain of pages, and of the description
# of the first page, which holds the voxel size
_TRUNCATED = ("invalid page offset", "invalid offset to page", "TiffTag 270 ")


def _check_complete(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, messages: list[str]) -> None:
    size = path.stat().st_size
    len(file.pages)  # follows the chain of pages to its end
    if any(sign in message for message in messages for sign in _TRUNCATED):
        raise VolumeError(f"{path.name} is truncated: its last part is missing; get the file anew.")
    for page in (p for p in series.pages if p is not None):
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if ends and max(ends) > size:
            raise VolumeError(f"{path.name} is truncated: its last slices are missing; get the file anew.")
    slices = (file.imagej_metadata or {}).get("images")
    if slices and int(slices) > math.prod(series.shape[: -2 - ("S" in series.axes)]):
        raise VolumeError(
            f"{path.name} is truncated: it should hold {slices} slices, {len(file.pages)} are there; get the file anew."
        )


def _array(path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Any:
    page = series.keyframe
    if series.dataoffset is not None and page.is_memmappable:
        dtype = series.dtype.newbyteorder(file.byteorder)
        return map_file(path, dtype, series.dataoffset, tuple(series.shape))
    if len(series.shape) < 3:
        return series.asarray()
    return _lazy(path, series, 0)


def _pyramid(path: Path, series: tifffile.TiffPageSeries) -> tuple[FileArray, ...]:
    axes = series.axes.lower()
    if not set("zyx") <= set(axes):
        return ()
    fine = [series.shape[axes.index(a)] for a in "zyx"]
    return tuple(
        _lazy(path, level, number)
        for number, level in enumerate(series.levels[1:], 1)
        if level.axes.lower() == axes and covers_whole(fine, [level.shape[axes.index(a)] for a in "zyx"])
    )


def _lazy(path: Path, series: tifffile.TiffPageSeries, level: int) -> FileArray:
    tile_or_strip = series.keyframe.chunks[-2:]
    chunks = (*[1] * (len(series.shape) - 2), *tile_or_strip)
    return FileArray(_reopened, (str(path), level), series.shape, series.dtype, chunks)


class _SilentArray:
    """A zarr array over a TIFF file, in whose reads nothing is printed."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape = array.shape

    def __getitem__(self, key: Any) -> Any:
        with tifffile_messages():
            return self._array[key]


def _reopened(path: str, level: int) -> _SilentArray:
    import zarr

    with tifffile_messages():
        store: Any = tifffile.TiffFile(path).series[0].aszarr(level=level)
        return _SilentArray(zarr.open_array(store, mode="r"))


def _origin(file: tifffile.TiffFile, spacing: Spacing) -> tuple[float, float, float]:
    """World position of the first voxel.

    That of ImageJ's calibration; that of OME's planes only in files that we wrote, as others say where the stage stood.
    """
    positions: list[float | None]
    if file.is_ome and file.ome_metadata and file.pages.first.software.startswith(SOFTWARE):
        plane = next(ome_elements(file.ome_metadata, "Plane"), None)
        attributes = plane.attrib if plane is not None else {}
        positions = [
            convert(
                number(attributes.get(f"Position{a}", 0)), unit_name(attributes.get(f"Position{a}Unit")), spacing.unit
            )
            for a in "ZYX"
        ]
    elif file.is_imagej:
        pixels = [number((file.imagej_metadata or {}).get(f"{a}origin", 0)) for a in "zyx"]
        positions = [
            -p * s if s is not None and p is not None else None for p, s in zip(pixels, spacing.sizes, strict=True)
        ]
    else:
        return 0.0, 0.0, 0.0
    z, y, x = (v or 0.0 for v in positions)
    return z, y, x


def _metadata(file: tifffile.TiffFile) -> dict[str, Any]:
    if file.is_ome and file.ome_metadata:
        with suppress(ElementTree.ParseError):  # of which the note on the voxel size tells
            names = [e.get("Name") for e in ome_elements(file.ome_metadata, "Channel")]
            return {"channel_names": names} if any(names) else {}
    labels = (file.imagej_metadata or {}).get("Labels")
    return {"labels": labels} if labels else {}
