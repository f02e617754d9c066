"""Chunks compressed by Blosc: one whose end is missing is refused, where its library reads on in foreign memory."""

from __future__ import annotations

import struct
from typing import Any

import zarr
from zarr.codecs import BloscCodec
from zarr.storage import StorePath, WrapperStore

_METADATA = {".zarray", ".zattrs", "zarr.json"}
_HEADER = 16  # bytes; the last four say how many there are in all


class WholeChunks(WrapperStore[Any]):
    """A zarr store of one array of Blosc's chunks, which refuses those that are cut off."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """As the store's own; raises ValueError for a chunk that is cut off."""
        chunk = await self._store.get(key, prototype, byte_range)
        if chunk is not None and byte_range is None and key.rpartition("/")[2] not in _METADATA:
            head, size = bytes(chunk.as_numpy_array()[:_HEADER]), len(chunk)
            if size < _HEADER or struct.unpack_from("<I", head, 12)[0] > size:
                raise ValueError(f"the chunk {key} is cut off")
        return chunk


def guarded(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """The same zarr array, read by way of `WholeChunks` if its chunks are Blosc's."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        blosc = getattr(metadata.compressor, "codec_id", "") == "blosc"
    else:
        blosc = bool(metadata.codecs) and isinstance(metadata.codecs[-1], BloscCodec)
    if not blosc or isinstance(array.store, WholeChunks):
        return array
    path = StorePath(WholeChunks(array.store), array.path)
    return zarr.Array(zarr.AsyncArray(metadata, path))
