"""The attributes of the OME-Zarr: where each level lies, what the channels are called, what all was made of."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from napari_niiv.export.fingerprint import Fingerprint
from napari_niiv.export.plan import Plan
from napari_niiv.export.work import Channel
from napari_niiv.volume import Volume

VERSION = "0.5"
_TYPES = {"t": "time", "c": "channel"}
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FF0000", "FFFF00", "0000FF")


def attributes(
    volume: Volume, plan: Plan, channels: tuple[Channel, ...], made_of: Fingerprint
) -> dict[str, Any]:
    """Of the group, as JSON has them.

    Parameters
    ----------
    volume : Volume
        The source.
    plan : Plan
    channels : tuple of Channel
        In the order of the T and C indices.
    made_of : dict
    """
    said = {key: value for key, value in volume.metadata.items() if _is_json(value)}
    return {
        "ome": {
            "version": VERSION,
            "multiscales": [_multiscale(volume, plan)],
            "omero": {"channels": _channels(volume, plan, channels)},
        },
        "napari_niiv": {**made_of, "metadata": said},
    }


def _multiscale(volume: Volume, plan: Plan) -> dict[str, Any]:
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0] * len(plan.leading) + list(plan.size_of(level))},
                {
                    "type": "translation",
                    "translation": [0.0] * len(plan.leading) + list(plan.origin_of(level)),
                },
            ],
        }
        for level in range(len(plan.levels))
    ]
    return {
        "name": volume.name,
        "axes": [_axis(name, plan.unit) for name in plan.axes],
        "datasets": datasets,
        "type": "mean",
        "metadata": {"description": "Means over 2 voxels along each axis.", "method": "napari-niiv"},
    }


def _axis(name: str, unit: str) -> dict[str, str]:
    if name in "zyx":
        return {"name": name, "type": "space", **({} if unit == "pixel" else {"unit": unit})}
    return {"name": name, **({"type": _TYPES[name]} if name in _TYPES else {})}


def _channels(volume: Volume, plan: Plan, channels: tuple[Channel, ...]) -> list[dict[str, Any]]:
    """Names and contrast, which viewers start with."""
    axis = plan.axes.find("c")
    count = plan.leading[axis] if axis >= 0 else 1
    names = volume.metadata.get("channel_names") or ()
    names = (
        names
        if len(names) == count
        else [volume.name if count == 1 else f"channel {i}" for i in range(count)]
    )
    shown = np.empty(plan.leading or (1,), dtype=object)
    shown.flat[:] = channels
    of_channel = np.moveaxis(shown, axis, 0) if axis >= 0 else shown.reshape(1, -1)
    limits = np.iinfo(plan.dtype) if plan.dtype.kind in "iu" else None
    found = []
    for number, (name, parts) in enumerate(zip(names, of_channel, strict=True)):
        low = min(part.normalization.low for part in np.ravel(parts))
        high = max(part.normalization.high for part in np.ravel(parts))
        window = {"start": low, "end": high}
        window |= (
            {"min": float(limits.min), "max": float(limits.max)} if limits else {"min": low, "max": high}
        )
        colour = _COLOURS[0] if count == 1 else _COLOURS[1 + number % (len(_COLOURS) - 1)]
        found.append({"label": str(name), "color": colour, "active": True, "window": window})
    return found


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
