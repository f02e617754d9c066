"""Voxel sizes as files give them: complete, partial, absurd or contradictory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_niiv.io.units import SHORT_UNITS, convert, known_unit, number
from napari_niiv.volume import MAX_ANISOTROPY

Sizes = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Spacing:
    """What a file says of its voxel size.

    Attributes
    ----------
    sizes : tuple of float or None
        Along z, y, x; None where the file says nothing.
    unit : str
        Of the sizes, as `unit_name` returns it.
    note : str
        What of it was not taken as the file says it, as a sentence without its full stop; mostly empty.
    unsorted : str
        Letters of the file's axes as they are stored, those of length 1 but z, y, x left out, where the last are not
        z, y, x; else empty. Of use for who has the voxels from another reader.
    foreign_z : str
        The unit of a z step that is left out, as it cannot be compared with that of the pixel size; mostly empty.
    """

    sizes: Sizes = (None, None, None)
    unit: str = "pixel"
    note: str = ""
    unsorted: str = ""
    foreign_z: str = ""

    @classmethod
    def of(cls, sizes: Sequence[float | None], units: Sequence[Any]) -> Spacing:
        """From sizes (z, y, x) that have a unit each, as files name them; that of x counts, if x has a size."""
        sizes = [number(size) for size in sizes]
        known = [known_unit(unit) for unit in units]
        odd = {str(unit): None for unit, name in zip(units, known, strict=True) if name is None}
        names = [name or "pixel" for name in known]
        target = next((names[i] for i in (2, 1, 0) if sizes[i] is not None), "pixel")
        z, y, x = (convert(v, unit, target) for v, unit in zip(sizes, names, strict=True))
        incomparable = not odd and z is None and sizes[0] is not None
        notes = [f"its unit {unit!r} is no length that is known, so the sizes are taken without one" for unit in odd]
        return cls((z, y, x), target, join_notes(*notes), foreign_z=names[0] if incomparable else "")

    def to(self, unit: str) -> Spacing:
        """The same in another unit; as it is, if it has none that could be converted."""
        z, y, x = (convert(size, self.unit, unit) for size in self.sizes)
        return self if (z, y, x) == (None, None, None) else replace(self, sizes=(z, y, x), unit=unit)

    @property
    def problem(self) -> str:
        """Why the size cannot be trusted, as the end of a sentence; empty if it can."""
        z, y, x = self.sizes
        if z is None and self.foreign_z:
            return f"gives its z step in {self.foreign_z}, its pixel size in {self.unit}, which cannot be compared"
        if z is None or not math.isfinite(z):
            return "does not say its z step"
        if z <= 0:
            return f"says that its z step is {z:g}"
        for size in (y, x):
            if size is not None and size < 0:
                return f"says that its pixel size is {size:g}"
        if not _usable(y) or not _usable(x):
            return "does not say its pixel size"
        # what programs write that know of prints alone, mostly 1/72
        if self.unit == "inch":
            return f"gives its pixel size in inches ({x:.3g}), as pictures to be printed do"
        if not 0.99 <= self.anisotropy <= 1.001 * MAX_ANISOTROPY:
            return (
                f"says that its z step is {as_factor(self.anisotropy)} times its pixel size, which is outside 1 "
                f"to {MAX_ANISOTROPY:g}{_thick_axis(*self.voxel_size)}"
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

    @property
    def anisotropy(self) -> float:
        """Z step by pixel size, of `voxel_size`."""
        z, y, x = self.voxel_size
        return z / math.sqrt(y * x)

    @property
    def is_partial(self) -> bool:
        """Whether sizes are missing, and none is absurd."""
        return self.problem.startswith("does not say") or (self.sizes[0] is None and bool(self.foreign_z))

    @property
    def is_default(self) -> bool:
        """Whether it is what programs write that know no size."""
        return self.unit == "pixel" and {size for size in self.sizes if size is not None} == {1.0}

    @property
    def words(self) -> str:
        """The sizes as a message tells them, such as "0.8 × 0.1 × 0.1 micrometer"; "?" for one that is missing."""
        sizes = " × ".join("?" if size is None else f"{size:.4g}" for size in self.sizes)
        return sizes if self.unit == "pixel" else f"{sizes} {self.unit}"

    @property
    def readable(self) -> Spacing:
        """The same in the unit that people say it in: below 0.1 µm in nm."""
        small = self.unit == "micrometer" and all(size is not None and size < 0.1 for size in self.sizes)
        return self.to("nanometer") if small else self

    @property
    def short_words(self) -> str:
        """The same with the symbol of the unit, such as "0.8 × 0.1 × 0.1 µm"; below 0.1 µm in nm."""
        spacing = self.readable
        return spacing.words.replace(spacing.unit, SHORT_UNITS.get(spacing.unit, spacing.unit))


def agreed(given: Sequence[tuple[str, Spacing]]) -> Spacing:
    """The voxel size of a file that gives it in several places.

    The first that can be trusted is taken, or the first that says anything, completed by the others. Where one that
    can be trusted says otherwise, the result's note tells both.

    Parameters
    ----------
    given : sequence of tuple
        Name of the place, such as "OME-XML", and what it says; the most trusted first.
    """
    sized = [(place, spacing) for place, spacing in given if any(spacing.sizes)]
    deliberate = [(place, spacing) for place, spacing in sized if not spacing.is_default] or sized
    if not deliberate:
        return Spacing(note=join_notes(*(spacing.note for _, spacing in given)))
    place, taken = next(((p, s) for p, s in deliberate if not s.problem or s.is_partial), deliberate[0])
    for _, spacing in deliberate:
        taken = _completed(taken, spacing) if taken.is_partial else taken
    notes = [
        f"its {place} says a voxel of {taken.words} (z × y × x), its {other} one of {spacing.words}; "
        f"that of its {place} is taken"
        for other, spacing in deliberate
        if not (taken.problem or spacing.problem or _same(taken, spacing))
    ]
    return replace(taken, note=join_notes(*(spacing.note for _, spacing in given), *notes))


def as_factor(ratio: float) -> str:
    """A ratio in digits that everybody reads, such as 8 or 8,000; beyond all sizes in powers of ten."""
    return f"{ratio:,.0f}" if 100 <= ratio < 1e9 else f"{ratio:.3g}"


def join_notes(*notes: str) -> str:
    """Several notes as one; each is told once."""
    return "; ".join(dict.fromkeys(note for note in notes if note))


def _completed(spacing: Spacing, other: Spacing) -> Spacing:
    """A spacing whose missing sizes are another's, where their units can be compared."""
    base = spacing if spacing.sizes[2] is not None else replace(spacing, unit=other.unit)
    if base.unit != spacing.unit and any(spacing.sizes):
        base = replace(spacing.to(other.unit), unit=other.unit)
    filled = [
        own if own is not None else convert(theirs, other.unit, base.unit)
        for own, theirs in zip(base.sizes, other.sizes, strict=True)
    ]
    return replace(base, sizes=(filled[0], filled[1], filled[2]))


def _same(one: Spacing, other: Spacing) -> bool:
    """Whether two complete spacings agree within one per cent; of different units that cannot be compared, in shape."""
    pairs = list(zip(one.sizes, other.to(one.unit).sizes, strict=True))
    ratios = [a / b for a, b in pairs if a and b]
    scale = 1.0 if "pixel" not in (one.unit, other.unit) or one.unit == other.unit else ratios[0]
    return all(abs(ratio / scale - 1) < 0.01 for ratio in ratios)


def _thick_axis(z: float, y: float, x: float) -> str:
    """What to add where another axis than z is the thick one."""
    axis, thick, others = ("x", x, (z, y)) if x >= y else ("y", y, (z, x))
    if thick < 1.5 * max(others):
        return ""
    return f": its voxels are longest along {axis}, which its axes, named in another order, make the z step"


def _usable(size: float | None) -> bool:
    return size is not None and math.isfinite(size) and size > 0
