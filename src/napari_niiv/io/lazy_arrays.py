"""Arrays in files that are read only where they are indexed; they travel between processes by the file's name."""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.dask_arrays import is_dask
from napari_niiv.pieces import Bounds, stored_boxes

Key = tuple[int | slice, ...]


class LazyArray:
    """What lazy arrays share: the attributes of an array, and basic indexing (integers, slices, an ellipsis).

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    chunks : tuple of int, optional
        What is read at once at the least.
    """

    def __init__(self, shape: Any, dtype: Any, chunks: Any = None) -> None:
        self.shape: tuple[int, ...] = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.chunks = None if chunks is None else tuple(int(n) for n in chunks)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, once read."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        whole = _complete(key, self.shape)
        lengths = [len(range(part.start, part.stop, part.step)) for part in whole if isinstance(part, slice)]
        # dask asks so for the kind of array
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        return np.asarray(self._read(whole))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def _read(self, key: Key) -> Any:
        raise NotImplementedError


class FileArray(LazyArray):
    """An array in a file that is opened when it is first read, and anew in each process.

    Reading raises ValueError where the file holds an array of another shape by then.

    Parameters
    ----------
    opener : callable
        A function of a module; called with `arguments` it returns what is indexed, with a `shape`.
    arguments : tuple
        Such as the file's path and the name of the dataset.
    shape, dtype, chunks
        As `LazyArray`; what is read is cast to `dtype`.
    """

    def __init__(
        self,
        opener: Callable[..., Any],
        arguments: tuple[Any, ...],
        shape: Any,
        dtype: Any,
        chunks: Any = None,
    ) -> None:
        super().__init__(shape, dtype, chunks)
        self._opener, self._arguments = opener, arguments
        self._opened: tuple[int, Any] | None = None
        self._lock = threading.Lock()

    def _read(self, key: Key) -> Any:
        with self._lock:
            # a forked process must not share it
            if self._opened is None or self._opened[0] != os.getpid():
                array = self._opener(*self._arguments)
                if tuple(array.shape) != self.shape:
                    raise ValueError(f"its shape is {tuple(array.shape)} by now, no longer {self.shape}")
                self._opened = (os.getpid(), array)
            array = self._opened[1]
        return np.asarray(array[key]).astype(self.dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_opened", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _opened=None, _lock=threading.Lock())

    def __dask_tokenize__(self) -> Any:
        return self._opener.__qualname__, self._arguments, self.shape, str(self.dtype)


class Rearranged(LazyArray):
    """Another array with its axes in another order.

    Parameters
    ----------
    source : array-like
    order : tuple of int
        Axes of `source`.
    places : mapping of int to int
        The element that is read of axes that are not in `order`; of others it is the first.
    """

    def __init__(self, source: Any, order: tuple[int, ...], places: Mapping[int, int] | None = None) -> None:
        chunks = getattr(source, "chunks", None)
        super().__init__([source.shape[i] for i in order], source.dtype, chunks and [chunks[i] for i in order])
        self._source, self._order = source, order
        self._places = {i: (places or {}).get(i, 0) for i in range(len(source.shape)) if i not in order}

    def stored_boxes(self, most: int) -> list[Bounds]:
        """Boxes of the chunks that the source has, as far as it tells."""
        boxes, places = stored_boxes(self._source, most), self._places.items()
        read = [box for box in boxes if all(box[i][0] <= place < box[i][1] for i, place in places)]
        return [tuple(box[i] for i in self._order) for box in read]

    def _read(self, key: Key) -> Any:
        whole: list[int | slice] = [self._places.get(i, 0) for i in range(len(self._source.shape))]
        for axis, part in zip(self._order, key, strict=True):
            whole[axis] = part
        values = np.asarray(self._source[tuple(whole)])
        wanted = [a for a, part in zip(self._order, key, strict=True) if isinstance(part, slice)]
        return values.transpose([sorted(wanted).index(a) for a in wanted])


def rearranged(array: Any, order: tuple[int, ...]) -> Any:
    """An array of any kind with its axes in another order, without reading it; see `Rearranged`."""
    if order == tuple(range(array.ndim)):
        return array
    if not isinstance(array, np.ndarray) and not is_dask(array):
        return Rearranged(array, order)
    remaining = sorted(order)
    picked = array[tuple(slice(None) if i in remaining else 0 for i in range(array.ndim))]
    return picked.transpose([remaining.index(i) for i in order])


class Stacked(LazyArray):
    """Arrays of one shape and type as one, along a new axis.

    Parameters
    ----------
    parts : sequence of array-like
    axis : int
        Of the whole, along which they lie; the axes before it are as those of each part.

    Attributes
    ----------
    parts : tuple of array-like
    """

    def __init__(self, parts: Sequence[Any], axis: int) -> None:
        shape, chunks = tuple(parts[0].shape), getattr(parts[0], "chunks", None)
        whole = None if chunks is None or not all(isinstance(n, int) for n in chunks) else tuple(chunks)
        super().__init__(
            (*shape[:axis], len(parts), *shape[axis:]), parts[0].dtype, whole and (*whole[:axis], 1, *whole[axis:])
        )
        self.parts, self._axis = tuple(parts), axis

    def at_leading(self, leading: tuple[int, ...]) -> Any:
        """What `volume.picked` asks for: the 3-D array at an index of the leading axes, without reading it."""
        part = self.parts[leading[self._axis]]
        for place in (*leading[: self._axis], *leading[self._axis + 1 :]):
            part = one_of(part, 0, place)
        return part

    def _read(self, key: Key) -> Any:
        place, others = key[self._axis], (*key[: self._axis], *key[self._axis + 1 :])
        if isinstance(place, int):
            return self.parts[place][others]
        read = [np.asarray(part[others]) for part in self.parts[place]]
        return np.stack(read, axis=sum(isinstance(part, slice) for part in key[: self._axis]))


def one_of(array: Any, axis: int, place: int) -> Any:
    """An array of any kind at one place of an axis, without reading it."""
    if isinstance(array, np.ndarray) or is_dask(array):
        return array[(slice(None),) * axis + (place,)]
    return Rearranged(array, tuple(i for i in range(len(array.shape)) if i != axis), {axis: place})


def _complete(key: Any, shape: tuple[int, ...]) -> Key:
    """One integer or slice for each axis, within the shape."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if (gap := next((i for i, part in enumerate(parts) if part is Ellipsis), None)) is not None:
        parts[gap : gap + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    if len(parts) > len(shape):
        raise IndexError(f"{len(parts)} indices for {len(shape)} axes")
    parts += [slice(None)] * (len(shape) - len(parts))
    return tuple(_within(part, n) for part, n in zip(parts, shape, strict=True))


def _within(part: Any, size: int) -> int | slice:
    if isinstance(part, slice):
        start, stop, step = part.indices(size)
        if step < 0:
            raise IndexError("lazy arrays are read forwards only")
        return slice(start, max(start, stop), step)
    index = operator.index(part)
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of range for {size}")
    return index % size
