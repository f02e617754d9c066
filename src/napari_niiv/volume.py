"""A volume: a lazy array with named axes, voxel size and unit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.dask_arrays import is_dask
from napari_niiv.errors import NiivError, VolumeError

if TYPE_CHECKING:
    from napari_niiv.io.spacing import Spacing
    from napari_niiv.sections.repairs import Repairs

MAX_ANISOTROPY = 16.0


@dataclass(frozen=True)
class Provenance:
    """Where a volume comes from, and what is known of its file; a volume made of an array in memory has none.

    Parameters
    ----------
    path : str, optional
        File, folder or URL.
    dataset : str, optional
        Which of several datasets in it.
    stored_axes : str, optional
        What the axes of the file became, one letter each in the file's order, "?" for those left out: what the
        `axes` of `open_volume` would have to be.
    spacing : Spacing, optional
        The voxel size as the file gives it.
    spacing_problem : str
        Why that cannot be trusted, as the end of a sentence; empty if it can, or if the user gave another.
    slow : str
        Why its voxels are slow to read; empty if they are not.
    note : str
        What else is remarkable, such as missing slices.
    remembered : str
        What of it is as the user has set it before, as a sentence; empty if nothing is.
    axes_corrected : bool
        Whether the user has named the axes.
    """

    path: str | None = None
    dataset: str | None = None
    stored_axes: str | None = None
    spacing: Spacing | None = None
    spacing_problem: str = ""
    slow: str = ""
    note: str = ""
    remembered: str = ""
    axes_corrected: bool = False

    @property
    def plain(self) -> dict[str, Any]:
        """All that is known of the origin but the spacing, as JSON can hold it."""
        names = (
            "note",
            "slow",
            "spacing_problem",
            "stored_axes",
            "dataset",
            "path",
            "remembered",
            "axes_corrected",
        )
        return {name: value for name in names if (value := getattr(self, name))}


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D (or T/C + 3-D) image that is read only where it is indexed.

    Parameters
    ----------
    array : array-like
        NumPy, memory-mapped, dask, zarr or another lazy array; its last three axes are z, y, x.
    axes : str
        One letter an axis, of t, c, z, y and x; ends with "zyx".
    voxel_size : tuple of float
        Size of a voxel along z, y, x in `unit`.
    unit : str
        Unit of `voxel_size`, "pixel" when unknown.
    name : str
        What messages call the volume.
    origin : tuple of float
        World position of the centre of voxel (0, 0, 0), in `unit`.
    metadata : mapping
        What else is known of the image, such as "channel_names", "channel_colours" ("#rrggbb") and "channel_limits".
    pyramid : tuple of array-like
        The same at coarser resolutions, finest first, without `array` itself. Their voxels cover whole numbers of its
        voxels; those that do not, or are not coarser in y and x alike, are not used.
    provenance : Provenance
        Where it comes from.
    repairs : Repairs, optional
        What was done to its sections, as `repair_sections` says it; None where nobody has looked at them yet.
    empty : tuple of float, optional
        Values of voxels that hold no measurement: padding, blank sections, masks. By default they are found when the
        voxels are first looked at; () says that there are none. NaN and infinite voxels hold none anyway.

    Raises
    ------
    VolumeError
        If the array is no volume (fewer than 3 axes, RGB, empty, complex), a voxel size is not positive, or a value of
        `empty` is no finite number.
    """

    array: Any
    axes: str = "zyx"
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str = "pixel"
    name: str = "volume"
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    pyramid: tuple[Any, ...] = ()
    provenance: Provenance = Provenance()
    repairs: Repairs | None = None
    empty: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.array.shape)
        if len(shape) < 3:
            raise VolumeError(
                f"{self.name!r} has {len(shape)} dimension(s); a volume needs three (z, y, x): open a stack of slices."
            )
        if "s" in self.axes:
            raise VolumeError(f"{self.name!r} is an RGB picture; convert it to one intensity channel first.")
        if len(self.axes) != len(shape) or not self.axes.endswith("zyx") or set(self.axes[:-3]) - set("tcq"):
            raise VolumeError(
                f"{self.name!r} has the axes {self.axes.upper()!r} for shape {shape}; the last three must be Z, Y, X."
            )
        if 0 in shape:
            raise VolumeError(f"{self.name!r} is empty (shape {shape}); choose a volume with voxels in it.")
        kind = np.dtype(self.array.dtype).kind
        if kind not in "uifb":
            raise VolumeError(
                f"{self.name!r} holds values of type {self.array.dtype}; convert it to integers or real numbers first."
            )
        sizes: tuple[float, ...] = self.voxel_size
        if len(sizes) != 3 or not all(math.isfinite(v) and v > 0 for v in sizes):
            raise VolumeError(
                f"The voxel size {self.voxel_size} (z, y, x) of {self.name!r} is not three positive numbers; "
                "give the real z step and pixel size."
            )
        if self.empty is not None:
            object.__setattr__(self, "empty", _finite(self.empty, self.name))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "metadata": dict(self.metadata)}  # a mapping proxy has no pickle

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, metadata=MappingProxyType(state["metadata"]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels, in this computer's byte order."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype)
        return kind.newbyteorder("=")

    @property
    def anisotropy(self) -> float:
        """Axial over lateral voxel size (geometric mean of y and x)."""
        z, y, x = self.voxel_size
        return z / math.sqrt(y * x)

    def with_anisotropy(self, anisotropy: float) -> Volume:
        """The same volume with its z step set from the lateral voxel size.

        Raises
        ------
        VolumeError
            If `anisotropy` is not within 1 … 16.
        """
        check_anisotropy(anisotropy, self.name)
        _, y, x = self.voxel_size
        return replace(self, voxel_size=(anisotropy * math.sqrt(y * x), y, x))

    def at(self, *leading: int) -> Volume:
        """The 3-D volume at one index of each leading (T, C) axis; nothing is read."""
        if not leading:
            return self
        pyramid = tuple(picked(array, leading) for array in self.pyramid)
        repairs = None if self.repairs is None else self.repairs.at(leading)
        return replace(self, array=picked(self.array, leading), axes="zyx", pyramid=pyramid, repairs=repairs)

    def levels(self) -> tuple[Level, ...]:
        """The resolutions at which the volume can be read, finest first; the first is the array itself."""
        levels = [Level(self.array, 1, 1)]
        for array in self.pyramid:
            factors = [round(n / m) if m else 0 for n, m in zip(self.shape[-3:], array.shape[-3:], strict=True)]
            if factors[1] == factors[2] > levels[-1].lateral and factors[0] >= 1:
                levels.append(Level(array, factors[0], factors[1]))
        return tuple(levels)

    @property
    def place(self) -> str:
        """What messages call it where it cannot be read: its name, or its address behind a URL."""
        path = str(self.provenance.path)
        return path if "://" in path else self.name

    def read_raw(
        self,
        z: slice = slice(None),
        y: slice = slice(None),
        x: slice = slice(None),
        step: int = 1,
    ) -> NDArray[Any]:
        """Read a box of a 3-D volume as it is; `step` skips pixels of y and x.

        Raises
        ------
        VolumeError
            If it cannot be read.
        """
        ys, xs = slice(y.start, y.stop, step), slice(x.start, x.stop, step)
        with reading(self.place):
            values = np.asarray(self.array[z, ys, xs])
        parts = zip((z, ys, xs), self.shape, strict=True)
        return as_announced(values, [len(range(*part.indices(n))) for part, n in parts], self.dtype, self.name)

    def read(self, z: slice, y: slice, x: slice, downsample: int = 1) -> NDArray[np.floating]:
        """Read a box of a 3-D volume as floats, laterally averaged over `downsample` x `downsample` pixels.

        `y` and `x` count pixels of the downsampled grid; its last pixel may be an average over fewer. Types of more
        digits than float32 has (32- and 64-bit integers, float64) come as float64: an offset far above the range of
        the intensities would leave nothing of them.
        """
        d = downsample
        height, width = self.shape[-2:]
        box = self.read_raw(z, slice(y.start * d, min(y.stop * d, height)), slice(x.start * d, min(x.stop * d, width)))
        return averaged(box, d)


def _finite(values: Any, name: str) -> tuple[float, ...]:
    """The values of empty voxels as numbers."""
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not all(math.isfinite(value) for value in numbers):
        raise VolumeError(
            f"The empty voxels of {name!r} cannot be {values!r}; name them as finite numbers, such as (0,): NaN and "
            "infinity are empty anyway."
        )
    return numbers


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn the errors of codecs, disks and networks into one sentence.

    Raises
    ------
    VolumeError
    """
    try:
        yield
    except (NiivError, MemoryError):
        raise
    except Exception as error:  # of codecs and networks, which have types of their own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise VolumeError(
            f"{name!r} cannot be read ({reason}); check that the file is complete and still there."
        ) from error


def as_announced(values: NDArray[Any], shape: Sequence[int], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Voxels that were read, if they are what their array said that they would be.

    Raises
    ------
    VolumeError
        If blocks of a lazy array have another type or shape: they would be other voxels, in silence.
    """
    if (found := values.dtype.newbyteorder("=")) != dtype:
        raise VolumeError(f"{name!r} says that its voxels are {dtype}, but gives {found}; correct its array's type.")
    if values.shape != tuple(shape):
        raise VolumeError(
            f"{name!r} gives {' × '.join(map(str, values.shape))} voxels where it says that there are "
            f"{' × '.join(map(str, shape))}; correct its array's shape."
        )
    return values


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution of a volume.

    Attributes
    ----------
    array : array-like
        Its last three axes are z, y, x.
    axial, lateral : int
        Voxels of the full resolution that one of its voxels covers, along z, and along y and x.
    """

    array: Any
    axial: int
    lateral: int


def averaged(box: NDArray[Any], downsample: int) -> NDArray[np.floating]:
    """A box as floats, averaged over `downsample` x `downsample` pixels of y and x; see `Volume.read`."""
    kind = box.dtype
    floats = np.dtype(np.float64 if kind.itemsize > (2 if kind.kind in "iu" else 4) else np.float32)
    if downsample == 1:
        return box.astype(floats)
    with np.errstate(over="ignore", invalid="ignore"):
        means = _block_mean(_block_mean(box, 1, downsample, floats), 2, downsample, floats)
    if kind.kind == "f" and np.isinf(means).any():  # sums that are beyond the type, or infinite voxels
        part = np.ldexp(box.astype(np.float64), -32)
        part = _block_mean(_block_mean(part, 1, downsample, part.dtype), 2, downsample, part.dtype)
        means = np.ldexp(part, 32).astype(floats)
    return means


def picked(array: Any, leading: tuple[int, ...]) -> Any:
    """The 3-D array at an index of the leading axes, without reading it."""
    if not leading:
        return array
    if (pick := getattr(array, "at_leading", None)) is not None:  # it knows better
        return pick(leading)
    if isinstance(array, np.ndarray) or is_dask(array):
        return array[leading]
    import dask.array as da

    # zarr and HDF5 would read all of that index at once; dask looks through all chunks, and gets those of this index
    chunks = getattr(array, "chunks", None)
    part = _Part(array, leading)
    return da.from_array(part, chunks=tuple(chunks[len(leading) :]) if chunks else "auto", name=False)


class _Part:
    """One index of the leading axes of an array that is read where it is indexed."""

    def __init__(self, source: Any, leading: tuple[int, ...]) -> None:
        self._source, self._leading = source, leading
        self.shape: tuple[int, ...] = tuple(source.shape[len(leading) :])
        self.dtype, self.ndim = source.dtype, len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        return self._source[(*self._leading, *(key if isinstance(key, tuple) else (key,)))]


def downsampled(size: int, factor: int) -> int:
    """Pixels of an axis of `size` pixels after averaging over `factor`."""
    return -(-size // factor)


def _block_mean(values: NDArray[Any], axis: int, factor: int, floats: np.dtype[Any]) -> NDArray[np.floating]:
    starts = np.arange(0, values.shape[axis], factor)
    counts = np.diff(np.append(starts, values.shape[axis])).astype(floats)
    sums = np.add.reduceat(values, starts, axis=axis, dtype=floats)
    shape = [1, 1, 1]
    shape[axis] = len(starts)
    return np.asarray(sums / counts.reshape(shape), dtype=floats)


def in_memory(array: Any) -> bool:
    """Whether all voxels of an array are in memory; those of a mapped file are not."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        if array.base is None:
            return True
        array = array.base
    return False


def sampled(array: NDArray[Any], count: int) -> NDArray[Any]:
    """At most `count` voxels from all over an array in memory, always the same ones."""
    places = np.linspace(0, array.size - 1, min(array.size, count)).astype(np.int64)
    voxels: NDArray[Any] = array[np.unravel_index(places, array.shape)]
    return voxels


def check_anisotropy(anisotropy: float, name: str) -> None:
    """Refuse what cannot be reconstructed.

    Raises
    ------
    VolumeError
        Outside 1 … 16 (with one per cent of tolerance at the lower end).
    """
    if not math.isfinite(anisotropy) or not 0.99 <= anisotropy <= MAX_ANISOTROPY * 1.001:
        raise VolumeError(
            f"The anisotropy of {name!r} would be {anisotropy:g} (z step over pixel size), which is outside "
            f"1 to {MAX_ANISOTROPY:g}; check its voxel size or give the anisotropy."
        )
