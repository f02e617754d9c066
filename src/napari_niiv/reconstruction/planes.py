"""The planes of a volume: their names, and which axes of the volume they have. Axes are 0, 1, 2 = z, y, x."""

from __future__ import annotations

from typing import Literal

from napari_niiv.errors import ReconstructionError

Plane = Literal["xz", "yz", "xy"]
Orientation = Literal["xz", "yz"]
"""Plane of the axial slices that the network restores."""
Planes = Literal["both", "xz", "yz"]
"""Which orientations a reconstruction is the mean of, as users say it."""

AXES: dict[Plane, tuple[int, int, int]] = {"xz": (1, 0, 2), "yz": (2, 0, 1), "xy": (0, 1, 2)}
"""Of each plane: the axis across it, the axis of its rows, the axis of its columns."""
SLICE_AXES: dict[Orientation, tuple[int, int, int]] = {"xz": (1, 2, 0), "yz": (2, 1, 0)}
"""Axes of a volume in the order (slices, lateral, axial), which the network takes."""
_ORIENTATIONS: dict[str, tuple[Orientation, ...]] = {"both": ("xz", "yz"), "xz": ("xz",), "yz": ("yz",)}


def orientations_of(planes: str) -> tuple[Orientation, ...]:
    """The orientations that "both", "xz" or "yz" stands for.

    Raises
    ------
    ReconstructionError
        If `planes` is none of these.
    """
    if planes not in _ORIENTATIONS:
        raise ReconstructionError(f"There are no planes {planes!r}; use both, xz or yz.")
    return _ORIENTATIONS[planes]
