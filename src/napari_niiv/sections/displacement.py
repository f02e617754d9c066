"""By how much sections are displaced against each other: phase correlation, and what of it is jitter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_niiv.sections.evidence import are_displaced
from napari_niiv.sections.trend import trend

Shift = tuple[float, float]

# pixels of the (halved) windows: blur of the phase correlation, as sections agree in what is coarse alone
_BLUR = 1.5
# pixels: windows of this edge and more are halved first
_HALVED = 128
# pixels: smaller windows tell nothing
_LEAST = 32
# peaks lower than this many standard deviations of the phase correlation are chance
_LEAST_PEAK = 7.0
# by how much the correlation of two sections must rise, at the least, for a displacement to be sure
_LEAST_GAIN = 0.08
# a section is unlike its neighbours whose correlation with both is less than this part of what is usual around it
_UNLIKE = 0.3
# which must be worth something, in some sections on either side
_LIKE, _AROUND = 0.3, 5
# pixels: less is not worth a word
LEAST_SHIFT = 2


class _Step(NamedTuple):
    """From one section to the next.

    Attributes
    ----------
    shift : tuple of float
        How far it lies further along y and x, in pixels.
    gain : float
        In correlation, from following it.
    likeness : float
        The correlation itself.
    sure : bool
        Whether the phases agree anywhere.
    """

    shift: Shift = (0.0, 0.0)
    gain: float = 0.0
    likeness: float = np.nan
    sure: bool = True


class Matcher:
    """Compares each section with the one before, and tells where each lies.

    The cross-power spectra of all windows are averaged before the peak is looked for: a window that has little in
    common with the next section cannot lead astray, as it could with a peak of its own.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Rows and columns of the windows.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        self._shape = shapes[0]  # all are alike
        self.usable = min(self._shape) >= _LEAST
        self._factor = 2 if min(self._shape) >= _HALVED else 1
        rows, columns = (n // self._factor for n in self._shape)
        self._size = (rows, columns)
        self._taper = np.outer(_taper(rows), _taper(columns)).astype(np.float32)
        fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]
        self._blur = np.exp(-2 * (np.pi * _BLUR) ** 2 * (fy**2 + fx**2)).astype(np.float32)
        # the other half of a spectrum is its mirror image
        self._both = np.where((fx[0] == 0) | (fx[0] == 0.5), 1.0, 2.0)
        self._before: NDArray[np.complexfloating] | None = None
        self.places: list[int] = []
        self._steps: list[_Step] = []  # from the section before

    def add(self, z: int, pictures: Sequence[NDArray[Any]]) -> None:
        """Compare the windows of a section, of all channels, with those of the section added before."""
        spectra = self._spectra(pictures)
        self._steps.append(_Step() if self._before is None else self._between(self._before, spectra))
        self._before = spectra
        self.places.append(z)

    def unlike(self) -> tuple[int, ...]:
        """Sections that have little in common with both neighbours, where sections have something in common."""
        found = []
        likeness = np.array([step.likeness for step in self._steps])
        for i in range(1, len(self.places) - 1):
            if self._steps[i].sure or self._steps[i + 1].sure:
                continue
            before, after = likeness[max(1, i - _AROUND) : i], likeness[i + 2 : i + 2 + _AROUND]
            around = np.concatenate([before, after])
            usual = float(np.nanmedian(around)) if np.isfinite(around).any() else 0.0
            if usual >= _LIKE and max(likeness[i], likeness[i + 1]) < _UNLIKE * usual:
                found.append(self.places[i])
        return tuple(found)

    def shifts(self, depth: int) -> tuple[tuple[int, int], ...]:
        """What undoes the jumps from section to section; slow drift, which may be the specimen's, stays.

        Parameters
        ----------
        depth : int
            Sections of the volume; those that were not compared move as those around them.

        Returns
        -------
        tuple of tuple of int
            Whole pixels along y and x for each section, so that its voxels stay as they were measured; empty if no
            section is displaced for sure.
        """
        if len(self.places) < 3:
            return ()
        positions = np.cumsum([step.shift for step in self._steps], axis=0)
        slow, along = np.zeros((depth, 2)), np.zeros((depth, 2))
        for axis in range(2):
            along[:, axis] = np.interp(np.arange(depth), self.places, positions[:, axis])
            slow[:, axis] = trend(along[:, axis])
        drift = np.abs(np.diff(slow[self.places], axis=0)).max(axis=1)
        jump = np.abs(np.diff((along - slow)[self.places], axis=0)).max(axis=1)
        sure = (np.array([step.gain for step in self._steps[1:]]) >= _LEAST_GAIN) & (
            jump >= np.maximum(LEAST_SHIFT, drift)
        )
        whole = np.rint(slow - along).astype(int)
        if not sure.any() or np.abs(whole).max() < LEAST_SHIFT:
            return ()
        return tuple((int(y), int(x)) for y, x in whole)

    def displaced(self) -> bool:
        """Whether what `shifts` undoes is displacement for sure, and not the specimen."""
        steps = self._steps[1:]
        if len(steps) < 2:
            return False
        return are_displaced(
            np.array([step.shift for step in steps]),
            np.array([step.gain for step in steps]),
            np.array([step.likeness for step in steps]),
        )

    def _spectra(self, pictures: Sequence[NDArray[Any]]) -> NDArray[np.complexfloating]:
        rows, columns = self._size
        out = np.empty((len(pictures), rows, columns // 2 + 1), np.complex64)
        for i, picture in enumerate(pictures):
            values = np.nan_to_num(picture.astype(np.float32), posinf=0.0, neginf=0.0)
            if self._factor == 2:
                values = values[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))
            mean = np.average(values, weights=self._taper)
            out[i] = np.fft.rfft2((values - mean) * self._taper)
        return out

    def _between(self, one: NDArray[np.complexfloating], other: NDArray[np.complexfloating]) -> _Step:
        """By how much `other` lies further along y and x than `one`, 0 where that cannot be told.

        The peak of the phase correlation, which is sharp, is followed only where the sections' plain correlation rises
        with it.
        """
        cross = other * np.conj(one)
        size = np.abs(cross)
        largest = size.max(axis=(1, 2), keepdims=True)
        phases = (cross / np.maximum(size, 1e-6 * largest + 1e-30)).sum(axis=0) * self._blur
        correlation = np.fft.irfft2(phases, self._size)
        peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
        plain = cross.sum(axis=0) * self._blur
        power = [float((np.abs(part) ** 2 * self._blur * self._both).sum()) for part in (one, other)]
        norm = np.sqrt(power[0] * power[1]) or 1.0
        here = float(self._correlation(plain, [0.0], [0.0])[0, 0] / norm)
        spread = float(correlation.std())
        if not spread or (correlation[peak] - correlation.mean()) / spread < _LEAST_PEAK:
            return _Step(likeness=here, sure=False)
        coarse = [int(p) if p < n / 2 else int(p) - n for p, n in zip(peak, self._size, strict=True)]
        near = np.arange(-1, 1.01, 0.25)
        around = self._correlation(phases, coarse[0] + near, coarse[1] + near)
        row, column = np.unravel_index(int(around.argmax()), around.shape)
        y, x = coarse[0] + near[row], coarse[1] + near[column]
        there = float(self._correlation(plain, [y], [x])[0, 0] / norm)
        if there <= here:
            return _Step(likeness=here)
        return _Step((self._factor * float(y), self._factor * float(x)), there - here, there)

    def _correlation(self, cross: NDArray[np.complexfloating], y: Any, x: Any) -> NDArray[np.float64]:
        """The correlation of a cross-power spectrum at some rows and columns, which may lie between pixels."""
        rows = np.exp(2j * np.pi * np.outer(y, np.fft.fftfreq(self._size[0])))
        columns = self._both[:, None] * np.exp(2j * np.pi * np.outer(np.fft.rfftfreq(self._size[1]), x))
        return np.asarray((rows @ cross @ columns).real)


def _taper(count: int) -> NDArray[np.float64]:
    """Falls to 0 at both ends: a picture that is repeated has no edges then, which would be seen as no displacement."""
    return np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 2
