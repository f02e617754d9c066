"""A folder of numbered slices, each a picture of its own."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import Key, LazyArray
from napari_niiv.io.readers.library_messages import tifffile_messages
from napari_niiv.io.readers.tiff import read_tiff
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, refusing

_TIFF = (".tif", ".tiff")
SUFFIXES = (*_TIFF, ".png", ".jpg", ".jpeg", ".bmp")


class Slices(LazyArray):
    """A stack of slices that are read from their files when they are indexed.

    Parameters
    ----------
    files : list of Path
        In order.
    shape : tuple of int
        Rows and columns of a slice.
    dtype : dtype
        Of its pixels.
    """

    def __init__(self, files: list[Path], shape: tuple[int, int], dtype: Any) -> None:
        super().__init__((len(files), *shape), dtype, (1, *shape))
        self._files = files

    def _read(self, key: Key) -> NDArray[Any]:
        z, *lateral = key
        if not isinstance(z, slice):
            return self._slice(z)[tuple(lateral)]
        slices = [self._slice(i)[tuple(lateral)] for i in range(z.start, z.stop, z.step)]
        return np.stack(slices) if slices else np.empty((0, *self.shape[1:]), self.dtype)[:, *lateral]

    def _slice(self, index: int) -> NDArray[Any]:
        path = self._files[index]
        picture = _picture(path)
        if picture.shape != self.shape[1:] or picture.dtype.newbyteorder("=") != self.dtype:
            raise VolumeError(
                f"{path.name} has the shape {picture.shape} and type {picture.dtype}, the first slice {self.shape[1:]} "
                f"and {self.dtype}; leave in the folder only the slices of one stack."
            )
        return picture.astype(self.dtype, copy=False)


def read_slices(path: Path) -> StoredVolume:
    """Open the pictures of a folder as a stack, in the order of the numbers in their names.

    Only the first is opened; the voxel size is what it says. Numbers that are missing are in the result's ``note``.

    Raises
    ------
    VolumeError
        If the folder holds no slices, or whole stacks, or RGB pictures.
    """
    pictures = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not pictures:
        raise VolumeError(
            f"{path.name or path} is a folder of a kind that cannot be read; choose a zarr, an N5, or a folder of "
            "slices (TIFF or PNG)."
        )
    suffix, _ = Counter(p.suffix.lower() for p in pictures).most_common(1)[0]
    files = sorted((p for p in pictures if p.suffix.lower() == suffix), key=_natural)
    if len(files) < 2:
        raise VolumeError(f"{path.name} holds one picture, {files[0].name}; open that, or a folder of several slices.")
    shape, dtype, spacing = _first(files[0])
    missing = _missing([p.stem for p in files])
    note = f"the folder lacks the slices {missing}" if missing else ""
    return StoredVolume(Slices(files, shape, dtype), "zyx", spacing, note=note)


def _first(path: Path) -> tuple[tuple[int, int], np.dtype[Any], Spacing]:
    if path.suffix.lower() in _TIFF:
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


def _picture(path: Path) -> NDArray[Any]:
    with refusing(path.name, "picture"), tifffile_messages():
        if path.suffix.lower() in _TIFF:
            return np.asarray(tifffile.imread(path, series=0))
        return np.asarray(imagecodecs.imread(path))


def _natural(path: Path) -> list[tuple[int, Any]]:
    """Sorts slice2 before slice10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.findall(r"\d+|\D+", path.stem)]


def _missing(stems: list[str]) -> str:
    """The numbers that a run of names skips, such as "4, 7"; empty if there is no telling."""
    numbers = [tuple(int(n) for n in re.findall(r"\d+", stem)) for stem in stems]
    if len({len(n) for n in numbers}) != 1 or not numbers[0]:
        return ""
    running = [i for i in range(len(numbers[0])) if len({n[i] for n in numbers}) > 1]
    if len(running) != 1:
        return ""
    present = sorted({n[running[0]] for n in numbers})
    step = min(b - a for a, b in itertools.pairwise(present))
    missing = sorted(set(range(present[0], present[-1], step)) - set(present))
    return ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
