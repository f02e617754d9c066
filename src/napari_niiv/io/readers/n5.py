"""N5, on disk and behind URLs, through tensorstore."""

from __future__ import annotations

import itertools
import json
import os
import posixpath
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_niiv.errors import Remedy, VolumeError
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.formats import Location, is_url
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.readers.array_attributes import named_axes
from napari_niiv.io.readers.chunks_there import check_chunks, check_some_chunks
from napari_niiv.io.readers.n5_files import FILE, PATIENCE_S, attributes_in, files, reopened
from napari_niiv.io.readers.n5_place import level_place
from napari_niiv.io.remote import unreachable
from napari_niiv.io.stored_volume import StoredVolume, covers_whole, first_line, library, refusing
from napari_niiv.io.units import number

_MOST_CORNERS = 27
_AXES = {3: "xyz", 4: "xyzc", 5: "xyzct"}  # N5 stores x first


def read_n5(location: str, dataset: str | None = None) -> StoredVolume:
    """Open a dataset of an N5, or a group of levels s0, s1, … as a pyramid.

    Parameters
    ----------
    location : str
        A folder or a URL.
    dataset : str, optional
        Path of a dataset or a group of levels.

    Raises
    ------
    DatasetChoice
        If there are several, and none was named.
    VolumeError
        If there is none, it cannot be read, or tensorstore is missing.
    """
    name = Location(location).name
    with refusing(name, "N5"):
        return _read(_Store(location, name), dataset)


def _read(store: _Store, dataset: str | None) -> StoredVolume:
    name = store.name
    path = (dataset or "").strip("/")
    if _ndim(store.attributes(path)):
        return _dataset(store, path)
    if _ndim(store.attributes(posixpath.join(path, "s0"))):
        return _pyramid(store, path)
    if dataset is not None:
        raise VolumeError(f"{name} holds no dataset {dataset!r}; check its name.")
    names = store.datasets()
    if not names:
        raise VolumeError(f"{name} holds no dataset of three or more dimensions; give its path as dataset.")
    if len(names) > 1:
        raise choice(name, [_stored_image(store, each) for each in names])
    return _read(store, names[0])


def _stored_image(store: _Store, path: str) -> StoredImage:
    attributes = store.attributes(path)
    array = path if _ndim(attributes) else posixpath.join(path, "s0")
    attributes = attributes if array == path else store.attributes(array)
    shape = [int(n) for n in attributes["dimensions"]]
    # of a server it would take further requests
    spacing = None if store.remote else level_place(store, array, _axes(attributes, len(shape)), shape)[0]
    return StoredImage(path, tuple(shape[::-1]), str(attributes.get("dataType", "")), spacing)


