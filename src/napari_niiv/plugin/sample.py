"""The sample volume that ships: real electron microscopy, made 8 times coarser along z."""

from __future__ import annotations

from importlib import resources
from typing import Any

from napari_niiv.io.open import open_volume

SAMPLE = "fib25_8x.tif"


def open_sample() -> list[tuple[Any, dict[str, Any], str]]:
    """Napari layer data of the sample (FIB-25, FlyEM, CC BY 3.0)."""
    volume = open_volume(str(resources.files("napari_niiv.plugin") / "data" / SAMPLE))
    options = {
        "name": "FIB-25, 8x anisotropic",
        "scale": volume.voxel_size,
        "units": (volume.unit,) * 3,
        "axis_labels": tuple(volume.axes),
        "metadata": {"attribution": "FIB-25, FlyEM, Janelia Research Campus, CC BY 3.0"},
    }
    return [(volume.array, options, "image")]
