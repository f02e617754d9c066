"""Memory-mapped arrays that travel between processes by the name of their file."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray


class Mapped(np.memmap[Any, Any]):
    """A memory map whose pickle is its position in the file; NumPy's own carries the voxels."""

    _mmap: mmap.mmap | None  # set by NumPy

    def __reduce__(self) -> Any:
        # the result of a computation is in memory
        if self._mmap is None or self.filename is None or not self.size:
            return super().__reduce__()
        # where NumPy's map begins
        first = self.offset - self.offset % mmap.ALLOCATIONGRANULARITY
        start = np.frombuffer(self._mmap, np.uint8).__array_interface__["data"][0]
        offset = first + self.__array_interface__["data"][0] - start
        return _mapped_again, (str(self.filename), self.dtype, offset, self.shape, self.strides)


def mapped(array: NDArray[Any]) -> NDArray[Any]:
    """The same array; one that is mapped becomes `Mapped`."""
    return array.view(Mapped) if isinstance(array, np.memmap) and array.dtype.kind != "V" else array


def map_file(path: Path, dtype: Any, offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array in a file, in C order.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is too short.
    """
    return mapped(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape))


def _mapped_again(
    filename: str, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> NDArray[Any]:
    whole = np.memmap(filename, mode="r").view(Mapped)
    first = whole[offset : offset + dtype.itemsize].view(dtype)
    return as_strided(first, shape, strides, subok=True, writeable=False)
