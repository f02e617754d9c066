"""Slices that are a picture file each: a folder of them, or a list."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.channel_facts import channel_facts
from napari_niiv.io.lazy_arrays import Key, LazyArray
from napari_niiv.io.readers.library_messages import tifffile_messages
from napari_niiv.io.readers.slice_names import SUFFIXES, TIFF, arrange
from napari_niiv.io.readers.tiff import read_tiff
from napari_niiv.io.readers.tiff_images import COMPANION, find_image
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, refusing

_MOST_COMPARED = 32  # files whose shape and type are looked at when a stack is opened


class Slices(LazyArray):
    """A stack of slices that are read from their files when they are indexed.

    Parameters
    ----------
    files : array of Path
        By time and channel, where there are any, and z.
    shape : tuple of int
        Rows and columns of a slice.
    dtype : dtype
        Of its pixels.
    """

    def __init__(self, files: NDArray[Any], shape: tuple[int, int], dtype: Any) -> None:
        super().__init__((*files.shape, *shape), dtype, (*[1] * files.ndim, *shape))
        self._files = files

    def _read(self, key: Key) -> NDArray[Any]:
        *leading, rows, columns = key
        files = self._files[tuple(leading)]
        if isinstance(files, Path):
            return self._slice(files)[rows, columns]
        pictures = np.stack([self._slice(path)[rows, columns] for path in files.flat])
        return pictures.reshape(files.shape + pictures.shape[1:])

    def _slice(self, path: Path) -> NDArray[Any]:
        picture = _picture(path)
        if picture.shape != self.shape[-2:] or picture.dtype.newbyteorder("=") != self.dtype:
            raise _unlike(path, picture.shape, picture.dtype, self.shape[-2:], self.dtype)
        return picture.astype(self.dtype, copy=False)


def read_slices(path: Path) -> StoredVolume:
    """Open the pictures of a folder as a stack, or the set of OME-TIFF files that they are.

    Their names tell the order, channels and times, and which files belong to the stack; what is missing or left out is
    in the result's ``note``. The voxel size is what the first says.

    Raises
    ------
    VolumeError
        If the folder holds no slices, or whole stacks, or RGB pictures, or slices of several stacks.
    """
    entries = [p for p in path.iterdir() if not p.name.startswith(".")]
    companions = [p for p in entries if p.name.lower().endswith(COMPANION)]
    pictures = [p for p in entries if p.suffix.lower() in SUFFIXES]
    if len(companions) == 1:
        return read_tiff(companions[0])
    if not pictures and (path / "info").is_file():
        raise VolumeError(f"{path.name} is in neuroglancer's precomputed format, which is not read; make a zarr of it.")
    if not pictures:
        raise VolumeError(
            f"{path.name or path} is a folder of a kind that cannot be read; choose a zarr, an N5, or a folder of "
            "slices (TIFF or PNG)."
        )
    return read_files(pictures, path.resolve().name)


def read_files(pictures: Sequence[Path], where: str = "the list of files") -> StoredVolume:
    """Open picture files as one stack, as `read_slices` does those of a folder.

    Parameters
    ----------
    pictures : sequence of Path
    where : str
        Where they are, for messages.
    """
    if foreign := next((p.name for p in pictures if p.suffix.lower() not in SUFFIXES), None):
        raise VolumeError(f"{foreign} is no slice of a stack (TIFF or PNG); open it alone.")
    if (whole := _whole_set(pictures)) is not None:
        return whole
    try:
        arranged = arrange(pictures, where)
    except VolumeError:
        _first(min(pictures, key=lambda path: path.name.lower()))  # that it is no slice says more than the names
        raise
    files = np.array(arranged.files, dtype=object)
    times, channels, _ = files.shape
    axes = ("t" if times > 1 else "") + ("c" if channels > 1 else "")
    files = files.reshape([n for n in files.shape[:2] if n > 1] + [files.shape[2]])
    shape, dtype, spacing = _first(files.flat[0])
    _compare(list(files.flat), shape, dtype)
    metadata = channel_facts(arranged.channels)
    return StoredVolume(Slices(files, shape, dtype), f"{axes}zyx", spacing, metadata, note=arranged.note)


def are_slices(paths: Sequence[Path]) -> bool:
    """Whether files are slices of one picture each, by a look at some of them; not whether they make one stack."""
    if len(paths) < 2 or any(path.suffix.lower() not in SUFFIXES for path in paths):
        return False
    some = [path for path in paths if path.suffix.lower() in TIFF][:: max(1, len(paths) // _MOST_COMPARED)]
    try:
        with tifffile_messages():
            return all(_pages(path) == 1 for path in some)
    except Exception:  # which opening them will tell
        return False


def _pages(path: Path) -> int:
    with tifffile.TiffFile(path) as file:
        return len(file.pages)


def _whole_set(pictures: Sequence[Path]) -> StoredVolume | None:
    """The image of a set of OME-TIFF files, if these are the set."""
    first = min(pictures, key=lambda path: path.name)
    if not first.name.lower().endswith((".ome.tif", ".ome.tiff")):
        return None
    with refusing(first.name, "TIFF file"), tifffile_messages():
        files = {name.lower() for name in find_image(first).files}
    return read_tiff(first) if files and {p.name.lower() for p in pictures} <= files | {first.name.lower()} else None


def _first(path: Path) -> tuple[tuple[int, int], np.dtype[Any], Spacing]:
    if path.suffix.lower() in TIFF:
        stored = read_tiff(path)
        array, spacing = stored.array, stored.spacing
        rgb = "s" in stored.axes
    else:
        array, spacing = _picture(path), Spacing()
        rgb = array.ndim == 3
    if rgb:
        raise VolumeError(f"{path.name} is an RGB picture; convert the slices to one intensity channel first.")
    if array.ndim != 2:
        raise VolumeError(f"{path.name} is a stack of shape {array.shape} itself; open that file alone.")
    return (int(array.shape[0]), int(array.shape[1])), np.dtype(array.dtype).newbyteorder("="), spacing


def _compare(files: list[Path], shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    """Refuse a stack whose slices differ, as far as the headers of some TIFF files tell: one of each size in bytes."""
    by_size: dict[int, Path] = {}
    for path in files:
        if path.suffix.lower() in TIFF:
            by_size.setdefault(path.stat().st_size, path)
    for path in list(by_size.values())[:_MOST_COMPARED]:
        with refusing(path.name, "picture"), tifffile_messages(), tifffile.TiffFile(path) as file:
            page = file.pages.first
        if page.shape != shape or np.dtype(page.dtype).newbyteorder("=") != dtype:
            raise _unlike(path, page.shape, page.dtype, shape, dtype)


def _unlike(path: Path, shape: tuple[int, ...], dtype: Any, first: tuple[int, ...], first_dtype: Any) -> VolumeError:
    return VolumeError(
        f"{path.name} has the shape {shape} and type {dtype}, the first slice {first} and {first_dtype}; leave in the "
        "folder only the slices of one stack."
    )


def _picture(path: Path) -> NDArray[Any]:
    with refusing(path.name, "picture"), tifffile_messages():
        if path.suffix.lower() in TIFF:
            return np.asarray(tifffile.imread(path, series=0))
        return np.asarray(_decoded(path.read_bytes()))


def _decoded(content: bytes) -> Any:
    """A PNG, JPEG or BMP picture, by how it begins; no other codec is tried on what one refuses."""
    if content.startswith(b"\x89PNG"):
        return imagecodecs.png_decode(content)
    if content.startswith(b"\xff\xd8"):
        return imagecodecs.jpeg_decode(content)
    if not content.startswith(b"BM"):
        raise ValueError("neither PNG, JPEG nor BMP")
    first, _, width, height, _, bits = struct.unpack_from("<IIiiHH", content, 10)
    # whose decoder reads on in foreign memory
    if len(content) < first + (width * max(bits, 8) + 31) // 32 * 4 * abs(height) or width < 1:
        raise ValueError("it is cut off")
    return imagecodecs.bmp_decode(content)
