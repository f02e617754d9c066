"""What jumps there and back is displaced; what a specimen does from section to section is not said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_niiv.sections.config import SectionsConfig
from napari_niiv.sections.evidence import are_displaced, evidence, turning
from napari_niiv.sections.find import find_sections
from napari_niiv.volume import Volume

Array = NDArray[np.uint8]


@pytest.fixture(scope="module")
def winding() -> Array:
    """28 sections of 128 × 128 pixels, each the mean of 8 planes, of structure that winds its way along z."""
    planes = np.arange(28 * 8)
    path = np.rint(9 * np.sin(2 * np.pi * planes / 96)).astype(int)
    noise = np.random.default_rng(3).standard_normal((len(planes), 128, 128 + 18), np.float32)
    blobs = gaussian_filter(noise, (16, 2, 2))
    volume = np.stack([plane[:, 9 + x : 137 + x] for plane, x in zip(blobs, path, strict=True)])
    averaged = volume.reshape(28, 8, 128, 128).mean(axis=1)
    return np.clip(128 + 40 * averaged / averaged.std(), 0, 255).astype(np.uint8)


def jittered(array: Array, pixels: int) -> Array:
    """Each section moved by up to so many pixels, by itself; what comes in is from the other side."""
    by = np.random.default_rng(5).integers(-pixels, pixels + 1, (len(array), 2))
    return np.stack([np.roll(section, shift, (0, 1)) for section, shift in zip(array, by, strict=True)])


def test_an_averaged_volume_is_quiet(winding: Array) -> None:
    report = find_sections(Volume(winding))
    assert report.alignable  # it could be straightened, if the user wants that
    assert report.largest_shift == 0
    assert report.sentences == ()
    assert report.repairs(SectionsConfig(align=True))[()].shifts


@pytest.mark.parametrize("pixels", [3, 6])
def test_a_jittered_volume_is_reported(winding: Array, pixels: int) -> None:
    report = find_sections(Volume(jittered(winding, pixels)))
    assert report.largest_shift >= pixels
    assert report.sentences == (f"sections look displaced by up to {report.largest_shift} pixels",)


def test_tissue(sections: Array) -> None:
    assert find_sections(Volume(sections)).largest_shift == 0
    assert find_sections(Volume(jittered(sections, 4))).largest_shift > 0


def test_each_time_by_itself(winding: Array) -> None:
    array = np.stack([winding, jittered(winding, 4)])[:, None].repeat(2, axis=1)
    report = find_sections(Volume(array, "tczyx"))
    assert report.displaced == ((1, 0), (1, 1))
    assert report.of_channel(1).displaced == ((1,),)
    assert report.of_channel(1).largest_shift == report.largest_shift > 0


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0, 0), (5, -4), (-5, 4), (0, 0)], [0, 0.2, 0]),  # there and back
        ([(0, 0), (5, -4), (5, -4), (0, 0)], [0, 0, 0]),  # on and on
        ([(0, 0), (5, -4), (0, 0), (0, 0)], [0, 0, 0]),  # a jump, which may be the specimen's
        ([(0, 0), (1, -1), (-1, 1), (0, 0)], [0, 0, 0]),  # not worth a word
    ],
)
def test_there_and_back(steps: list[tuple[float, float]], expected: list[float]) -> None:
    found = evidence(np.array(steps, float), np.array([0.0, 0.3, 0.2, 0.0]), np.full(4, 0.8))
    np.testing.assert_array_equal(found, expected)


def test_what_stays_unlike_when_moved_back_is_no_evidence() -> None:
    steps, gains = np.array([(0, 0), (24, 0), (-24, 0), (0, 0)], float), np.array([0.0, 0.3, 0.3, 0.0])
    assert are_displaced(steps, gains, np.array([0.8, 0.8, 0.8, 0.8]))
    assert not evidence(steps, gains, np.array([0.8, 0.3, 0.8, 0.8])).any()


def test_turning() -> None:
    """Each step turns back or goes on; by how many pixels does not matter."""
    gains = np.full(3, 0.2)
    assert turning(np.array([(4, 0), (-9, 0), (2, 0)], float), gains) == pytest.approx(0.4)
    assert turning(np.array([(4, 0), (9, 0), (2, 0)], float), gains) == pytest.approx(-0.4)
    assert turning(np.array([(4, 0), (0, 0), (0, 2)], float), gains) == 0


def test_real_stacks(shared_data: Path) -> None:
    """Serial sections are displaced; what was recorded isotropically cannot be, however it is averaged."""
    assert find_sections(Volume(tifffile.imread(shared_data / "vnc_stack1.tif"))).largest_shift > 0
    for name, planes in (("fib25_sample_128.tif", 8), ("fib25_train2_250.tif", 8), ("mousebrain_lm.tif", 4)):
        array = tifffile.imread(shared_data / name)
        deep = array[: len(array) // planes * planes].reshape(-1, planes, *array.shape[1:]).mean(axis=1)
        assert find_sections(Volume(deep.astype(array.dtype))).largest_shift == 0
