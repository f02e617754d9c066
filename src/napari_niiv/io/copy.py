"""A copy of a volume as a chunked OME-Zarr, where that reads faster than its own file."""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_niiv.dask_arrays import is_dask
from napari_niiv.errors import OutputError
from napari_niiv.geometry import Box, Shape, rounded_up, three
from napari_niiv.io.formats import Location, is_url
from napari_niiv.io.ome.arrays import create_level, halved
from napari_niiv.io.ome.attributes import Window, channels, json_part, ome_attributes
from napari_niiv.io.write import check_output, whole_folder
from napari_niiv.volume import Volume, as_announced, reading

SUFFIX = ".zarr"
_CHUNK, _SHARD = (32, 128, 128), (32, 512, 512)
_COARSEST = 256  # pixels: the longer lateral edge of the last level
_PIECE_BYTES = 64 << 20  # what is read and written at once, where pages allow
_MOST_BYTES = 512 << 20  # where they do not: then chunks get flatter


@dataclass(frozen=True)
class CopyProgress:
    """A part of the copy is written.

    Attributes
    ----------
    done, total : int
        Voxels, those of the coarser levels included.
    remaining : float
        Seconds that the rest will take.
    """

    done: int
    total: int
    remaining: float

    @property
    def fraction(self) -> float:
        """Part that is done, 0 … 1."""
        return self.done / self.total


@dataclass(frozen=True)
class CopyFinished:
    """The copy is in its place; nothing comes after.

    Attributes
    ----------
    path : Path
    elapsed : float
        Seconds that it took.
    """

    path: Path
    elapsed: float


CopyEvent = CopyProgress | CopyFinished


def copy_to_zarr(volume: Volume, target: str | os.PathLike[str]) -> Generator[CopyEvent, None, None]:
    """Copy a volume to an OME-Zarr 0.5, compressed, with laterally coarser levels.

    It is read piece by piece, in memory that does not depend on its size; each chunk, strip or page of a file is
    decoded once.

    Parameters
    ----------
    volume : Volume
        What is copied.
    target : path
        A folder to be, that ends in .zarr; never one that is there.

    Yields
    ------
    CopyProgress, CopyFinished
        Closing the generator stops the copy; like one that fails, it leaves nothing.

    Raises
    ------
    OutputError
        If the copy cannot be written.
    VolumeError
        If the volume cannot be read.
    """
    began = time.monotonic()
    path = _check_target(volume, target)
    with _output_errors(path), whole_folder(path) as partial:
        import zarr

        group = zarr.open_group(partial, mode="w", zarr_format=3)
        plan = _Plan.of(volume)
        arrays = [
            create_level(group, n, volume.axes, volume.shape[:-3] + shape, volume.dtype, plan.chunk, plan.shard)
            for n, shape in enumerate(plan.levels)
        ]
        total, done = sum(math.prod(array.shape) for array in arrays), 0
        for voxels in itertools.chain(_copied(volume, arrays[0], plan), _coarser(arrays, plan)):
            done += voxels
            yield CopyProgress(done, total, (time.monotonic() - began) * (total - done) / done)
        group.attrs.update(_attributes(volume, plan, arrays[-1]))
    yield CopyFinished(path, time.monotonic() - began)


def free_target(source: str | os.PathLike[str], folder: Path | None = None) -> Path | None:
    """A name for the copy that is not taken: in the folder, or beside the source; None if that cannot be written to."""
    title = Location(str(source)).title
    folder = folder or Path(source).parent
    if not os.access(folder, os.W_OK):
        return None
    stem = re.sub(r"[^\w.\-]+", "-", title).strip("-.") or "volume"
    names = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
    return next(path for name in names if not (path := folder / f"{name}{SUFFIX}").exists())


