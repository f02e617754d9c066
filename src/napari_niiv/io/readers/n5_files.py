"""The files and arrays of an N5 as tensorstore sees them: servers that send too much or too little are given up."""

from __future__ import annotations

import itertools
import json
import math
import os
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from napari_niiv.io.readers.remote_store import metadata_of, remote_store
from napari_niiv.io.remote import is_web

FILE = "attributes.json"
PATIENCE_S = 60.0  # for what is small
# bytes a second, and for how many seconds less than these may come
_SLOWEST = {"LOW_SPEED_LIMIT_BYTES": "1024", "LOW_SPEED_TIME_SECONDS": "30", "CONNECT_TIMEOUT_SECONDS": "10"}
_RETRIES = {"http_request_retries": {"max_retries": 2}}
_BLOSC = 16  # bytes of its header
_VARIABLE_LENGTH = 1  # mode of a block whose header says also how many voxels follow
_CALIBRATION = ("axes", "units", "resolution")


class Blocking:
    """A tensorstore array whose reads wait for their result.

    Parameters
    ----------
    store : TensorStore
    folder : Path, optional
        Of blocks that Blosc compressed, on disk: those that claim to be larger than a block are refused, as tensorstore
        would end the process where there is no memory for them.
    """

    def __init__(self, store: Any, folder: Path | None = None) -> None:
        self._store, self._folder = store, folder
        self.shape = store.shape

    def __getitem__(self, key: Any) -> Any:
        """As of an array; raises ValueError for a block that claims to be larger than it can be."""
        if self._folder is not None:
            self._check_blocks(self._folder, key)
        return self._store[key].read().result()

    def _check_blocks(self, folder: Path, key: tuple[int | slice, ...]) -> None:
        block = self._store.chunk_layout.read_chunk.shape
        most = math.prod(block) * self._store.dtype.numpy_dtype.itemsize
        for place in itertools.product(*map(_blocks, key, self.shape, block)):
            name = "/".join(map(str, place))
            if _claimed(folder / name, len(block)) > most:
                raise ValueError(f"the block {name} claims to be larger than a block")


def _blocks(part: int | slice, size: int, block: int) -> range:
    """The numbers of the blocks that are touched along an axis."""
    if isinstance(part, int):
        return range(part // block, part // block + 1)
    touched = range(size)[part]
    return range(touched[0] // block, touched[-1] // block + 1) if touched else range(0)


def _claimed(file: Path, ndim: int) -> int:
    """Bytes of a block by the header of Blosc, which follows that of N5; 0 where it has none."""
    try:
        with file.open("rb") as stream:
            head = stream.read(4 + 4 * ndim + 4 + _BLOSC)
    except OSError:
        return 0
    if len(head) < 4:
        return 0
    has_length = int.from_bytes(head[:2], "big") == _VARIABLE_LENGTH
    blosc = head[4 + 4 * ndim + 4 * has_length :]
    return int.from_bytes(blosc[4:8], "little") if len(blosc) >= _BLOSC else 0


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
    array = store.result(timeout=PATIENCE_S)
    blosc = array.spec().to_json()["metadata"]["compression"]["type"] == "blosc"
    on_disk = blosc and urlparse(url).scheme == "file"
    return Blocking(array, Path(url2pathname(urlparse(url).path), path) if on_disk else None)


def _tensorstore() -> Any:
    """The library, told before its first request when to give up: it would wait for ever, and has no option for it."""
    for name, value in _SLOWEST.items():
        os.environ.setdefault(f"TENSORSTORE_CURL_{name}", value)
    import tensorstore

    return tensorstore
