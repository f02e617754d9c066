"""What is to be done to the sections of a volume: data, frozen, as fingerprints and files hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Index = tuple[int, ...]

_MOST_NAMED = 8


@dataclass(frozen=True)
class SectionRepairs:
    """The repairs of a 3-D volume.

    Attributes
    ----------
    bridged : tuple of int
        Sections that are interpolated between the nearest that are not.
    shifts : tuple of tuple of int
        By how many pixels along y and x each section is moved; empty if none is.
    levels : tuple of tuple of float
        Gain and offset of the intensities of each section; empty if none is changed.
    """

    bridged: tuple[int, ...] = ()
    shifts: tuple[tuple[int, int], ...] = ()
    levels: tuple[tuple[float, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.bridged or self.shifts or self.levels)

    def fits(self, depth: int) -> bool:
        """Whether a volume of so many sections can be repaired so."""
        sound = all(0 < z < depth - 1 for z in self.bridged)
        return sound and all(len(part) in (0, depth) for part in (self.shifts, self.levels))

    @property
    def plain(self) -> dict[str, Any]:
        """The same as JSON has it: only the sections that are moved or changed, by their number."""
        facts: dict[str, Any] = {}
        if self.bridged:
            facts["bridged"] = list(self.bridged)
        if self.shifts:
            facts["shifts"] = {str(z): list(shift) for z, shift in enumerate(self.shifts) if any(shift)}
        if self.levels:
            changed = {str(z): list(level) for z, level in enumerate(self.levels) if level != (1.0, 0.0)}
            facts["gain and offset"] = changed
        return facts


@dataclass(frozen=True)
class Repairs:
    """The repairs of a volume, those of each T and C index by themselves; none by default.

    Attributes
    ----------
    parts : tuple of (tuple of int, SectionRepairs)
        A T and C index, and what is done there; indices without repairs are left out.
    """

    parts: tuple[tuple[Index, SectionRepairs], ...] = ()

    @classmethod
    def of(cls, parts: Mapping[Index, SectionRepairs]) -> Repairs:
        """The repairs of the indices that have any."""
        return cls(tuple((index, part) for index, part in sorted(parts.items()) if part))

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __getitem__(self, index: Index) -> SectionRepairs:
        return dict(self.parts).get(index, SectionRepairs())

    def at(self, index: Index) -> Repairs:
        """The repairs of the 3-D volume at a T and C index."""
        return Repairs.of({(): self[index]})

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a volume of this shape can be repaired so."""
        return all(
            len(index) == len(shape) - 3
            and all(0 <= i < n for i, n in zip(index, shape, strict=False))
            and part.fits(shape[-3])
            for index, part in self.parts
        )

    @property
    def bridges(self) -> bool:
        """Whether any section is bridged."""
        return any(part.bridged for _, part in self.parts)

    @property
    def words(self) -> str:
        """What is done, such as "section 17 is bridged; sections are moved by up to 9 pixels"; empty if nothing is."""
        bridged = sorted({z for _, part in self.parts for z in part.bridged})
        largest = max((abs(v) for _, part in self.parts for shift in part.shifts for v in shift), default=0)
        sentences = [
            f"section {listed(bridged)} is bridged" if len(bridged) == 1 else "",
            f"sections {listed(bridged)} are bridged" if len(bridged) > 1 else "",
            f"sections are moved by up to {largest} pixels" if largest else "",
            "the brightness of sections is evened out" if any(part.levels for _, part in self.parts) else "",
        ]
        return "; ".join(sentence for sentence in sentences if sentence)

    @property
    def plain(self) -> list[dict[str, Any]]:
        """The same as JSON has it, one entry for each T and C index that has any."""
        return [{**({"index": list(index)} if index else {}), **part.plain} for index, part in self.parts]


def runs(sections: Iterable[int]) -> list[list[int]]:
    """Sections side by side, together."""
    out: list[list[int]] = []
    for z in sections:
        if out and out[-1][-1] == z - 1:
            out[-1].append(z)
        else:
            out.append([z])
    return out


def listed(sections: Sequence[int]) -> str:
    """Such as 3, 9 to 11 and 20."""
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs(sections)]
    if len(parts) > _MOST_NAMED:
        return f"{', '.join(parts[:_MOST_NAMED])} and others, {len(sections)} in all,"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
