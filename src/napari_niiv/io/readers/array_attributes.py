"""Axes and voxel sizes in the attributes of arrays (HDF5, plain zarr, N5), in the words that the field uses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from napari_niiv.io.spacing import Spacing
from napari_niiv.io.units import convert, number, unit_name

_NAMES = ("axes", "axis_names", "_ARRAY_DIMENSIONS", "DIMENSION_LABELS", "dimension_names")
_SIZES = ("voxel_size", "pixelResolution", "resolution", "pixel_size")
_SPATIAL = "zyx"
_WORDS = {
    **dict.fromkeys(("rgb", "rgba", "sample", "samples"), "s"),
    **dict.fromkeys(("plane", "pln", "depth", "slice", "section"), "z"),
    **dict.fromkeys(("row", "height"), "y"),
    **dict.fromkeys(("col", "column", "width"), "x"),
    **dict.fromkeys(("time", "timepoint", "frame"), "t"),
    **dict.fromkeys(("channel", "channels", "ch"), "c"),
}

Origin = tuple[float, float, float]


def named_axes(attributes: Mapping[str, Any], ndim: int) -> str | None:
    """The axes that attributes name, one letter each; None if they do not, or not all of them."""
    names: list[str] = []
    # those of ilastik and vigra
    if (tags := attributes.get("axistags")) is not None:
        try:
            names = [str(axis["key"]) for axis in json.loads(tags)["axes"]]
        except (ValueError, KeyError, TypeError):
            names = []
    for key in _NAMES:
        listed = attributes.get(key)
        if not names and isinstance(listed, Sequence):
            names = [str(name) for name in listed]
    if not names and isinstance(transform := attributes.get("transform"), Mapping):
        names = [str(name) for name in transform.get("axes", ())]
    letters = "".join(map(_letter, names))
    complete = len(letters) == len(set(letters)) == ndim
    return letters if complete and set(letters) <= set("tczyxs") else None


def _letter(name: str) -> str:
    word = name.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    return "s" if "rgb" in word else word[:1] or "?"


def spacing_of(attributes: Mapping[str, Any], axes: str) -> tuple[Spacing, Origin]:
    """Voxel size and origin (z, y, x) from attributes; lists follow the stored order of the axes.

    Understood are ``element_size_um``, ``voxel_size``, ``resolution`` or ``pixelResolution`` with ``units`` and
    ``offset``, and the ``transform`` of COSEM. What says how often a level was downsampled is left to the caller.
    """
    sizes: Any = attributes.get("element_size_um")
    units: Any = "um"
    offset: Any = attributes.get("offset")
    stored = axes
    if sizes is None:
        units = attributes.get("units", attributes.get("unit"))
        sizes = next((attributes[key] for key in _SIZES if key in attributes), None)
        transform = attributes.get("transform")
        # N5's viewer writes {"unit": …, "dimensions": …}
        if isinstance(sizes, Mapping):
            sizes, units = sizes.get("dimensions"), sizes.get("unit", units)
        elif sizes is None and isinstance(transform, Mapping) and transform.get("scale"):
            sizes, offset = transform["scale"], transform.get("translate")
            units = transform.get("units")
            stored = named_axes(attributes, len(axes)) or axes
    along = by_axis(sizes, stored)
    names = by_axis([units] * 3 if isinstance(units, str) else units, stored)
    spacing = Spacing.of([number(along.get(a)) for a in _SPATIAL], [names.get(a) for a in _SPATIAL])
    offsets = by_axis(offset, stored)
    z, y, x = (convert(number(offsets.get(a)), unit_name(names.get(a)), spacing.unit) or 0.0 for a in _SPATIAL)
    return spacing, (z, y, x)


def by_axis(values: Any, axes: str) -> dict[str, Any]:
    """A list by the letters of its axes: of all, of the spatial ones, or of y and x alone."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return {}
    for letters in (axes, [a for a in axes if a in _SPATIAL], [a for a in axes if a in "yx"]):
        if len(letters) == len(values):
            return dict(zip(letters, values, strict=True))
    return {}
