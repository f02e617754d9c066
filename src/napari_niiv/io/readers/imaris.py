"""Imaris files (.ims): HDF5 with a fixed layout of levels, times and channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da

from napari_niiv.errors import VolumeError
from napari_niiv.io.channel_facts import channel_facts, fraction_colour
from napari_niiv.io.readers.hdf5_file import attributes_of, lazy_dataset
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, covers_whole
from napari_niiv.io.units import number

_INFO = "DataSetInfo/Image"
_CONTRADICTION = "its channels have {} voxels, its description says {}; the channels are taken as they are"

_Lengths = tuple[int | None, int | None, int | None]


def is_imaris(file: Any) -> bool:
    """Whether an open HDF5 file is laid out as Imaris does."""
    return "DataSet/ResolutionLevel 0" in file and _INFO in file


def read_imaris(path: Path, file: Any) -> StoredVolume:
    """All channels and times of an Imaris file, with its pyramid; the padding of its blocks is cut off.

    Raises
    ------
    VolumeError
        If parts of the layout are missing.
    """
    first, *coarser = _numbered(file["DataSet"], "ResolutionLevel ")
    info = {key: _text(value) for key, value in attributes_of(file[_INFO]).items()}
    size = _lengths(info)
    fine = _level(path, first, size)
    # how much of a coarser level is padding cannot be told from the size of the finest
    stacked = [_level(path, level, (None,) * 3) for level in coarser if _tells_size(level)]
    spacing, origin = _place(info, fine.shape[-3:])
    other = tuple(n or m for n, m in zip(size, fine.shape[-3:], strict=True))
    note = "" if other == fine.shape[-3:] else _CONTRADICTION.format(*_words(fine.shape[-3:], other))
    pyramid = tuple(
        level
        for level in stacked
        if level.shape[:2] == fine.shape[:2] and covers_whole(fine.shape[-3:], level.shape[-3:])
    )
    channels = _numbered(file["DataSetInfo"], "Channel ")
    facts = [attributes_of(channel) for channel in channels]
    metadata = channel_facts(
        [_text(each.get("Name", "")) for each in facts],
        [fraction_colour(_text(each.get("Color", ""))) for each in facts],
    )
    return StoredVolume(fine, "tczyx", spacing, metadata, pyramid, origin, note=note)


def _level(path: Path, level: Any, size: _Lengths) -> da.Array:
    times = [
        da.stack([_channel(path, channel, size) for channel in _numbered(time, "Channel ")])
        for time in _numbered(level, "TimePoint ")
    ]
    if not times or any(time.shape != times[0].shape for time in times):
        raise VolumeError(f"{path.name} lacks channels at some of its times; get the file anew.")
    stacked: da.Array = da.stack(times)
    return stacked


def _channel(path: Path, channel: Any, size: _Lengths) -> da.Array:
    """A channel without the padding of its blocks; `size` is used where it does not say its own."""
    array = lazy_dataset(path, channel["Data"])
    lengths = [own or other for own, other in zip(_own_lengths(channel), size, strict=True)]
    padded = da.from_array(array, chunks=array.chunks or "auto", name=False)
    whole: da.Array = padded[tuple(slice(0, n) for n in lengths)]
    return whole


def _own_lengths(channel: Any) -> _Lengths:
    return _lengths({key: _text(value) for key, value in attributes_of(channel).items()}, "ImageSize")


def _lengths(attributes: Mapping[str, str], prefix: str = "") -> _Lengths:
    """Voxels along z, y, x by the attributes; None where they do not say."""
    z, y, x = (int(number(attributes.get(f"{prefix}{axis}")) or 0) or None for axis in "ZYX")
    return z, y, x


def _tells_size(level: Any) -> bool:
    channels = [channel for time in _numbered(level, "TimePoint ") for channel in _numbered(time, "Channel ")]
    return all(all(_own_lengths(channel)) for channel in channels)


def _words(*shapes: tuple[int, ...]) -> list[str]:
    return [" × ".join(map(str, shape)) for shape in shapes]


def _numbered(group: Any, prefix: str) -> list[Any]:
    names = [n for n in group if n.startswith(prefix) and n.removeprefix(prefix).isdecimal()]
    return [group[n] for n in sorted(names, key=lambda n: int(n.removeprefix(prefix)))]


def _place(info: dict[str, str], shape: tuple[int, ...]) -> tuple[Spacing, tuple[float, float, float]]:
    """Voxel size and first centre from the extent; Imaris numbers x, y, z and counts from edge to edge."""
    sizes: list[float | None] = []
    centres = []
    for axis, count in zip((2, 1, 0), shape, strict=True):
        low, high = (number(info.get(f"Ext{end}{axis}")) for end in ("Min", "Max"))
        size = (high - low) / count if low is not None and high is not None and count else None
        sizes.append(size)
        centres.append(low + size / 2 if low is not None and size is not None else 0.0)
    unit = info.get("Unit", "um")
    return Spacing.of(sizes, [unit] * 3), (centres[0], centres[1], centres[2])


def _text(value: Any) -> str:
    """Imaris stores texts as arrays of single characters."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)
