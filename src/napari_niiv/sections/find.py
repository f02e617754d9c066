"""Sections that are blank, repeated, darker or brighter, or displaced against their neighbours, by pieces of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_niiv.interrupt import Interrupt, never
from napari_niiv.sections.displacement import Matcher
from napari_niiv.sections.repairs import Index, runs
from napari_niiv.sections.report import SectionFindings, SectionReport
from napari_niiv.sections.trend import neighbours_median, trend
from napari_niiv.sections.windows import MOST_DECODED, chosen_windows, pieces, samples_of, voxels_read
from napari_niiv.volume import Volume

# every fourth pixel along y and x tells how bright a section is
_STRIDE = 4
# the range of intensities of a blank section, as a share of that of its neighbours
_BLANK = 0.2
# percentiles that are the range: a few specks do not make a section
_RANGE = (0.5, 99.5)
# sections on either side among which one that is not blank is looked for
_REACH = 24
# part of the pixels that must be numbers
_LEAST_FINITE = 0.05
# standard deviations of the intensities by which a section is much darker or brighter
_UNEVEN = 0.5
# and how much more than others are; what is no more than usual is the specimen
_UNUSUAL = 5.0
# gains that evening out may need: beyond them the section itself is another
_GAINS = (0.5, 2.0)


@dataclass(frozen=True)
class _Statistics:
    """Brightness of one section.

    Attributes
    ----------
    mean, deviation : float
        Of the pixels that are looked at; NaN where they are no numbers.
    spread : float
        Their range but for a few.
    repeats : bool
        Whether all of them are as in the section before.
    """

    mean: float
    deviation: float
    spread: float
    repeats: bool


class _Comparison(NamedTuple):
    """What comparing each section with the next has told.

    Attributes
    ----------
    shifts : tuple of tuple of int
        What undoes jumps from section to section; empty if there are none.
    displaced : bool
        Whether sections are displaced for sure.
    unlike : tuple of int
        Sections that have little in common with their neighbours.
    """

    shifts: tuple[tuple[int, int], ...] = ()
    displaced: bool = False
    unlike: tuple[int, ...] = ()


def find_blank(volume: Volume) -> SectionReport:
    """Only what is blank or repeated: what is to be known before a volume is reconstructed; see `find_sections`."""
    return _found(volume, never, thorough=False)


def find_sections(volume: Volume, interrupt: Interrupt = never) -> SectionReport:
    """Look for damaged sections.

    A few windows of each section are read, at most 134 million voxels in all; of sections that are compressed whole,
    all of them, if those are less than 4.3 billion voxels, and else nothing. What the windows say of a section is
    confirmed by all of it, or by pixels from all over one that is large. Whatever touches the first or the last section
    is no damage but padding.

    Parameters
    ----------
    volume : Volume
        Each T and C index is looked at by itself, but for the displacement, which the channels of a time have in
        common.
    interrupt : Interrupt
        Called between the pieces.

    Returns
    -------
    SectionReport

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    return _found(volume, interrupt, thorough=True)


def _found(volume: Volume, interrupt: Interrupt, *, thorough: bool) -> SectionReport:
    axes = volume.axes[:-3]
    findings: dict[Index, SectionFindings] = {}
    shifts: dict[Index, tuple[tuple[int, int], ...]] = {}
    displaced: list[Index] = []
    if volume.shape[-3] < 3:
        return SectionReport(axes)
    if voxels_read(volume) > MOST_DECODED:
        return SectionReport(axes, too_large=True)
    total = int(np.prod(volume.shape[:-2]))
    for indices in _times(axes, volume.shape[:-3]):
        channels = [volume.at(*index) for index in indices]
        statistics, compared = _survey(channels, total, interrupt, thorough)
        for index, channel, part in zip(indices, channels, statistics, strict=True):
            found = _damage(channel, part)
            found = replace(found, unlike=tuple(z for z in compared.unlike if z not in found.blank))
            findings[index] = _with_levels(found, part) if thorough else found
            if compared.shifts:
                shifts[index] = compared.shifts
                displaced += [index] if compared.displaced else []
    return SectionReport(axes, tuple(findings.items()), tuple(shifts.items()), tuple(displaced))


def _times(axes: str, leading: tuple[int, ...]) -> Iterator[list[Index]]:
    """The indices of each time: its channels."""
    by_time: dict[Index, list[Index]] = {}
    for index in np.ndindex(leading):
        time = tuple(i for axis, i in zip(axes, index, strict=True) if axis != "c")
        by_time.setdefault(time, []).append(index)
    yield from by_time.values()


