"""Write a volume; a file appears whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_niiv.dask_arrays import is_dask
from napari_niiv.errors import OutputError, Remedy
from napari_niiv.file_locks import LockedError, lock
from napari_niiv.io.channel_facts import to_ome_colour
from napari_niiv.volume import Volume, as_announced

if TYPE_CHECKING:
    from filelock import BaseFileLock

_SUFFIXES = (".tif", ".tiff")
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
# OME has no such types
_WIDER = {"bool": "uint8", "float16": "float32", "int64": "float64", "uint64": "float64"}
# ImageJ's own files end at 4 GiB
_IMAGEJ_BYTES = 3 << 30
_SLAB_BYTES = 256 << 20
SOFTWARE = "napari-niiv"
IDENTITY = "napari_niiv"
"""Under which ImageJ's kind has the identity of a file."""
_SHORT_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "meter": "m", "angstrom": "Å"}


def check_output(path: str | os.PathLike[str], overwrite: bool = False, suffixes: tuple[str, ...] = _SUFFIXES) -> Path:
    """Find out before any work whether a file of a kind can be written.

    Raises
    ------
    OutputError
        If it exists already, its folder is missing or read-only, or its kind is unknown.
    """
    target = Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise OutputError(f"Cannot write {target.name}: the output must end in {' or '.join(suffixes)}.")
    if target.is_dir() and target.suffix.lower() != ".zarr":
        raise OutputError(f"{target} is a folder; name a file.")
    if target.exists() and not overwrite:
        remove_left(target)  # by a process that was killed just after
        raise exists_already(target)
    if not target.parent.is_dir():
        if any(above.is_file() for above in target.parents):
            raise OutputError(f"{target.parent} is not a folder; choose another one.")
        raise OutputError(f"The folder {target.parent} does not exist; create it first.")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"The folder {target.parent} cannot be written to; choose another one.")
    return target


def exists_already(target: Path) -> OutputError:
    """The error of an output that exists already."""
    return OutputError(f"{target} exists already;", Remedy.RENAME_OR_REPLACE)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; the file takes its place when the block ends well, and goes otherwise.

    What processes that were killed have left of the same target goes.
    """
    with _beside(target) as partial:
        yield partial
        os.replace(partial, target)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` to write to; it takes its place when the block ends well, and goes otherwise.

    A target that exists is never replaced. What processes that were killed have left of the same target goes.
    """
    with _beside(target) as partial:
        partial.mkdir()
        yield partial
        if target.exists():
            raise OutputError(f"{target} exists already by now; choose another name.")
        os.rename(partial, target)


def remove_left(target: Path) -> None:
    """Remove what processes that were killed have left of a target, where the file system has locks."""
    for suffix in (".part", ".lock"):
        for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 32}{suffix}"):
            _remove_if_left(left.with_suffix(".part"))


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A name beside a target that nobody else uses as long as the block lasts; what has it then goes."""
    remove_left(target)
    partial = target.with_name(f".{target.name}.{uuid4().hex}.part")
    held = lock(_lock_of(partial))
    try:
        yield partial
    finally:
        _remove(partial)
        _let_go(partial, held)


def _lock_of(partial: Path) -> Path:
    return partial.with_suffix(".lock")


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def _remove_if_left(partial: Path) -> None:
    """Remove what nobody is writing any more; where a file system has no locks, it stays."""
    try:
        held = lock(_lock_of(partial))
    except LockedError:
        return
    if held is not None:
        _remove(partial)
        _let_go(partial, held)


def _let_go(partial: Path, held: BaseFileLock | None) -> None:
    if held is not None:
        held.release()
    with suppress(OSError):  # another process may have it open
        _lock_of(partial).unlink(missing_ok=True)


def write_tiff(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Write a volume as TIFF, slab by slab; ImageJ's kind where it fits, OME-TIFF otherwise.

    Types that neither has are written as the next wider one.

    Parameters
    ----------
    volume : Volume
        Dask arrays are computed one layer of chunks along z at a time.
    path : str or path
    overwrite : bool
    progress : callable
        Gets the fraction that is written, 0 … 1.

    Raises
    ------
    OutputError
        As `check_output`, or if the disk is full; no partial file stays.
    """
    target = check_output(path, overwrite)
    try:
        with whole_file(target) as partial:
            save_tiff(volume, partial, ome=is_ome(target), progress=progress)
    except OSError as error:
        raise OutputError(
            f"{target} could not be written ({error.strerror or error}); nothing was kept of it."
        ) from error


def is_ome(target: Path) -> bool:
    """Whether a name asks for OME-TIFF."""
    return target.name.lower().endswith((".ome.tif", ".ome.tiff"))


