"""The attributes of the OME-Zarr: where each level lies, what the channels are called, what all was made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_niiv.export.fingerprint import Fingerprint
from napari_niiv.export.plan import Plan
from napari_niiv.export.work import Channel
from napari_niiv.io.ome.attributes import Window, channels, json_part, ome_attributes
from napari_niiv.volume import Volume


def attributes(volume: Volume, plan: Plan, treated: tuple[Channel, ...], fingerprint: Fingerprint) -> dict[str, Any]:
    """Attributes of the OME-Zarr's group, as JSON has them.

    Parameters
    ----------
    volume : Volume
        The source.
    plan : Plan
        Levels of the output, and where they lie.
    treated : tuple of Channel
        In the order of the T and C indices.
    fingerprint : dict
        What the output is made of.
    """
    places = [(plan.size_of(level), plan.origin_of(level)) for level in range(len(plan.levels))]
    shown = channels(volume.name, volume.metadata, _windows(plan, treated), plan.dtype)
    how = "Means over 2 voxels along each axis."
    return {
        "ome": ome_attributes(volume.name, plan.axes, plan.unit, places, shown, how),
        "napari_niiv": {
            **fingerprint,
            "metadata": json_part({**volume.metadata, **volume.provenance.plain}),
        },
    }


def _windows(plan: Plan, treated: tuple[Channel, ...]) -> list[Window]:
    """The range of intensities of each channel, over all times."""
    axis = plan.axes.find("c")
    indexed = np.empty(plan.leading or (1,), dtype=object)
    indexed.flat[:] = treated
    of_channel = np.moveaxis(indexed, axis, 0) if axis >= 0 else indexed.reshape(1, -1)
    return [
        (
            min(part.normalization.low for part in np.ravel(parts)),
            max(part.normalization.high for part in np.ravel(parts)),
        )
        for parts in of_channel
    ]