def _survey(
    channels: Sequence[Volume], total: int, interrupt: Interrupt, thorough: bool
) -> tuple[list[list[_Statistics]], _Comparison]:
    """Statistics of the sections of each channel, and how the sections lie and look beside each other."""
    windows = chosen_windows(channels, total)
    statistics: list[list[_Statistics]] = [[] for _ in channels]
    before: list[NDArray[Any] | None] = [None] * len(channels)
    usual = [0.0] * len(channels)
    matcher: Matcher | None = None
    for first, parts in pieces(channels, windows):
        interrupt()
        if thorough and matcher is None:
            matcher = Matcher([part.shape[1:] for part in parts[0]])
        for z in range(parts[0][0].shape[0]):
            structured = []
            for c, part in enumerate(parts):
                samples = np.concatenate([window[z, ::_STRIDE, ::_STRIDE].ravel() for window in part])
                statistics[c].append(_statistics_of(samples, before[c]))
                before[c], spread = samples, statistics[c][-1].spread
                if spread > _BLANK * usual[c]:  # of this section something is to be seen
                    usual[c] = spread
                    structured.append(c)
            if matcher is not None and matcher.usable and len(structured) == len(channels):
                matcher.add(first + z, [window[z] for part in parts for window in part])
                interrupt()
    if matcher is None:
        return statistics, _Comparison()
    return statistics, _Comparison(matcher.shifts(channels[0].shape[0]), matcher.displaced(), matcher.unlike())


def _statistics_of(samples: NDArray[Any], before: NDArray[Any] | None) -> _Statistics:
    repeats = before is not None and np.array_equal(samples, before, equal_nan=samples.dtype.kind == "f")
    mean, deviation, spread = _brightness(samples)
    return _Statistics(mean, deviation, spread, repeats)


def _brightness(samples: NDArray[Any]) -> tuple[float, float, float]:
    """Mean, standard deviation and range of pixels; of too few numbers NaN, NaN and 0."""
    values: NDArray[np.float64] = samples.astype(np.float64)
    if samples.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size < _LEAST_FINITE * samples.size or not values.size:
        return np.nan, np.nan, 0.0
    low, high = np.percentile(values, _RANGE)
    return float(values.mean()), float(values.std()), float(high - low)


def _damage(volume: Volume, statistics: Sequence[_Statistics]) -> SectionFindings:
    """What is blank or repeated, confirmed by the whole sections."""
    spreads = np.array([each.spread for each in statistics])
    blank = tuple(z for run in runs(_low(spreads)) if _is_blank(volume, run) for z in run)
    repeats = [z for z, each in enumerate(statistics) if each.repeats and each.spread > 0 and z not in blank]
    repeated = tuple(z for z in repeats if z < len(statistics) - 1 and _is_repeated(volume, z))
    return SectionFindings(blank, repeated)


def _low(spreads: NDArray[np.float64]) -> list[int]:
    """Sections with far less in them than sections on both sides."""
    found = []
    for z in range(1, len(spreads) - 1):
        around = min(spreads[max(0, z - _REACH) : z].max(), spreads[z + 1 : z + 1 + _REACH].max())
        if around > 0 and spreads[z] <= _BLANK * around:
            found.append(z)
    return found


def _is_blank(volume: Volume, run: Sequence[int]) -> bool:
    """Whether sections side by side are blank, by all of them and of their next neighbours.

    What fades and comes again, as light does at the edge of a specimen, does not stop from one section to the next.
    """
    around = min(_brightness(samples_of(volume, z))[2] for z in (run[0] - 1, run[-1] + 1))
    return around > 0 and all(_brightness(samples_of(volume, z))[2] <= _BLANK * around for z in run)


def _is_repeated(volume: Volume, z: int) -> bool:
    one, other = samples_of(volume, z - 1), samples_of(volume, z)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _with_levels(found: SectionFindings, statistics: Sequence[_Statistics]) -> SectionFindings:
    """Which sections are much darker or brighter than their neighbours, and what would even them out."""
    means = np.array([each.mean for each in statistics])
    deviations = np.array([each.deviation for each in statistics])
    means[list(found.blank)] = deviations[list(found.blank)] = np.nan
    known = np.isfinite(means) & (deviations > 0)
    if known.sum() < 3:
        return found
    means[~known] = deviations[~known] = np.nan
    off = means - neighbours_median(means)
    usual = 1.4826 * float(np.nanmedian(np.abs(off)))
    least = max(_UNEVEN * float(np.nanmedian(deviations)), _UNUSUAL * usual)
    gains = np.clip(np.exp(trend(np.log(deviations))) / deviations, *_GAINS)
    offsets = trend(means) - gains * means
    levels = [
        (round(float(g), 4), round(float(o), 3)) if k else (1.0, 0.0)
        for g, o, k in zip(gains, offsets, known, strict=True)
    ]
    return replace(
        found,
        darker=tuple(int(z) for z in np.flatnonzero(off < -least)),
        brighter=tuple(int(z) for z in np.flatnonzero(off > least)),
        levels=tuple(levels),
    )
