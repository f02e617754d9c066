"""Zarr and N5 behind URLs: what a server sends is bounded, and nothing of it is left at the end of the program."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import loop, sync
from zarr.storage import FsspecStore, WrapperStore

from napari_niiv.io.remote import METADATA_BYTES, is_web, storage_options

_METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json", "attributes.json"}
_METADATA_S = 60.0  # to come, however slowly

_T = TypeVar("_T")


def remote_store(url: str) -> BoundedStore:
    """The zarr store behind a URL.

    Raises
    ------
    VolumeError
        If a package for such URLs is missing.
    """
    options = storage_options(url)  # before zarr asks for fsspec in its own words
    _end_before_zarr()
    return BoundedStore(FsspecStore.from_url(url, storage_options=options, read_only=True), is_web(url))


def metadata_of(store: BoundedStore, key: str) -> bytes | None:
    """A file of metadata in a store; None where there is none. Raises whatever the library of its server raises."""
    found = sync(store.get(key))
    return None if found is None else bytes(found.to_bytes())


class BoundedStore(WrapperStore[Any]):
    """A zarr store whose metadata are small and come soon, or are refused.

    Parameters
    ----------
    store : zarr store
    web : bool
        Whether its answers are those of `http_answers`, which bound themselves; of others no more is asked for.
    """

    def __init__(self, store: Any, web: bool = False) -> None:
        super().__init__(store)
        self._web = web

    def _with_store(self, store: Any) -> BoundedStore:
        return BoundedStore(store, self._web)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """As the store's own; raises ValueError for metadata that are too long, TimeoutError if they do not come."""
        prototype = prototype or default_buffer_prototype()
        if key.rpartition("/")[2] not in _METADATA:
            return await self._store.get(key, prototype, byte_range)
        if self._web:
            from napari_niiv.io.http_answers import MOST_BYTES

            # not a range, which servers that compress would take of the compressed bytes
            bound = MOST_BYTES.set(METADATA_BYTES)
            try:
                return await _soon(self._store.get(key, prototype, byte_range))
            finally:
                MOST_BYTES.reset(bound)
        byte_range = byte_range or RangeByteRequest(0, METADATA_BYTES + 1)
        found = await _soon(self._store.get(key, prototype, byte_range))
        if found is not None and len(found) > METADATA_BYTES:
            raise ValueError(f"{key} has more than {METADATA_BYTES >> 20} MiB")
        return found

    async def exists(self, key: str) -> bool:
        """As the store's own; raises TimeoutError if no answer comes."""
        return await _soon(self._store.exists(key))


async def _soon(answer: Coroutine[Any, Any, _T]) -> _T:
    try:
        return await asyncio.wait_for(answer, _METADATA_S)
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"no answer within {_METADATA_S:.0f} s") from error


@functools.cache
def _end_before_zarr() -> None:
    """End what still runs on zarr's loop before zarr closes it, which would print tracebacks."""
    atexit.register(_end)  # after zarr's, so it is called before


def _end() -> None:
    if loop[0] is not None:
        with contextlib.suppress(Exception):
            sync(_ended(), timeout=2)


async def _ended() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)
    if (answers := sys.modules.get("napari_niiv.io.http_answers")) is not None:
        await answers.close_sessions()
