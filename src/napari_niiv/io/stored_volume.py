"""What the readers of all formats return, and how they refuse a file."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from napari_niiv.errors import Remedy, VolumeError
from napari_niiv.io.spacing import Spacing


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """An opened file, as it is stored; nothing is read of what can be left.

    Attributes
    ----------
    array : array-like
        Its voxels.
    axes : str
        One letter an axis, in the order of `array`.
    spacing : Spacing
        Voxel size (z, y, x) as the file gives it.
    metadata : mapping
        What else it says of the image: ``channel_names``, ``channel_colours``, ``labels`` of the slices.
    pyramid : tuple of array-like
        Coarser levels, finest first, axes as `array`.
    origin : tuple of float
        World position (z, y, x) of the centre of the first voxel, in the unit of `spacing`.
    decode : callable, optional
        Returns all voxels of a file whose pieces are slow to read, as it is compressed; may raise `VolumeError`.
    note : str
        What the user should know of the file, such as missing slices, in a sentence; mostly empty.
    """

    array: Any
    axes: str
    spacing: Spacing = field(default_factory=Spacing)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pyramid: tuple[Any, ...] = ()
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    decode: Callable[[], Any] | None = None
    note: str = ""


def usual_axes(ndim: int) -> str:
    """The usual letters for the axes of an array that does not name them, "?" where there are none."""
    return "tczyx"[-ndim:] if 0 < ndim <= 5 else "?" * ndim


def covers_whole(
    fine: Sequence[int],
    coarse: Sequence[int],
    factors: Sequence[float] | None = None,
    shifts: Sequence[float] = (0.0, 0.0, 0.0),
) -> bool:
    """Whether the voxels of a coarser level cover whole numbers of the finest level's, and can stand for them.

    Parameters
    ----------
    fine, coarse : sequence of int
        Shapes (z, y, x).
    factors : sequence of float, optional
        Fine voxels along one coarse voxel, where the file gives them.
    shifts : sequence of float
        How far the first coarse centre lies from the first fine one, in fine voxels; 0 is also what writers give who
        do not care.
    """
    for n, m, shift, factor in zip(fine, coarse, shifts, factors or (None,) * 3, strict=True):
        whole = round(n / m) if m else 0
        if whole < 1 or (factor is not None and abs(factor - whole) > 1e-3 * whole):
            return False
        if abs(shift) > 1e-3 and abs(shift - (whole - 1) / 2) > 0.25:
            return False
    return True


def missing_extra(name: str, extra: str, kind: str) -> VolumeError:
    """The error of a format whose library is not installed."""
    return VolumeError(f'{name}: {kind} needs an extra; install it with: pip install "napari-niiv[{extra}]"')


def library(module: str, name: str, extra: str, kind: str) -> Any:
    """The library that reads a format, imported.

    Parameters
    ----------
    module : str
        Such as "h5py".
    name : str
        Of the file, for the message.
    extra : str
        Of this package, that brings the library.
    kind : str
        What users call the format.

    Raises
    ------
    VolumeError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing_extra(name, extra, kind) from error


@contextmanager
def refusing(name: str, kind: str) -> Iterator[None]:
    """Turn whatever a library raises for a damaged file, each in types of its own, into one sentence.

    Parameters
    ----------
    name : str
        Of the file.
    kind : str
        What it should be, such as "TIFF file".

    Raises
    ------
    VolumeError
        Also as the block itself raises it.
    """
    try:
        yield
    except VolumeError:
        raise
    except Exception as error:
        raise unreadable(name, kind, error) from error


def unsorted_axes(name: str, axes: str) -> VolumeError:
    """The error of a file whose voxel size alone is asked for, and that does not end in z, y, x."""
    return VolumeError(f"{name} stores its axes as {axes.upper()};", Remedy.OPEN_HERE)


def unreadable(name: str, kind: str, error: BaseException) -> VolumeError:
    """The error of a file that its library refuses."""
    return VolumeError(f"{name} is not a readable {kind} ({first_line(error)}); get the file anew.")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened; the error's type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(" .:") if lines else type(error).__name__