def save_tiff(
    volume: Volume,
    path: Path,
    *,
    ome: bool,
    identity: UUID | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Write a TIFF file, also over one that exists.

    Parameters
    ----------
    volume : Volume
    path : Path
    ome : bool
        OME-TIFF even where ImageJ's kind would do.
    identity : UUID, optional
        Of the file; an OME-TIFF has a random one by default, ImageJ's kind none.
    progress : callable
        Gets the fraction that is written, 0 … 1; may raise to give up.

    Raises
    ------
    OSError
        If it cannot be written; what is written of it stays.
    """
    z, y, x = volume.voxel_size
    unit = _SHORT_UNITS.get(volume.unit, "pixel")
    big = volume.dtype.itemsize * int(np.prod(volume.shape))
    dtype = np.dtype(_WIDER.get(volume.dtype.name, volume.dtype))
    options: dict[str, Any] = {
        "shape": volume.shape,
        "dtype": dtype,
        "photometric": "minisblack",
        "bigtiff": big > _IMAGEJ_BYTES,
        "software": SOFTWARE,
    }
    ascii_unit = unit.replace("µ", "u")
    imagej = volume.axes == "zyx" and dtype.name in _IMAGEJ_TYPES and big <= _IMAGEJ_BYTES and ascii_unit.isascii()
    if imagej and not ome:
        options |= {
            "imagej": True,
            "resolution": (1 / x, 1 / y),
            "metadata": {
                **{"axes": "ZYX", "spacing": z, "unit": ascii_unit},
                **_imagej_origin(volume),
                **({} if identity is None else {IDENTITY: identity}),
            },
        }
    else:
        sizes = {f"PhysicalSize{a}": v for a, v in zip("ZYX", (z, y, x), strict=True)}
        units = {f"PhysicalSize{a}Unit": unit for a in "ZYX"}
        metadata = {"axes": volume.axes.upper(), **sizes, **units, **_ome_origin(volume, unit)}
        metadata |= _ome_channels(volume)
        if identity is not None:
            metadata["UUID"] = f"urn:uuid:{identity}"
        options |= {"ome": True, "metadata": metadata}
    tifffile.imwrite(path, _planes(volume, dtype, progress), **options)


def _imagej_origin(volume: Volume) -> dict[str, float]:
    """The pixel that lies at 0 in the world, in the tags that ImageJ reads."""
    if not any(volume.origin):
        return {}
    places = zip("zyx", volume.origin, volume.voxel_size, strict=True)
    return {f"{axis}origin": -origin / size for axis, origin, size in places}


def _ome_channels(volume: Volume) -> dict[str, Any]:
    """Names and colours of the channels, in OME's attributes."""
    count = volume.shape[volume.axes.index("c")] if "c" in volume.axes else 0
    names, colours = (volume.metadata.get(f"channel_{what}") or () for what in ("names", "colours"))
    facts: dict[str, Any] = {}
    if count and len(names) == count:
        facts["Name"] = [str(name) for name in names]
    if count and len(colours) == count and all(colours):
        facts["Color"] = [to_ome_colour(colour) for colour in colours]
    return {"Channel": facts} if facts else {}


def _ome_origin(volume: Volume, unit: str) -> dict[str, Any]:
    """The position of each plane in the world, in OME's attributes."""
    if not any(volume.origin):
        return {}
    planes = int(np.prod(volume.shape[:-2]))
    z, y, x = volume.origin
    heights = z + volume.voxel_size[0] * (np.arange(planes) % volume.shape[-3])
    positions = {"PositionZ": heights.tolist(), "PositionY": [y] * planes, "PositionX": [x] * planes}
    return {"Plane": {**positions, **{f"Position{a}Unit": [unit] * planes for a in "ZYX"}}}


def _slabs(array: Any) -> Iterator[slice]:
    """Ranges of slices that are read at once: a layer of chunks, or fewer where they are large."""
    if is_dask(array):
        depths = array.chunks[-3]
    else:
        depth, height, width = array.shape[-3:]
        most = max(1, _SLAB_BYTES // (height * width * array.dtype.itemsize))
        each = min(most, getattr(array, "chunks", (16, 1, 1))[-3])
        depths = [min(each, depth - first) for first in range(0, depth, each)]
    for first, depth in zip(np.cumsum([0, *depths]), depths, strict=False):
        yield slice(int(first), int(first + depth))


def _planes(volume: Volume, dtype: np.dtype[Any], progress: Callable[[float], None]) -> Iterator[NDArray[Any]]:
    total = int(np.prod(volume.shape[:-2]))
    done = 0
    for leading in np.ndindex(volume.shape[:-3]):
        for part in _slabs(volume.array):
            slab = volume.array[(*leading, part)]
            slab = np.asarray(slab.compute() if is_dask(slab) else slab)
            slab = as_announced(slab, (part.stop - part.start, *volume.shape[-2:]), volume.dtype, volume.name)
            for plane in slab:
                yield np.ascontiguousarray(plane, dtype=dtype)
            done += len(slab)
            progress(done / total)
