"""Shards on the disk: written whole, aside, and put in their place at once; known by size and checksum from then on."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any, Literal, NamedTuple

import google_crc32c
import zarr
from numpy.typing import NDArray

from napari_niiv.errors import OutputError, Remedy
from napari_niiv.export.plan import Level, Unit
from napari_niiv.geometry import Box

WRITING = "writing"  # folder beside the hierarchy, where shards are made
_OPENING = threading.Lock()
_READ_BYTES = 4 << 20


class FileState(NamedTuple):
    """What tells that a file is as it was written.

    Attributes
    ----------
    bytes : int
    checksum : int
        CRC-32C.
    """

    bytes: int
    checksum: int


ABSENT = FileState(0, 0)
"""Of a shard of nothing but zeros, which has no file."""

Written = tuple[FileState, ...]
"""The files that a unit wrote: of its own shard, and of those of coarser levels."""


def write_shard(data: Path, level: Level, unit: Unit, values: NDArray[Any]) -> FileState:
    """Write a shard, whole, and return what its file is; it is on the disk then.

    It is made aside and put in its place at once: whoever else writes the same shard, and whenever one is killed, it is
    there whole or not at all. zarr would also read a shard at the border first, to merge it.
    """
    path = shard_path(data, level, unit)
    aside = data.parent / WRITING / uuid.uuid4().hex
    aside.mkdir(parents=True)
    try:
        shutil.copyfile(data / str(unit.level) / "zarr.json", aside / "zarr.json")
        array = _open(aside, "r+")
        try:
            array[(*unit.leading, *unit.place.slices)] = values
        except RuntimeError as error:
            raise _os_error(error) from error
        made = aside / path.relative_to(data / str(unit.level))
        if made.exists():
            sync(made)
            state = state_of(made)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, path)
        else:  # shards of nothing but zeros have no file
            path.unlink(missing_ok=True)
            state = ABSENT
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return state


def shard_path(data: Path, level: Level, unit: Unit) -> Path:
    """The file of a shard."""
    place = (span.lo // edge for span, edge in zip(unit.place, level.shard, strict=True))
    return data.joinpath(str(unit.level), "c", *map(str, (*unit.leading, *place)))


def size_of(path: Path) -> int:
    """Bytes of a file, 0 if it is not there: shards of nothing but zeros have none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def state_of(path: Path) -> FileState:
    """Size and checksum of a file as it is now, read from its beginning to its end."""
    count = checksum = 0
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_READ_BYTES):
                count, checksum = count + len(piece), google_crc32c.extend(checksum, piece)
    except FileNotFoundError:
        return ABSENT
    return FileState(count, checksum)


def read_level(data: Path, level: int, leading: tuple[int, ...], place: Box) -> NDArray[Any]:
    """Voxels of a level that is written.

    Raises
    ------
    OutputError
        If it is damaged.
    """
    try:
        values: NDArray[Any] = open_level(data, level)[(*leading, *place.slices)]
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"Level {level} of the unfinished output is damaged ({error});", Remedy.RESUME) from error
    return values


def open_level(data: Path, level: int = 0) -> Any:
    """A level as a lazy array."""
    return _open(data / str(level), "r")


def _open(path: Path, mode: Literal["r", "r+"]) -> Any:
    """An array whose chunks are coded in Rust; zarr's own codecs wait for Python's lock, and a GPU for them.

    An array keeps the codecs that are set when it is opened, for all threads.
    """
    with _OPENING, zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return zarr.open_array(path, mode=mode)


def _os_error(error: RuntimeError) -> OSError:
    """What the system refused, which the codecs say in words."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    code = int(number[1]) if number else errno.EIO
    return OSError(code, os.strerror(code) if number else str(error))


def sync(path: Path) -> None:
    """Force a file or folder to the disk; folders where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
