"""The files and arrays of an N5 as tensorstore sees them: servers that send too much or too little are given up."""

from __future__ import annotations

import json
import os
import posixpath
from typing import Any

from napari_niiv.io.readers.remote_store import metadata_of, remote_store
from napari_niiv.io.remote import is_web

FILE = "attributes.json"
PATIENCE_S = 60.0  # for what is small
# bytes a second, and for how many seconds less than these may come
_SLOWEST = {"LOW_SPEED_LIMIT_BYTES": "1024", "LOW_SPEED_TIME_SECONDS": "30", "CONNECT_TIMEOUT_SECONDS": "10"}
_RETRIES = {"http_request_retries": {"max_retries": 2}}
_CALIBRATION = ("axes", "units", "resolution")


class Blocking:
    """A tensorstore array whose reads wait for their result."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.shape = store.shape

    def __getitem__(self, key: Any) -> Any:
        return self._store[key].read().result()


def files(url: str) -> Any:
    """What lies at a place, a ``KvStore``."""
    tensorstore = _tensorstore()
    context = tensorstore.Context(_RETRIES)
    return tensorstore.KvStore.open(f"{url}/", context=context).result(timeout=PATIENCE_S)


def attributes_in(url: str, key: str) -> bytes | None:
    """What is in a file of attributes; None where there is none. Raises whatever the library of its server raises."""
    if is_web(url):  # tensorstore would take any length
        return metadata_of(remote_store(url), key)
    result = files(url).read(key).result(timeout=PATIENCE_S)
    return bytes(result.value) if result.state == "value" else None


def reopened(url: str, path: str) -> Blocking:
    """The dataset at a path in an N5; reads no voxels, and raises ValueError for metadata that are damaged."""
    if is_web(url):  # which, asked again, may send tensorstore other attributes
        return _opened(url, path, attributes_in(url, posixpath.join(path, FILE)))
    try:
        return _opened(url, path)
    except ValueError as error:
        if not any(f'"{name}"' in str(error) for name in _CALIBRATION):
            raise
        # tensorstore wants to understand a voxel size too
        return _opened(url, path, attributes_in(url, posixpath.join(path, FILE)))


def _opened(url: str, path: str, attributes: bytes | None = None) -> Blocking:
    """A dataset; with attributes, by these but for its voxel size, in a layer above the files."""
    tensorstore = _tensorstore()
    kvstore: Any = f"{url}/{path}/" if path else f"{url}/"
    context = tensorstore.Context(_RETRIES)
    if attributes is not None:
        memory = tensorstore.KvStore.open({"driver": "memory"}, context=context).result()
        needed = {name: value for name, value in json.loads(attributes).items() if name not in _CALIBRATION}
        memory.write(FILE, json.dumps(needed).encode()).result()
        above = {"base": {"driver": "memory", "path": FILE}, "exact": FILE}
        kvstore = {"driver": "kvstack", "layers": [{"base": kvstore}, above]}
    store = tensorstore.open({"driver": "n5", "kvstore": kvstore}, open=True, read=True, context=context)
    return Blocking(store.result(timeout=PATIENCE_S))


def _tensorstore() -> Any:
    """The library, told before its first request when to give up: it would wait for ever, and has no option for it."""
    for name, value in _SLOWEST.items():
        os.environ.setdefault(f"TENSORSTORE_CURL_{name}", value)
    import tensorstore

    return tensorstore
