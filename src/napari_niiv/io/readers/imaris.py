"""Imaris files (.ims): HDF5 with a fixed layout of levels, times and channels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import dask.array as da

from napari_niiv.errors import VolumeError
from napari_niiv.io.readers.hdf5_file import attributes_of, lazy_dataset
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.stored_volume import StoredVolume, covers_whole

_INFO = "DataSetInfo/Image"


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
    levels = _numbered(file["DataSet"], "ResolutionLevel ")
    stacked = [_level(path, level) for level in levels]
    fine = stacked[0]
    info = {key: _text(value) for key, value in attributes_of(file[_INFO]).items()}
    spacing, origin = _place(info, fine.shape[-3:])
    pyramid = tuple(
        level
        for level in stacked[1:]
        if level.shape[:2] == fine.shape[:2] and covers_whole(fine.shape[-3:], level.shape[-3:])
    )
    channels = _numbered(file["DataSetInfo"], "Channel ")
    names = [_text(attributes_of(channel).get("Name", "")) for channel in channels]
    return StoredVolume(fine, "tczyx", spacing, {"channel_names": names} if any(names) else {}, pyramid, origin)


def _level(path: Path, level: Any) -> da.Array:
    times = [
        da.stack([_channel(path, channel) for channel in _numbered(time, "Channel ")])
        for time in _numbered(level, "TimePoint ")
    ]
    if not times or any(time.shape != times[0].shape for time in times):
        raise VolumeError(f"{path.name} lacks channels at some of its times; get the file anew.")
    stacked: da.Array = da.stack(times)
    return stacked


def _channel(path: Path, channel: Any) -> da.Array:
    array = lazy_dataset(path, channel["Data"])
    attributes = {key: _text(value) for key, value in attributes_of(channel).items()}
    lengths = [int(attributes.get(f"ImageSize{a}") or n) for a, n in zip("ZYX", array.shape, strict=True)]
    padded = da.from_array(array, chunks=array.chunks or "auto", name=False)
    whole: da.Array = padded[tuple(slice(0, min(n, m)) for n, m in zip(lengths, array.shape, strict=True))]
    return whole


def _numbered(group: Any, prefix: str) -> list[Any]:
    names = [n for n in group if n.startswith(prefix) and n.removeprefix(prefix).isdecimal()]
    return [group[n] for n in sorted(names, key=lambda n: int(n.removeprefix(prefix)))]


def _place(info: dict[str, str], shape: tuple[int, ...]) -> tuple[Spacing, tuple[float, float, float]]:
    """Voxel size and first centre from the extent; Imaris numbers x, y, z and counts from edge to edge."""
    sizes: list[float | None] = []
    centres = []
    for axis, count in zip((2, 1, 0), shape, strict=True):
        low, high = (_number(info.get(f"Ext{end}{axis}")) for end in ("Min", "Max"))
        size = (high - low) / count if low is not None and high is not None and count else None
        sizes.append(size)
        centres.append(low + size / 2 if low is not None and size is not None else 0.0)
    unit = info.get("Unit", "um")
    return Spacing.of(sizes, [unit] * 3), (centres[0], centres[1], centres[2])


def _text(value: Any) -> str:
    """Imaris stores texts as arrays of single characters."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
