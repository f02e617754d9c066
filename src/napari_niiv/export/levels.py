"""The arrays of an output: made as they are planned, and told from others."""

from __future__ import annotations

from pathlib import Path

import zarr

from napari_niiv.export.plan import Plan
from napari_niiv.io.ome.arrays import create_level


def make_level(group: zarr.Group, plan: Plan, number: int) -> None:
    """Make the array of one level, without voxels."""
    create_level(group, number, plan.axes, plan.shape(number), plan.dtype, plan.chunk, plan.levels[number].shard)


def has_levels(folder: Path, plan: Plan) -> bool:
    """Whether a zarr has the arrays of a plan, each described as it would be made."""
    made = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)
    try:
        group = zarr.open_group(folder, mode="r", zarr_format=3)
        for number in range(len(plan.levels)):
            make_level(made, plan, number)
            if group[str(number)].metadata != made[str(number)].metadata:
                return False
    except Exception:  # of damaged metadata, anything
        return False
    return True
