"""Which voxels are empty: masks that do not depend on how a volume is cut, and values that come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from napari_niiv.empty_voxels import (
    NOTHING_EMPTY,
    EmptyPart,
    EmptyVoxels,
    empty_setting,
    empty_words,
    intact_means,
    intact_part,
)
from napari_niiv.geometry import Sampling


def padded(dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Dark tissue with single zeros everywhere, and a border and a corner of zeros."""
    array = np.random.default_rng(seed).integers(0, 4, (3, 40, 50)).astype(dtype)
    array[:, :6] = 0
    y, x = np.mgrid[:40, :50]
    array[:, y + x > 75] = 0
    return array


def test_regions_are_squares_of_each_slice_and_their_tips() -> None:
    array = padded()
    mask = EmptyVoxels(regions=(0.0,)).mask(array)
    square = np.ones((5, 5))
    eroded = [binary_erosion(slice_ == 0, square, border_value=1) for slice_ in array]
    near = np.stack([binary_dilation(slice_, np.ones((9, 9))) for slice_ in eroded])
    expected = near & (array == 0)
    np.testing.assert_array_equal(mask, expected)
    assert mask[:, :6].all()
    assert not mask[:, 12:30, 10:35].any()  # a quarter of which is 0


def test_the_mask_does_not_depend_on_how_a_volume_is_cut() -> None:
    array, empty = padded(), EmptyVoxels(regions=(0.0,), outliers=(3.0,))
    whole, m = empty.mask(array), empty.margin
    for edge in (3, 7, 16):
        for y in range(0, 40, edge):
            for x in range(0, 50, edge):
                top, left = max(y - m, 0), max(x - m, 0)
                part = empty.mask(array[:, top : y + edge + m, left : x + edge + m])
                inside = np.s_[:, y - top : y - top + edge, x - left : x - left + edge]
                found = np.zeros_like(whole[:, y : y + edge, x : x + edge]) if part is None else part[inside]
                np.testing.assert_array_equal(found, whole[:, y : y + edge, x : x + edge])


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64"])
def test_what_is_no_number_is_empty_whatever_is_set(dtype: str) -> None:
    array = np.ones((2, 3, 4), dtype)
    assert NOTHING_EMPTY.mask(array) is None
    array[0, 1, 2], array[1, 0, 0], array[1, 2, 3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(NOTHING_EMPTY.mask(array), ~np.isfinite(array))


@pytest.mark.parametrize("value", [-1.0, 256.0, 0.5, 1e30])
def test_values_that_a_type_cannot_hold_are_not_found(value: float) -> None:
    assert EmptyVoxels(outliers=(value,)).mask(np.zeros((2, 3, 4), np.uint8)) is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_what_is_empty_comes_back_where_it_is_nearest(dtype: str) -> None:
    values = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    mask = values % 5 == 0
    picture = np.full((8, 3, 8), 99, dtype)
    places = (Sampling.covering(2, 8), Sampling.covering(3, 3), Sampling.covering(4, 8))
    EmptyPart(mask, values).put_back(picture, places)
    fine_mask, fine = (v.repeat(4, 0).repeat(2, 2) for v in (mask, values))
    np.testing.assert_array_equal(picture, np.where(fine_mask, fine, 99))


def test_other_types_get_the_nearest_that_they_hold() -> None:
    values = np.array([np.nan, np.inf, -np.inf, -32768.0], np.float32).reshape(1, 1, 4)
    for dtype, expected in (("uint8", [0, 255, 0, 0]), ("int16", [0, 32767, -32768, -32768])):
        picture = np.full((1, 1, 4), 7, dtype)
        EmptyPart(np.ones((1, 1, 4), bool), values).put_back(
            picture, (Sampling(0, 1, 1), Sampling(0, 1, 1), Sampling(0, 1, 4))
        )
        assert picture.ravel().tolist() == expected


def test_means_are_of_what_is_measured() -> None:
    box = np.array([[[2, 4, -9, -9], [6, -9, -9, -9]]], np.int16)
    mask = box == -9
    np.testing.assert_allclose(intact_means(box, mask, 2), [[[4, 0]]])
    part = EmptyPart(mask, box).coarsened(2)
    np.testing.assert_array_equal(part.mask, [[[False, True]]])
    assert part.values[0, 0, 1] == -9


def test_the_largest_part_without_padding_is_taken() -> None:
    box = np.full((1, 30, 40), 5, np.uint8)
    box[:, :4] = box[:, :, -7:] = 0
    assert intact_part(box, EmptyVoxels(regions=(0.0,))).shape == (1, 26, 33)
    assert intact_part(np.zeros((1, 30, 40)), EmptyVoxels(regions=(0.0,))).size == 0


@pytest.mark.parametrize(
    ("text", "values"), [("auto", None), ("None", ()), ("0", (0.0,)), ("255, 0", (0.0, 255.0)), ("-2e3;", (-2000.0,))]
)
def test_settings_as_they_are_written(text: str, values) -> None:
    assert empty_setting(text) == values
    assert empty_setting(empty_words(values)) == values


@pytest.mark.parametrize("text", ["", "zero", "nan", "0, inf", "0 255"])
def test_settings_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="should be auto, none, or the values"):
        empty_setting(text)


def test_words() -> None:
    assert EmptyVoxels((0.0,), (), 0.123).words == "12 % of this volume is empty (0); kept out"
    assert EmptyVoxels((), (), 0.004).words == "Less than 1 % of this volume is empty (not a number); kept out"
    assert EmptyVoxels((0.0,), ()).words == ""