class _Store:
    """The attributes and names in an N5, on disk or behind a URL."""

    def __init__(self, location: str, name: str) -> None:
        library("tensorstore", name, "n5", "N5")
        self.location, self.name = location, name
        self.remote = is_url(location)
        self.url = location if self.remote else Path(location).resolve().as_uri()

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or dataset, none where there is none."""
        key = posixpath.join(path, FILE)
        try:
            content = attributes_in(self.url, key)
            attributes = json.loads(content) if content is not None else {}
        except Exception as error:  # tensorstore's kinds of errors
            if self.remote and not isinstance(error, json.JSONDecodeError):
                raise unreachable(self.location, error) from error
            raise VolumeError(f"{self.name} is not a readable N5 ({key}: {first_line(error)}); get it anew.") from error
        return attributes if isinstance(attributes, dict) else {}

    def exist(self, path: str, keys: Sequence[str]) -> list[bool]:
        """Whether there are blocks of a dataset; one that cannot be told counts as there, which reading will show."""
        there = files(self.url)
        asked = [there.read(posixpath.join(path, key)) for key in keys]
        return [one.exception() is not None or one.result().state == "value" for one in asked]

    def datasets(self) -> list[str]:
        """Paths of datasets of three or more dimensions; levels s0, s1, … count as one."""
        folders = self._listed() if self.remote else sorted(self._walked(""))
        arrays = [p for p in folders if p and _ndim(self.attributes(p)) >= 3]
        groups = {posixpath.dirname(p) for p in arrays if posixpath.basename(p) == "s0"}
        levels = {p for p in arrays if posixpath.dirname(p) in groups and re.fullmatch(r"s\d+", Path(p).name)}
        return sorted({*arrays, *groups} - levels - {""})

    def _listed(self) -> list[str]:
        """Paths of what has attributes, as the server tells."""
        try:
            keys = files(self.url).list().result(timeout=PATIENCE_S)
        except Exception as error:
            raise VolumeError(f"{self.name} does not tell which datasets it holds;", Remedy.NAME_DATASET) from error
        names = {key.decode() for key in keys}
        return sorted(posixpath.dirname(n) for n in names if posixpath.basename(n) == FILE)

    def _walked(self, path: str) -> Iterator[str]:
        """Paths of what has attributes on disk; the folders of chunks, which may be millions, are left out."""
        folder = Path(self.location) / path
        if (folder / FILE).exists():
            yield path
            if _ndim(self.attributes(path)):
                return
        for below in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
            yield from self._walked(posixpath.join(path, below))


def _ndim(attributes: Mapping[str, Any]) -> int:
    """Number of axes by the attributes of a dataset; 0 for a group."""
    dimensions = attributes.get("dimensions")
    return len(dimensions) if isinstance(dimensions, list) else 0


def _axes(attributes: Mapping[str, Any], ndim: int) -> str:
    named = named_axes({"axes": attributes.get("axes")} if attributes.get("axes") else {}, ndim)
    return named or _AXES.get(ndim, "?" * ndim)


def _pyramid(store: _Store, group: str) -> StoredVolume:
    """The levels of a group; the voxel size may be an attribute of the finest, or of the group."""
    finest = _dataset(store, posixpath.join(group, "s0"))
    array = finest.array
    levels: list[tuple[str, FileArray, dict[str, Any]]] = []
    while _ndim(attributes := store.attributes(path := posixpath.join(group, f"s{len(levels) + 1}"))):
        levels.append((path, _array(store, path, attributes), attributes))
    coarser = tuple(
        level
        for path, level, attributes in levels
        if level.ndim == array.ndim
        and level.shape[3:] == array.shape[3:]
        and covers_whole(array.shape[2::-1], level.shape[2::-1], _factors(attributes))
        and _has_chunks(store, path, level)
    )
    return StoredVolume(array, finest.axes, finest.spacing, finest.metadata, coarser, finest.origin, note=finest.note)


def _factors(attributes: Mapping[str, Any]) -> list[float] | None:
    factors = attributes.get("downsamplingFactors")
    numbers = [number(v) for v in factors[2::-1]] if isinstance(factors, list) and len(factors) >= 3 else []
    known = [v for v in numbers if v is not None]
    return known if len(known) == 3 else None


def _dataset(store: _Store, path: str) -> StoredVolume:
    own = store.attributes(path)
    array = _array(store, path, own)
    axes = _axes(own, array.ndim)
    spacing, origin = level_place(store, path, axes, list(array.shape))
    return StoredVolume(array, axes, spacing, {}, (), origin, note=_check_chunks(store, path, array))


def _check_chunks(store: _Store, path: str, array: FileArray) -> str:
    """As `check_chunks`; as `check_some_chunks` of an N5 behind a URL."""
    if array.chunks is None:
        return ""
    grid = [-(-n // chunk) for n, chunk in zip(array.shape, array.chunks, strict=True)]
    key: Callable[[tuple[int, ...]], str] = lambda place: "/".join(map(str, place))  # noqa: E731
    if store.remote:
        return check_some_chunks(lambda keys: store.exist(path, keys), store.name, grid, key, 0)
    folder = Path(store.location) / path
    note = check_chunks(folder, store.name, grid, key, 0)
    _check_block_sizes(folder, store.name, array.shape, array.chunks)
    return note


def _check_block_sizes(folder: Path, name: str, shape: Sequence[int], chunks: Sequence[int]) -> None:
    """Refuse blocks of another size than the metadata say, which would be read to wrong places: a few are looked at.

    Raises
    ------
    VolumeError
        If one is smaller than its place, or larger than a block.
    """
    grid = [-(-n // chunk) for n, chunk in zip(shape, chunks, strict=True)]
    corners = itertools.islice(itertools.product(*({0, n // 2, n - 1} for n in grid)), _MOST_CORNERS)
    for place in corners:
        try:
            with folder.joinpath(*map(str, place)).open("rb") as file:
                head = file.read(4 + 4 * len(grid))
        except OSError:
            continue
        if len(head) < 4 + 4 * len(grid):
            continue  # reading it will show that it is cut off
        sizes = struct.unpack(f">{len(grid)}I", head[4:])
        least = [min(chunk, n - at * chunk) for at, n, chunk in zip(place, shape, chunks, strict=True)]
        if not all(low <= size <= chunk for low, size, chunk in zip(least, sizes, chunks, strict=True)):
            raise VolumeError(
                f"{name} has blocks of {' × '.join(map(str, sizes))} voxels, where its metadata say "
                f"{' × '.join(map(str, chunks))}; correct the metadata (blockSize), or get it anew."
            )


def _has_chunks(store: _Store, path: str, array: FileArray) -> bool:
    try:
        _check_chunks(store, path, array)
    except VolumeError:
        return False
    return True


def _array(store: _Store, path: str, attributes: Mapping[str, Any]) -> FileArray:
    try:
        shape, chunks = attributes["dimensions"], attributes["blockSize"]
        array = FileArray(reopened, (store.url, path), shape, attributes["dataType"], chunks)
        reopened(store.url, path)  # reads no voxels; refuses metadata that are damaged
    except Exception as error:
        raise VolumeError(f"{store.name} is not a readable N5 ({path}: {first_line(error)}); get it anew.") from error
    return array
