"""Metadata of zarrs that the library refuses for their form alone, mended as they are read."""

from __future__ import annotations

import re
from typing import Any

from zarr.core.buffer import default_buffer_prototype
from zarr.storage import WrapperStore

_FORMAT_AS_TEXT = re.compile(rb'("zarr_format"\s*:\s*)"(\d)"')


class MendedMetadata(WrapperStore[Any]):
    """A zarr store in which the number of the format may be a text."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """As the store's own."""
        prototype = prototype or default_buffer_prototype()
        found = await self._store.get(key, prototype, byte_range)
        if found is None or not key.endswith((".zarray", ".zgroup", ".zmetadata", "zarr.json")):
            return found
        return prototype.buffer.from_bytes(_FORMAT_AS_TEXT.sub(rb"\1\2", found.to_bytes()))
