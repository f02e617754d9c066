"""What was found of a volume's sections, and the sentences that say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_niiv.sections.config import SectionsConfig
from napari_niiv.sections.repairs import Index, Repairs, SectionRepairs, listed, runs

MOST_BRIDGED = 3
"""Sections side by side that can be bridged; of more nothing between them is known."""
_MOST_SENTENCES = 6


@dataclass(frozen=True)
class SectionFindings:
    """What was found of the sections of a 3-D volume, which are counted from 0 as napari's slider does.

    Attributes
    ----------
    blank : tuple of int
        Blank or nearly so, between sections that are not.
    repeated : tuple of int
        The same as the section before.
    unlike : tuple of int
        With little in common with either neighbour, such as noise, or a picture of another place.
    darker, brighter : tuple of int
        Much darker, or brighter, than their neighbours.
    levels : tuple of tuple of float
        Gain and offset that give each section the brightness and contrast of its neighbours; empty where that was not
        looked for.
    """

    blank: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    unlike: tuple[int, ...] = ()
    darker: tuple[int, ...] = ()
    brighter: tuple[int, ...] = ()
    levels: tuple[tuple[float, float], ...] = ()

    @property
    def sentences(self) -> list[str]:
        """One for each kind of damage."""
        sentences = [
            _sentence(self.blank, "is blank", "are blank"),
            _sentence(self.repeated, "repeats the one before", "repeat the ones before"),
            _sentence(self.unlike, "is unlike its neighbours", "are unlike their neighbours"),
            _sentence(self.darker, "is much darker than its neighbours", "are much darker than their neighbours"),
            _sentence(self.brighter, "is much brighter than its neighbours", "are much brighter than their neighbours"),
        ]
        if long := [z for run in runs(self.blank) if len(run) > MOST_BRIDGED for z in run]:
            sentences[0] += f" (sections {listed(long)}: too many side by side to be bridged)"
        return [sentence for sentence in sentences if sentence]


@dataclass(frozen=True)
class SectionReport:
    """What was found of the sections of a volume.

    Attributes
    ----------
    axes : str
        Letters of the T and C axes.
    findings : tuple of (tuple of int, SectionFindings)
        For each T and C index.
    shifts : tuple of (tuple of int, tuple)
        For each T and C index, the shifts (y, x) of its sections, in pixels, that undo jumps between them, which may be
        the specimen's; those of all channels of a time are the same. Indices without any are left out.
    displaced : tuple of tuple of int
        The T and C indices of which these jumps are displacement for sure.
    too_large : bool
        Whether nothing was looked at, as that would have cost too much.
    """

    axes: str = ""
    findings: tuple[tuple[Index, SectionFindings], ...] = ()
    shifts: tuple[tuple[Index, tuple[tuple[int, int], ...]], ...] = ()
    displaced: tuple[Index, ...] = ()
    too_large: bool = False

    @property
    def blank(self) -> bool:
        """Whether there are blank sections that can be bridged."""
        return any(_bridgeable(found.blank) for _, found in self.findings)

    @property
    def damaged(self) -> bool:
        """Whether there are sections, repeated or unlike their neighbours, that can be bridged."""
        return any(_bridgeable(sorted({*found.repeated, *found.unlike})) for _, found in self.findings)

    @property
    def uneven(self) -> bool:
        """Whether sections are much darker or brighter than their neighbours."""
        return any(found.darker or found.brighter for _, found in self.findings)

    @property
    def alignable(self) -> bool:
        """Whether aligning would move sections, displaced for sure or not."""
        return bool(self.shifts)

    @property
    def largest_shift(self) -> int:
        """Pixels by which sections are displaced at the most; 0 if they are not for sure."""
        displaced = [part for index, part in self.shifts if index in self.displaced]
        return max((abs(v) for part in displaced for shift in part for v in shift), default=0)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is to be told of it, such as "section 17 is blank"; nothing of most volumes."""
        if self.too_large:
            return (
                "blank sections are not looked for, as all of this volume would have to be decoded; they are in a zarr "
                "copy of it",
            )
        sentences = [
            f"{self._place(index)}{sentence}" for index, found in self.findings for sentence in found.sentences
        ]
        if len(sentences) > _MOST_SENTENCES:
            left = len(sentences) - _MOST_SENTENCES
            sentences = [*sentences[:_MOST_SENTENCES], f"and {left} more of this kind"]
        if pixels := self.largest_shift:
            sentences.append(f"sections look displaced by up to {pixels} pixels")
        return tuple(sentences)

    def of_channel(self, number: int) -> SectionReport:
        """What was found of one channel of a volume that has several."""
        axis = self.axes.index("c")

        def alone(parts: Iterable[tuple[Index, Any]]) -> tuple[tuple[Index, Any], ...]:
            return tuple((index[:axis] + index[axis + 1 :], part) for index, part in parts if index[axis] == number)

        axes = self.axes.replace("c", "")
        displaced = tuple(index for index, _ in alone((index, None) for index in self.displaced))
        findings, shifts = alone(self.findings), alone(self.shifts)
        return replace(self, axes=axes, findings=findings, shifts=shifts, displaced=displaced)

    def repairs(self, config: SectionsConfig) -> Repairs:
        """What is to be done by a configuration."""
        shifts = dict(self.shifts) if config.align else {}
        parts = {}
        for index, found in self.findings:
            damaged = (*found.repeated, *found.unlike) if config.bridge_damaged else ()
            bridged = {*(found.blank if config.bridge else ()), *damaged}
            levels = found.levels if config.even_brightness else ()
            parts[index] = SectionRepairs(_bridgeable(sorted(bridged)), shifts.get(index, ()), levels)
        return Repairs.of(parts)

    def _place(self, index: Index) -> str:
        names = {"t": "time", "c": "channel", "q": "index"}
        parts = [f"{names.get(axis, axis)} {i}" for axis, i in zip(self.axes, index, strict=False)]
        return f"{', '.join(parts)}: " if parts else ""


def _bridgeable(sections: Iterable[int]) -> tuple[int, ...]:
    """Those that are not too many side by side."""
    return tuple(z for run in runs(sections) if len(run) <= MOST_BRIDGED for z in run)


def _sentence(sections: Sequence[int], one: str, several: str) -> str:
    if not sections:
        return ""
    return f"section {sections[0]} {one}" if len(sections) == 1 else f"sections {listed(sections)} {several}"
