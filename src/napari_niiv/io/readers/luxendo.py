"""Luxendo's light-sheet files (.lux.h5): HDF5 whose coarser levels lie beside the data, the metadata as a text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable
from typing import Any

from napari_niiv.io.spacing import Spacing
from napari_niiv.io.units import number

_LEVEL = re.compile(r"(.+)_(\d+)_(\d+)_(\d+)")


def levels_of(dataset: str, names: Iterable[str]) -> list[str]:
    """The coarser levels of a dataset among the names in its file, such as "Data_2_2_2" of "Data", finest first."""
    found = [match for name in names if (match := _LEVEL.fullmatch(name)) and match[1] == dataset]
    return [match[0] for match in sorted(found, key=lambda match: math.prod(map(int, match.groups()[1:])))]


def level_names(names: Collection[str]) -> set[str]:
    """Those of the names that are coarser levels of others."""
    return {level for name in names for level in levels_of(name, names)}


def luxendo_spacing(file: Any) -> Spacing:
    """The voxel size in the text "metadata" of an open HDF5 file; empty where there is none."""
    try:
        text = file["metadata"][()]
        size = _found(json.loads(text.decode() if isinstance(text, bytes) else str(text)), "voxel_size_um")
        sizes = [number(size.get(name)) for name in ("depth", "height", "width")]
    except (KeyError, ValueError, TypeError, AttributeError):
        return Spacing()
    return Spacing.of(sizes, ["um"] * 3)


def _found(node: Any, key: str) -> Any:
    """The first value of a key in nested mappings; None if there is none."""
    if not isinstance(node, dict):
        return None
    return node[key] if key in node else next((v for n in node.values() if (v := _found(n, key)) is not None), None)
