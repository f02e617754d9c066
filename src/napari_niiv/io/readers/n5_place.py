"""Voxel size and place of a dataset of an N5, which may be a downsampled level, from its groups' attributes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from napari_niiv.errors import VolumeError
from napari_niiv.io.readers.array_attributes import Origin, by_axis, spacing_of
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.units import number

_ABSOLUTE = "transform"  # COSEM's, which each level has for itself


class Attributes(Protocol):
    """What has the attributes of groups and datasets by their paths."""

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or dataset, none where there is none."""


def level_place(store: Attributes, path: str, axes: str, shape: Sequence[int]) -> tuple[Spacing, Origin]:
    """Voxel size and origin (z, y, x) of a dataset.

    They are its own, or those of the nearest group above that has any. What a group says belongs to its finest level,
    and so does, by the custom of N5's viewers, what a level says itself: it is multiplied by the level's
    ``downsamplingFactors``, which may be its own, or a list in a group.

    Parameters
    ----------
    store : Attributes
        The N5.
    path : str
        Of the dataset.
    axes : str
        One letter each, in the stored order.
    shape : sequence of int
        Of the dataset.
    """
    chain = _chain(store, path)
    units = next((unit for a in chain if (unit := a.get("units", a.get("unit"))) is not None), None)
    places = [spacing_of(a if units is None else {"units": units, **a}, axes) for a in chain]
    with_sizes = [i for i, (spacing, _) in enumerate(places) if any(spacing.sizes)]
    if not with_sizes:
        return Spacing(), (0.0, 0.0, 0.0)
    at = next((i for i in with_sizes if not places[i][0].problem), with_sizes[0])
    spacing, origin = places[at]
    group, name = posixpath.split(path)
    level = re.fullmatch(r"s([1-9]\d*)", name)
    if level is None or (at == 0 and _is_absolute(chain[0], _quiet(store, f"{group}/s0"), axes)):
        return spacing, origin
    factors = _factors(chain, int(level[1]), axes) or _ratio(_quiet(store, f"{group}/s0"), axes, shape)
    if factors is None:
        return Spacing(
            note=f"it does not tell how much coarser {name} is than s0, so the voxel size is not known"
        ), origin
    steps = [factors.get(a, 1.0) for a in "zyx"]
    z, y, x = (None if v is None else v * f for v, f in zip(spacing.sizes, steps, strict=True))
    # its first voxel covers several of the finest level's
    shifts = [(v or 0.0) * (f - 1) / 2 for v, f in zip(spacing.sizes, steps, strict=True)]
    first = (origin[0] + shifts[0], origin[1] + shifts[1], origin[2] + shifts[2])
    return replace(spacing, sizes=(z, y, x)), first


def _chain(store: Attributes, path: str) -> list[dict[str, Any]]:
    """The attributes of a dataset and of the groups above it."""
    chain = [store.attributes(path)]
    while path:
        path = posixpath.dirname(path)
        chain.append(_quiet(store, path))
    return chain


def _quiet(store: Attributes, path: str) -> dict[str, Any]:
    try:
        return store.attributes(path.strip("/"))
    except VolumeError:  # not needed for the voxels
        return {}


def _is_absolute(own: Mapping[str, Any], finest: Mapping[str, Any], axes: str) -> bool:
    """Whether what a level says is its own voxel size, and not that of the finest level."""
    mine, other = (spacing_of(a, axes)[0].sizes for a in (own, finest))
    only_transform = spacing_of({k: v for k, v in own.items() if k != _ABSOLUTE}, axes)[0].sizes != mine
    return only_transform or (any(other) and other != mine)


def _factors(chain: Sequence[Mapping[str, Any]], level: int, axes: str) -> dict[str, float] | None:
    """Finest voxels along one of a level, by the letters of the axes: its own, or from the list of a group."""
    for depth, attributes in enumerate(chain):
        for key in ("downsamplingFactors", "scales"):
            value = attributes.get(key)
            if isinstance(value, list) and value and isinstance(value[0], list):
                value = value[level] if level < len(value) else None
            elif depth:
                value = None
            numbers = {axis: number(v) for axis, v in by_axis(value, axes).items()}
            if numbers and all(numbers.values()):
                return {axis: v for axis, v in numbers.items() if v}
    return None


def _ratio(finest: Mapping[str, Any], axes: str, shape: Sequence[int]) -> dict[str, float] | None:
    """The same from the shapes, where the level covers whole numbers of the finest level's voxels."""
    lengths = by_axis(finest.get("dimensions"), axes)
    factors = {}
    for axis, length in zip(axes, shape, strict=True):
        fine = lengths.get(axis, 0)
        factor = round(fine / length)
        if not factor or length not in (fine // factor, -(-fine // factor)):
            return None
        factors[axis] = float(factor)
    return factors
