"""The attributes of an OME-Zarr that is written: where each level lies, what the channels are called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

VERSION = "0.5"
_TYPES = {"t": "time", "c": "channel"}
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FF0000", "FFFF00", "0000FF")

Size = tuple[float, float, float]
Window = tuple[float, float]


def ome_attributes(
    name: str,
    axes: str,
    unit: str,
    places: Sequence[tuple[Size, Size]],
    channels: Sequence[Mapping[str, Any]],
    description: str,
) -> dict[str, Any]:
    """What belongs under "ome" in the attributes of an OME-Zarr image.

    Parameters
    ----------
    name, axes, unit : str
        Of the volume.
    places : sequence
        Voxel size and origin, each (z, y, x), of the levels "0", "1", …
    channels : sequence of mapping
        From `channels`.
    description : str
        How a level was made of the finer one.
    """
    leading = len(axes) - 3
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0] * leading + list(size)},
                {"type": "translation", "translation": [0.0] * leading + list(origin)},
            ],
        }
        for level, (size, origin) in enumerate(places)
    ]
    image = {
        "name": name,
        "axes": [_axis(letter, unit) for letter in axes],
        "datasets": datasets,
        "type": "mean",
        "metadata": {"description": description, "method": "napari-niiv"},
    }
    return {"version": VERSION, "multiscales": [image], "omero": {"channels": list(channels)}}


def channels(
    name: str, facts: Mapping[str, Any], windows: Sequence[Window], dtype: np.dtype[Any]
) -> list[dict[str, Any]]:
    """The channels as "omero" lists them: the names, colours and contrast that viewers start with.

    Parameters
    ----------
    name : str
        Of the volume: that of its only channel, if this has no name.
    facts : mapping
        Metadata of the volume: its "channel_names", "channel_colours" and "channel_limits" are used if there are as
        many.
    windows : sequence of tuple of float
        Lowest and highest intensity to show, of each channel, where no limits of contrast are known.
    dtype : dtype
        Of the voxels.
    """
    count = len(windows)
    names, colours = facts.get("channel_names") or (), facts.get("channel_colours") or ()
    if len(names) != count:
        names = [name if count == 1 else f"channel {i}" for i in range(count)]
    if len(known := facts.get("channel_limits") or ()) == count:
        windows = known
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    shown = []
    for number, (label, (low, high)) in enumerate(zip(names, windows, strict=True)):
        window = {"start": low, "end": high}
        window |= {"min": float(limits.min), "max": float(limits.max)} if limits else {"min": low, "max": high}
        colour = _COLOURS[0] if count == 1 else _COLOURS[1 + number % (len(_COLOURS) - 1)]
        if len(colours) == count and colours[number]:
            colour = str(colours[number]).removeprefix("#").upper()
        shown.append({"label": str(label), "color": colour, "active": True, "window": window})
    return shown


def json_part(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a mapping whose values can be written as JSON."""
    return {key: value for key, value in metadata.items() if _is_json(value)}


def _axis(name: str, unit: str) -> dict[str, str]:
    if name in "zyx":
        return {"name": name, "type": "space", **({} if unit == "pixel" else {"unit": unit})}
    return {"name": name, **({"type": _TYPES[name]} if name in _TYPES else {})}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
