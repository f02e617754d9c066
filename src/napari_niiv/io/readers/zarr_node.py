"""Zarr arrays and groups, versions 2 and 3, on disk and behind URLs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.formats import Location, is_url
from napari_niiv.io.readers.chunks_there import check_chunks, check_some_chunks
from napari_niiv.io.remote import unreachable
from napari_niiv.io.stored_volume import StoredVolume, first_line

if TYPE_CHECKING:
    import zarr


def open_node(location: str, path: str | None = None) -> zarr.Array[Any] | zarr.Group:
    """The zarr array or group at a path or URL, or inside of it.

    Raises
    ------
    VolumeError
        If nothing is there, it cannot be reached, or its metadata are damaged.
    """
    import zarr

    from napari_niiv.io.readers.blosc_chunks import guarded
    from napari_niiv.io.readers.remote_store import remote_store
    from napari_niiv.io.readers.zarr_metadata import MendedMetadata

    logging.getLogger("asyncio").addFilter(_no_stray_tasks)
    remote = is_url(location)
    name = location if remote else Location(location).name
    inside = (path or "").strip("/")
    store: Any = location
    try:
        if remote:
            store = remote_store(location)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files in the hierarchy that belong to nothing
            try:
                node = zarr.open(store, path=inside, mode="r")
            except ValueError as error:
                if "zarr_format" not in str(error):
                    raise
                local = zarr.storage.LocalStore(location, read_only=True)
                node = zarr.open(MendedMetadata(store if remote else local), path=inside, mode="r")
        return guarded(node) if isinstance(node, zarr.Array) else node
    except VolumeError:
        raise
    except FileNotFoundError as error:  # zarr's own for nodes are of this type
        where = f"{name} holds no zarr array or group" + (f" {inside!r}" if inside else "")
        raise VolumeError(f"{where}; check its name.") from error
    except Exception as error:  # of JSON, codecs, networks
        if remote:
            raise unreachable(location, error) from error
        raise VolumeError(
            f"{name} is not a readable zarr ({first_line(error)}); get it anew, or choose another dataset."
        ) from error


def _no_stray_tasks(record: logging.LogRecord) -> bool:
    """Whether asyncio is to print a message.

    Where a chunk is damaged, zarr raises the first error and drops the reads of other chunks, of which asyncio tells
    whenever they are cleared away.
    """
    return "concurrent_map" not in record.getMessage()


def noting_absence(stored: StoredVolume, location: str, name: str) -> StoredVolume:
    """A volume of zarr arrays with a note of chunks that are missing, and without coarser levels that have none.

    Parameters
    ----------
    stored : StoredVolume
    location : str
        Path or URL of the zarr, from which the paths of its arrays lead.
    name : str
        Of the volume, for messages.

    Raises
    ------
    VolumeError
        If all chunks of the finest are missing, or their files have other names than the metadata say.
    """
    note = _check_chunks(stored.array, location, name)
    pyramid = []
    for level in stored.pyramid:
        with contextlib.suppress(VolumeError):
            _check_chunks(level, location, name)
            pyramid.append(level)
    return replace(stored, note=note, pyramid=tuple(pyramid))


def _check_chunks(array: zarr.Array[Any], location: str, name: str) -> str:
    """As `check_chunks`, of a zarr array; as `check_some_chunks` of one behind a URL."""
    chunks = array.shards or array.chunks
    if 0 in chunks:
        raise VolumeError(f"{name} is not a readable zarr (its chunks are {chunks}); get it anew.")
    grid = [-(-n // chunk) for n, chunk in zip(array.shape, chunks, strict=True)]
    fill_value = array.fill_value if array.fill_value is not None else 0
    key = array.metadata.encode_chunk_key
    if is_url(location):
        return check_some_chunks(lambda keys: _exist(array, keys), name, grid, key, fill_value)
    return check_chunks(Path(location) / array.path, name, grid, key, fill_value)


def _exist(array: zarr.Array[Any], keys: Sequence[str]) -> list[bool]:
    """Whether a store has chunks; one that does not tell counts as there, which reading it will show."""
    from zarr.core.sync import sync

    async def ask() -> list[bool | BaseException]:
        paths = [posixpath.join(array.path, key) for key in keys]
        return await asyncio.gather(*map(array.store.exists, paths), return_exceptions=True)

    return [found if isinstance(found, bool) else True for found in sync(ask())]
