"""Zarr arrays and groups, versions 2 and 3, on disk and behind URLs."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.formats import Location, is_url
from napari_niiv.io.readers.chunks_there import check_chunks
from napari_niiv.io.remote import storage_options, unreachable
from napari_niiv.io.stored_volume import first_line

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

    logging.getLogger("asyncio").addFilter(_no_stray_tasks)
    remote = is_url(location)
    name = location if remote else Location(location).name
    inside = (path or "").strip("/")
    store: Any = location
    try:
        if remote:
            options = storage_options(location)  # before zarr asks for fsspec in its own words
            store = zarr.storage.FsspecStore.from_url(location, storage_options=options, read_only=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files in the hierarchy that belong to nothing
            node = zarr.open(store, path=inside, mode="r")
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


def check_chunks_of(array: zarr.Array[Any], location: str, name: str) -> str:
    """As `check_chunks`, of a zarr array; empty of one behind a URL, where looking for chunks may take long.

    Raises
    ------
    VolumeError
        If all are missing, or their files have other names than the metadata say.
    """
    if is_url(location):
        return ""
    chunks = array.shards or array.chunks
    grid = [-(-n // chunk) for n, chunk in zip(array.shape, chunks, strict=True)]
    fill_value = array.fill_value if array.fill_value is not None else 0
    return check_chunks(Path(location) / array.path, name, grid, array.metadata.encode_chunk_key, fill_value)
