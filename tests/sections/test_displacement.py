"""Displacements are found as they were made, and what slants stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import shift as moved_by
from skimage.registration import phase_cross_correlation

from napari_niiv.io.open import open_volume
from napari_niiv.sections.find import find_sections
from napari_niiv.sections.repair import repair_sections
from napari_niiv.sections.trend import trend
from napari_niiv.volume import Volume

Array = NDArray[np.uint8]


def displaced(array: NDArray, shifts: NDArray) -> NDArray:
    """Sections moved by (y, x), by scipy."""
    return np.stack([moved_by(s, by, order=1, mode="nearest") for s, by in zip(array, shifts, strict=True)])


def shifts_of(array: NDArray) -> NDArray[np.int64]:
    report = find_sections(Volume(array))
    return np.array(report.shifts[0][1] if report.shifts else np.zeros((len(array), 2), int))


def test_one_section(deep: Array) -> None:
    shifts = np.zeros((40, 2))
    shifts[17] = (9, -14)
    found = shifts_of(displaced(deep, shifts))
    np.testing.assert_array_equal(found[17], (-9, 14))
    assert np.abs(np.delete(found, 17, axis=0)).max() <= 1
    report = find_sections(Volume(displaced(deep, shifts)))
    assert report.sentences == ("sections look displaced by up to 14 pixels",)


def test_jitter_over_a_slanting_specimen(deep: Array) -> None:
    """The jitter is undone to the pixel or so; the slant, 2 pixels a section, is not."""
    shifts = np.random.default_rng(1).integers(-5, 6, (40, 2)).astype(float)
    found = shifts_of(displaced(deep, shifts))
    left = found + shifts
    left -= left.mean(axis=0)
    # between neighbours; a slow rest, the trend of the jitter itself, is no displacement that is seen
    assert np.abs(np.diff(left, axis=0)).max() <= 3
    assert np.abs(np.diff(left, axis=0)).std() < 0.25 * np.abs(np.diff(shifts, axis=0)).std()
    assert np.abs(found.mean(axis=0)).max() < 1
    slope = np.polyfit(np.arange(40), found, 1)[0]
    assert np.abs(slope).max() < 0.2


def test_a_jump_is_closed_and_far_away_nothing_moves(deep: Array) -> None:
    shifts = np.zeros((40, 2))
    shifts[20:, 0] = 10
    found = shifts_of(displaced(deep, shifts))[:, 0]
    assert abs(found[20] + 10 - found[19]) <= 3
    assert np.abs(found[[0, 1, 2, -3, -2, -1]]).max() <= 1


def test_a_sound_volume_stays(deep: Array, sections: Array) -> None:
    assert not shifts_of(deep).any()
    assert not shifts_of(sections).any()


def test_blank_sections_do_not_lead_astray(deep: Array) -> None:
    shifts = np.zeros((40, 2))
    shifts[12] = (8, 0)
    damaged = displaced(deep, shifts)
    damaged[11] = 0
    found = shifts_of(damaged)
    assert found[12, 0] == -8
    assert np.abs(np.delete(found, [11, 12], axis=0)).max() <= 1


def test_channels_of_a_time_move_together(deep: Array) -> None:
    shifts = np.zeros((40, 2))
    shifts[17] = (-7, 5)
    one = displaced(deep, shifts)
    array = np.stack([[one, 255 - one], [deep, 255 - deep]])
    report = find_sections(Volume(array, "tczyx"))
    by_index = dict(report.shifts)
    assert set(by_index) == {(0, 0), (0, 1)}
    assert by_index[0, 0] == by_index[0, 1]
    assert by_index[0, 0][17] == (7, -5)


def test_as_scikit_image_has_it(deep: Array) -> None:
    """The step between two sections, by another's phase correlation."""
    shifts = np.zeros((40, 2))
    shifts[25] = (-6, 11)
    damaged = displaced(deep, shifts)
    window = np.outer(np.hanning(192), np.hanning(192))
    pair = [(damaged[z] - damaged[z].mean()) * window for z in (24, 25)]
    step, *_ = phase_cross_correlation(*pair, upsample_factor=4)
    ours = shifts_of(damaged)
    np.testing.assert_allclose(ours[25] - ours[24] - (0, 2), step, atol=1.5)  # it slants by 2 along x


def test_a_real_stack(shared_data: Path) -> None:
    """Serial sections of the fly's nerve cord resemble their neighbours more once they are aligned."""
    volume = open_volume(shared_data / "vnc_stack1.tif")
    aligned = repair_sections(volume, align=True)
    inner = (slice(None), slice(32, -32), slice(32, -32))

    def likeness(array: NDArray) -> NDArray:
        values = array[inner].astype(np.float32)
        values = values - values.mean((1, 2), keepdims=True)
        values /= values.std((1, 2), keepdims=True)
        return (values[1:] * values[:-1]).mean((1, 2))

    before, after = likeness(np.asarray(volume.array)), likeness(np.asarray(aligned.array))
    assert (after - before).mean() > 0.015
    assert (after - before).max() > 0.07
    assert (after - before).min() > -0.02


@pytest.mark.parametrize("count", [3, 4, 7, 50])
def test_a_line_is_its_own_trend(count: int) -> None:
    line = 3 - 0.7 * np.arange(count)
    np.testing.assert_allclose(trend(line), line, atol=1e-9)


def test_a_trend_ignores_one_that_stands_out() -> None:
    line = 0.5 * np.arange(30)
    outlier = line.copy()
    outlier[[0, 11, 29]] += 40
    np.testing.assert_allclose(trend(outlier), line, atol=0.7)