@dataclass(frozen=True)
class _Plan:
    """How a copy is cut into pieces; sizes are (z, y, x).

    Attributes
    ----------
    chunk, shard : tuple of int
        Of the copy.
    piece : tuple of int
        What is read and written at once: whole shards, and whole chunks of the source.
    levels : tuple of tuple
        Shapes, the finest first.
    """

    chunk: Shape
    shard: Shape
    piece: Shape
    levels: tuple[Shape, ...]

    @classmethod
    def of(cls, volume: Volume) -> _Plan:
        shape, stored = three(volume.shape[-3:]), _stored_chunk(volume.array)
        depth = _CHUNK[0]
        while True:
            chunk = three([min(c, n) for c, n in zip((depth, *_CHUNK[1:]), shape, strict=True)])
            shard = three([min(s, rounded_up(n, c)) for s, n, c in zip(_SHARD, shape, chunk, strict=True)])
            shard = (chunk[0], *shard[1:])
            least = three([min(math.lcm(s, c), n) for s, c, n in zip(shard, stored, shape, strict=True)])
            if math.prod(least) * volume.dtype.itemsize <= _MOST_BYTES or depth == 1:
                break
            depth //= 2
        piece = list(least)
        for axis in (2, 1):
            fit = _PIECE_BYTES // (math.prod(piece) * volume.dtype.itemsize)
            piece[axis] = min(piece[axis] * max(1, fit), shape[axis])
        return cls(chunk, shard, three(piece), tuple(_levels(shape)))

    def pieces(self, level: int) -> list[Box]:
        """What is written at once of a level; of coarser levels, whole shards of about that size."""
        edges = self.piece
        if level > 0:
            edges = three(max(s, p // s * s) for s, p in zip(self.shard, self.piece, strict=True))
        return Box.whole(self.levels[level]).pieces(edges)


def _levels(shape: Shape) -> Iterator[Shape]:
    """Shapes of the levels: halved along y and x, as long as rounding leaves the factor beyond doubt."""
    yield shape
    factor = 2
    while max(shape[1:]) > _COARSEST * factor // 2 and 2 * factor**2 < min(shape[1:]):
        yield shape[0], -(-shape[1] // factor), -(-shape[2] // factor)
        factor *= 2


def _stored_chunk(array: Any) -> Shape:
    """Voxels along z, y, x that an array decodes at once."""
    chunks = getattr(array, "shards", None) or getattr(array, "chunks", None)
    if chunks is None:
        return 1, 1, 1
    if is_dask(array):
        chunks = [each[0] for each in chunks]
    return three(int(n) for n in chunks[-3:])


def _copied(volume: Volume, array: Any, plan: _Plan) -> Iterator[int]:
    for leading in np.ndindex(volume.shape[:-3]):
        for piece in plan.pieces(0):
            with reading(volume.place):
                values = np.asarray(volume.array[(*leading, *piece.slices)])
            values = as_announced(values, piece.shape, volume.dtype, volume.name)
            array[(*leading, *piece.slices)] = values.astype(volume.dtype, copy=False)
            yield values.size


def _coarser(arrays: list[Any], plan: _Plan) -> Iterator[int]:
    for level in range(1, len(arrays)):
        finer, array = arrays[level - 1], arrays[level]
        for leading in np.ndindex(array.shape[:-3]):
            for piece in plan.pieces(level):
                halves = piece.scaled((1, 2, 2), finer.shape[-3:])
                values = halved(finer[(*leading, *halves.slices)], (1, 2, 2))
                array[(*leading, *piece.slices)] = values
                yield values.size


def _attributes(volume: Volume, plan: _Plan, coarsest: Any) -> dict[str, Any]:
    z, y, x = volume.voxel_size
    places = []
    for level in range(len(plan.levels)):
        factor = 2**level
        shift = (factor - 1) / 2
        origin = (volume.origin[0], volume.origin[1] + shift * y, volume.origin[2] + shift * x)
        places.append(((z, factor * y, factor * x), origin))
    shown = channels(volume.name, volume.metadata, _windows(volume, coarsest), volume.dtype)
    how = "Means over 2 × 2 pixels of each slice."
    facts = {**volume.metadata, **volume.provenance.plain}
    origin_of_copy = {key: value for key, value in facts.items() if key in ("path", "dataset", "labels")}
    return {
        "ome": ome_attributes(volume.name, volume.axes, volume.unit, places, shown, how),
        "napari_niiv": {"copy_of": json_part(origin_of_copy)},
    }


def _windows(volume: Volume, coarsest: Any) -> list[Window]:
    """The range of intensities of each channel, without the brightest and darkest thousandth: of a few slices."""
    axis = volume.axes.find("c")
    windows = []
    for channel in range(volume.shape[axis] if axis >= 0 else 1):
        leading = [0] * (len(volume.axes) - 3)
        if axis >= 0:
            leading[axis] = channel
        step = max(1, coarsest.shape[-3] // 16)
        values = np.stack([coarsest[(*leading, z)] for z in range(0, coarsest.shape[-3], step)]).astype(float)
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 0.0)
        windows.append((float(low), float(high) if high > low else float(low) + 1))
    return windows


def _check_target(volume: Volume, target: str | os.PathLike[str]) -> Path:
    path = check_output(target, suffixes=(SUFFIX,)).absolute()
    source = volume.provenance.path
    if source is not None and not is_url(source) and Path(source).resolve() in path.resolve().parents:
        raise OutputError(f"{path} lies inside of {source}, which is to be copied; choose another folder.")
    return path


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"The disk is full, so {path.name} was given up; free space, or choose another folder."
            ) from error
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}); nothing was kept of it."
        ) from error
