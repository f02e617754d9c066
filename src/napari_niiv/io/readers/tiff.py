"""TIFF files: lazy voxels, axes and voxel size, from ImageJ and OME metadata."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import tifffile
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.channel_facts import channel_facts, lut_colour, ome_colour
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.mapped_arrays import map_file
from napari_niiv.io.readers.chunks_there import absence
from napari_niiv.io.readers.library_messages import tifffile_messages
from napari_niiv.io.readers.tiff_headers import ome_elements, tiff_header_spacing
from napari_niiv.io.readers.tiff_images import COMPANION, TiffImage, find_image, open_image
from napari_niiv.io.spacing import Spacing, join_notes
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, refusing
from napari_niiv.io.units import convert, number, unit_name
from napari_niiv.io.write import SOFTWARE

SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf", ".stk", ".lsm", COMPANION)


def read_tiff(location: str | Path, dataset: str | None = None) -> StoredVolume:
    """Open an image of a TIFF file, or of a set of OME-TIFF files.

    It is memory-mapped where the file's layout allows, else read tile by tile or page by page, or decoded at once. Its
    axes are those that tifffile names. A file of a set shows the image that it holds planes of.

    Parameters
    ----------
    location : str or Path
        A TIFF file, or the ``.companion.ome`` of a set.
    dataset : str, optional
        The name of the image, where there are several.

    Raises
    ------
    DatasetChoice
        If there are several stacks and none was named.
    VolumeError
        If the file is unreadable, truncated or no TIFF, or files or planes of its set are missing.
    """
    path = Path(location)
    with _opened_image(path, dataset) as (file, series, image, messages):
        shape, axes = tuple(series.shape), series.axes.lower()
        absent, lacking = _check_complete(file, series, image.path, messages)
        _check_planes(lacking, len(series), path)
        _check_all(series, image)
        array = _array(path, dataset, series)
        spacing, metadata = tiff_header_spacing(file, series), _metadata(file)
        origin = _origin(file, spacing)
        pyramid = _pyramid(path, dataset, series)
        others = _of_another_set(series, image)
    _check_shape(array, shape, path)
    note = join_notes(image.note, absent, others)
    decode = functools.partial(_decoded, path, dataset, shape) if isinstance(array, FileArray) else None
    return StoredVolume(array, axes, spacing, metadata, pyramid, origin, decode, note)


def _decoded(path: Path, dataset: str | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """All voxels of an image, decoded at once."""
    with _opened_image(path, dataset) as (_, series, _, _):
        array = series.asarray()
    _check_shape(array, shape, path)
    return array


def _check_shape(array: Any, shape: tuple[int, ...], path: Path) -> None:
    if tuple(array.shape) != shape:
        raise VolumeError(f"{path.name} is truncated: {tuple(array.shape)} of {shape} is there; get the file anew.")


def tiff_spacing(path: Path) -> Spacing:
    """Only the voxel size of a TIFF file; errors as `read_tiff`."""
    with _opened_image(path) as (file, series, _, _):
        order = "".join(a for a, n in zip(series.axes.lower(), series.shape, strict=True) if n > 1 or a in "zyx")
        spacing = tiff_header_spacing(file, series)
        return replace(spacing, unsorted=order) if "z" in order and not order.endswith("zyx") else spacing


@contextmanager
def _opened_image(
    path: Path, dataset: str | None = None
) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPageSeries, TiffImage, list[str]]]:
    """The open file of an image, and what tifffile logs of it; errors become one sentence."""
    with refusing(path.name, "TIFF file"), tifffile_messages() as messages:
        image = find_image(path, dataset)
        file, series = open_image(image)
        with file:
            yield file, series, image, messages


# what tifffile logs of missing parts, as it reads on with what is left: of the chain of pages, and of the description
# of the first page, which holds the voxel size
_TRUNCATED = ("invalid page offset", "invalid offset to page", "TiffTag 270 ")


def _check_complete(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, messages: list[str]
) -> tuple[str, list[int]]:
    """Refuse a file that is truncated.

    All is found out in one go through the pages, as each look at one reads its header.

    Returns
    -------
    str
        What to say of strips and tiles that were left out, which read as zeros.
    list of int
        The planes that are in no file.
    """
    sizes: dict[str, int] = {}  # of the files of a set
    lacking: list[int] = []
    pieces = missing = 0
    len(file.pages)  # follows the chain of pages to its end
    if any(sign in message for message in messages for sign in _TRUNCATED):
        raise VolumeError(f"{path.name} is truncated: its last part is missing; get the file anew.")
    for plane, page in enumerate(series):
        if page is None:
            lacking.append(plane)
            continue
        if not page.is_contiguous and len(page.dataoffsets) < math.prod(page.chunked):
            raise VolumeError(f"{path.name} does not say where all of its voxels are; get the file anew.")
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
        pieces, missing = pieces + len(page.databytecounts), missing + page.databytecounts.count(0)
        holder = str(page.parent.filehandle.path)
        if holder not in sizes:
            sizes[holder] = Path(holder).stat().st_size
        if ends and max(ends) > sizes[holder]:
            raise VolumeError(f"{Path(holder).name} is truncated: its last slices are missing; get the file anew.")
    if missing == pieces:
        raise VolumeError(f"{path.name} holds no voxels, only their description; get the file anew.")
    slices = (file.imagej_metadata or {}).get("images")
    if slices and int(slices) > math.prod(series.shape[: -2 - ("S" in series.axes)]):
        raise VolumeError(
            f"{path.name} is truncated: it should hold {slices} slices, {len(file.pages)} are there; get the file anew."
        )
    return absence(missing, pieces, pieces, 0), lacking


def _of_another_set(series: tifffile.TiffPageSeries, image: TiffImage) -> str:
    """What to say of files with planes of a set that are not those that it means; empty if all are."""
    if not image.identifiers:
        return ""  # and their pages, of which each look reads the headers, are left alone
    holders = {page.parent.filehandle.name: page.parent for page in series.pages if page is not None}
    identifiers = {PurePosixPath(name).name: identifier for name, identifier in image.identifiers.items()}
    wrong = []
    for name, file in sorted(holders.items()):
        wanted = identifiers.get(name)
        own = re.search(r'<(?:\w+:)?OME\b[^>]*\bUUID="([^"]+)"', file.pages.first.description)
        if wanted and own and own[1].strip() != wanted:
            wrong.append(name)
    few = ", ".join(wrong[:4]) + (", …" if len(wrong) > 4 else "")
    return f"by their identifiers (UUID) these files are not those that their set means: {few}" if wrong else ""


def _check_planes(lacking: list[int], planes: int, path: Path) -> None:
    """Refuse an image of whose planes some are in no file; tifffile reads them as zeros."""
    if lacking:
        few = ", ".join(map(str, lacking[:10])) + (", …" if len(lacking) > 10 else "")
        raise VolumeError(
            f"{path.name} lacks {len(lacking)} of its {planes} planes ({few}, counted from 0); get it anew, or "
            "convert the planes that are there to another TIFF."
        )


def _check_all(series: tifffile.TiffPageSeries, image: TiffImage) -> None:
    """Refuse an image of which the file has fewer planes than its metadata say."""
    there = len(series) * series.keyframe.samplesperpixel
    if there < image.planes:
        raise VolumeError(
            f"{image.path.name} holds {there} of the {image.planes} planes that its metadata say; get it anew, or "
            "convert the planes that are there to another TIFF."
        )


def _array(path: Path, dataset: str | None, series: tifffile.TiffPageSeries) -> Any:
    page = series.keyframe
    # in a set, the pages may be in another file than the one that was opened
    holder = page.parent.filehandle
    if series.dataoffset is not None and page.is_memmappable and not series.is_multifile:
        dtype = series.dtype.newbyteorder(page.parent.byteorder)
        return map_file(Path(holder.path), dtype, series.dataoffset, tuple(series.shape))
    return _lazy(path, dataset, series, 0)


def _pyramid(path: Path, dataset: str | None, series: tifffile.TiffPageSeries) -> tuple[FileArray, ...]:
    axes = series.axes.lower()
    if not set("zyx") <= set(axes):
        return ()
    fine = [series.shape[axes.index(a)] for a in "zyx"]
    return tuple(
        _lazy(path, dataset, level, number)
        for number, level in enumerate(series.levels[1:], 1)
        if level.axes.lower() == axes and covers_whole(fine, [level.shape[axes.index(a)] for a in "zyx"])
    )


def _lazy(path: Path, dataset: str | None, series: tifffile.TiffPageSeries, level: int) -> FileArray:
    tile_or_strip = series.keyframe.chunks[-2:]
    chunks = (*[1] * (len(series.shape) - 2), *tile_or_strip)
    return FileArray(_reopened, (str(path), dataset, level), series.shape, series.dtype, chunks)


class _SilentArray:
    """A zarr array over a TIFF file, in whose reads nothing is printed."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape = array.shape

    def __getitem__(self, key: Any) -> Any:
        with tifffile_messages():
            return self._array[key]


def _reopened(path: str, dataset: str | None, level: int) -> _SilentArray:
    import zarr

    with tifffile_messages():
        _, series = open_image(find_image(Path(path), dataset))
        store: Any = series.aszarr(level=level)
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
            channels = list(ome_elements(file.ome_metadata, "Channel"))
            return channel_facts([e.get("Name") for e in channels], [ome_colour(e.get("Color")) for e in channels])
    facts = file.imagej_metadata or {}
    labels, tables = facts.get("Labels"), facts.get("LUTs")
    colours = [lut_colour(table) for table in tables] if isinstance(tables, list) else []
    return {**({"labels": labels} if labels else {}), **channel_facts((), colours)}
