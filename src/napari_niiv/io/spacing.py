"""Voxel sizes as files give them: complete, partial or absurd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari_niiv.volume import MAX_ANISOTROPY

_UNITS = {
    "µm": "micrometer",
    "μm": "micrometer",
    "\\u00b5m": "micrometer",
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "micrometre": "micrometer",
    "micrometers": "micrometer",
    "nm": "nanometer",
    "nanometre": "nanometer",
    "nanometers": "nanometer",
    "mm": "millimeter",
    "millimetre": "millimeter",
    "millimeters": "millimeter",
    "m": "meter",
    "metre": "meter",
    "å": "angstrom",
    "a": "angstrom",
    "ångström": "angstrom",
    "angstroms": "angstrom",
    '"': "inch",
    "in": "inch",
    "inches": "inch",
}
_METRES = {
    "meter": 1.0,
    "inch": 0.0254,
    "millimeter": 1e-3,
    "micrometer": 1e-6,
    "nanometer": 1e-9,
    "angstrom": 1e-10,
}
_KNOWN = {*_METRES, "pixel"}


def unit_name(unit: Any) -> str:
    """The name of a unit of length in napari's registry, such as "micrometer" for "µm"; "pixel" for anything else."""
    text = str(unit or "").strip().lower()
    name = _UNITS.get(text, text)
    return name if name in _KNOWN else "pixel"


def convert(value: float | None, unit: str, target: str) -> float | None:
    """A length in another unit; None if it is None, or if the two units do not measure the same."""
    if value is None or unit == target:
        return value
    return value * _METRES[unit] / _METRES[target] if unit in _METRES and target in _METRES else None


@dataclass(frozen=True)
class Spacing:
    """What a file says of its voxel size.

    Attributes
    ----------
    sizes : tuple of float or None
        Along z, y, x; None where the file says nothing.
    unit : str
        Of the sizes, as `unit_name` returns it.
    """

    sizes: tuple[float | None, float | None, float | None] = (None, None, None)
    unit: str = "pixel"

    @classmethod
    def of(cls, sizes: Sequence[float | None], units: Sequence[Any]) -> Spacing:
        """From sizes (z, y, x) that have a unit each, as files name them; the unit of x counts."""
        names = [unit_name(unit) for unit in units]
        target = names[2] if sizes[2] is not None else "pixel"
        z, y, x = (convert(v, unit, names[2]) for v, unit in zip(sizes, names, strict=True))
        return cls((z, y, x), target)

    @property
    def problem(self) -> str:
        """Why the size cannot be trusted, as the end of a sentence; empty if it can."""
        z, y, x = self.sizes
        if z is None or not math.isfinite(z):
            return "does not say its z step"
        if z <= 0:
            return f"says that its z step is {z:g}"
        if not _usable(y) or not _usable(x):
            return "does not say its pixel size"
        # what programs write that know of prints alone, mostly 1/72
        if self.unit == "inch":
            return f"gives its pixel size in inches ({x:.3g}), as pictures to be printed do"
        _, y, x = self.voxel_size
        if not 0.99 <= z / math.sqrt(y * x) <= 1.001 * MAX_ANISOTROPY:
            return (
                f"says that its z step is {z / math.sqrt(y * x):.3g} times its pixel size, which is outside 1 to "
                f"{MAX_ANISOTROPY:g}"
            )
        return ""

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Positive sizes; what is missing or absurd is taken as isotropic."""
        z, y, x = self.sizes
        lateral = x if _usable(x) else y if _usable(y) else 1.0
        assert lateral is not None
        return (
            z if _usable(z) and z is not None else lateral,
            y if _usable(y) and y is not None else lateral,
            lateral,
        )


def _usable(size: float | None) -> bool:
    return size is not None and math.isfinite(size) and size > 0
