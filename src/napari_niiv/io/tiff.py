"""TIFF files: lazy voxels, axes and voxel size, from ImageJ and OME metadata."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask
import dask.array as da
import numpy as np
import tifffile

from napari_niiv.errors import VolumeError
from napari_niiv.io.spacing import Spacing, unit_name

SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf", ".stk", ".lsm")
IN_MEMORY_BYTES = 2 << 30  # compressed files up to this size are decoded at once, larger ones page by page

# problems reach the user as our own sentences; tifffile would also print its own
_LOGGER = logging.getLogger("tifffile")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


def read_tiff(path: Path) -> tuple[Any, str, Spacing, dict[str, Any]]:
    """Open the first series of a TIFF file.

    Returns
    -------
    array
        Memory-mapped where the file's layout allows, else decoded (up to 2 GiB) or lazy.
    axes : str
        In lower case, as tifffile names them.
    spacing : Spacing
    metadata : dict
        Channel names, where given.

    Raises
    ------
    VolumeError
        If the file is unreadable, truncated or no TIFF.
    """
    try:
        with _noting_truncation() as signs, tifffile.TiffFile(path) as file:
            if not file.series:
                raise VolumeError(f"{path.name} holds no picture; choose another file.")
            series = file.series[0]
            shape, axes = tuple(series.shape), series.axes.lower()
            _check_complete(file, series, path, signs)
            array = _array(path, file, series)
            spacing, metadata = _spacing(file), _metadata(file)
    except VolumeError:
        raise
    except Exception as error:  # tifffile and its codecs raise dozens of types for a damaged file
        raise VolumeError(
            f"{path.name} is not a readable TIFF file ({_short(error)}); get the file anew."
        ) from error
    if tuple(array.shape) != shape:
        raise VolumeError(
            f"{path.name} is truncated: {tuple(array.shape)} of {shape} is there; get the file anew."
        )
    return array, axes, spacing, metadata


def tiff_spacing(path: Path) -> Spacing:
    """Only the voxel size of a TIFF file; errors as `read_tiff`."""
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            order = [a for a, n in zip(series.axes.lower(), series.shape, strict=True) if n > 1 or a in "zyx"]
            if "z" in order and order[-3:] != ["z", "y", "x"]:
                raise VolumeError(
                    f"{path.name} stores its axes as {series.axes}; drop the file on this widget, which sorts them."
                )
            return _spacing(file)
    except VolumeError:
        raise
    except Exception as error:
        raise VolumeError(
            f"{path.name} is not a readable TIFF file ({_short(error)}); get the file anew."
        ) from error


@contextmanager
def _noting_truncation() -> Iterator[list[str]]:
    """Collects what tifffile says of missing parts: it reads on with what is left, and only logs it."""
    signs: list[str] = []
    handler = logging.Handler()
    thread = threading.get_ident()

    def note(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.thread == thread and any(sign in text for sign in _SIGNS):
            signs.append(text)
        return False

    handler.addFilter(note)
    _LOGGER.addHandler(handler)
    try:
        yield signs
    finally:
        _LOGGER.removeHandler(handler)


# of the chain of pages, and of the description of the first page, which holds the voxel size
_SIGNS = ("invalid page offset", "invalid offset to page", "TiffTag 270 ")


def _check_complete(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, signs: list[str]
) -> None:
    size = path.stat().st_size
    len(file.pages)  # follows the chain of pages to its end
    if signs:
        raise VolumeError(f"{path.name} is truncated: its last part is missing; get the file anew.")
    for page in (p for p in series.pages if p is not None):
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if ends and max(ends) > size:
            raise VolumeError(f"{path.name} is truncated: its last slices are missing; get the file anew.")
    said = (file.imagej_metadata or {}).get("images")
    if said and int(said) > math.prod(series.shape[: -2 - ("S" in series.axes)]):
        raise VolumeError(
            f"{path.name} is truncated: it should hold {said} slices, {len(file.pages)} are there; get the file anew."
        )


def _array(path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Any:
    page = series.keyframe
    if series.dataoffset is not None and page.is_memmappable:
        return np.memmap(
            path,
            dtype=series.dtype.newbyteorder(file.byteorder),
            mode="r",
            offset=series.dataoffset,
            shape=tuple(series.shape),
        )
    if series.nbytes <= IN_MEMORY_BYTES or len(series.pages) == 1:
        return series.asarray()
    read = dask.delayed(_read_page, pure=False)
    pages = [da.from_delayed(read(path, i), page.shape, dtype=series.dtype) for i in range(len(series.pages))]
    return da.stack(pages).reshape(series.shape)


def _read_page(path: Path, page: int) -> np.ndarray[Any, Any]:
    return np.asarray(tifffile.imread(path, series=0, key=page))


def _spacing(file: tifffile.TiffFile) -> Spacing:
    if file.is_ome and file.ome_metadata:
        return _ome_spacing(file.ome_metadata)
    if not file.is_imagej:
        return Spacing()
    said = file.imagej_metadata or {}
    tags = file.pages.first.tags
    unit = unit_name(said.get("unit"))
    y, x = (_pixel_size(tags, name) for name in ("YResolution", "XResolution"))
    z = said.get("spacing")
    return Spacing((float(z) if z is not None else None, y, x), unit)


def _pixel_size(tags: Any, name: str) -> float | None:
    if name not in tags:
        return None
    numerator, denominator = tags[name].value
    return denominator / numerator if numerator else None


def _ome_spacing(xml: str) -> Spacing:
    pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return Spacing()
    sizes: list[float | None] = []
    units = [unit_name(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"]
    for axis, unit in zip("ZYX", units, strict=True):
        said = pixels.get(f"PhysicalSize{axis}")
        comparable = unit == units[2] or (unit in _METRES and units[2] in _METRES)
        share = _METRES.get(unit, 1) / _METRES.get(units[2], 1)
        sizes.append(float(said) * share if said is not None and comparable else None)
    return Spacing((sizes[0], sizes[1], sizes[2]), units[2] if sizes[2] is not None else "pixel")


_METRES = {"meter": 1.0, "millimeter": 1e-3, "micrometer": 1e-6, "nanometer": 1e-9, "angstrom": 1e-10}


def _metadata(file: tifffile.TiffFile) -> dict[str, Any]:
    if file.is_ome and file.ome_metadata:
        root = ElementTree.fromstring(file.ome_metadata)
        names = [e.get("Name") for e in root.iter() if e.tag.endswith("}Channel")]
        return {"channel_names": names} if any(names) else {}
    labels = (file.imagej_metadata or {}).get("Labels")
    return {"labels": labels} if labels else {}


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
