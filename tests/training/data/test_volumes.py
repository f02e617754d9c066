from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_niiv.errors import TrainingError, VolumeError
from napari_niiv.geometry import Box, Span
from napari_niiv.training.data.patches import PatchSampler
from napari_niiv.training.data.volumes import MOST_INDICES, training_volumes
from napari_niiv.volume import Volume


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)


WHOLE = Box.whole((8, 20, 24))


def test_every_time_and_channel_is_a_volume_of_its_own() -> None:
    array = noise(2, 3, 8, 20, 24) * np.arange(1, 7).reshape(2, 3, 1, 1, 1)
    usable, notices = training_volumes([Volume(array, "tczyx", (4.0, 1.0, 1.0))])
    assert notices == []
    assert [s.shape for s in usable] == [(8, 20, 24)] * 6
    assert {s.anisotropy for s in usable} == {4.0}
    for volume, part in zip(usable, array.reshape(6, 8, 20, 24), strict=True):
        low, high = np.percentile(part, (0.1, 99.9))
        np.testing.assert_allclose(volume.read(WHOLE), (part - low) / (high - low), atol=1e-5)


def test_volumes_follow_each_other() -> None:
    usable, _ = training_volumes([Volume(noise(8, 20, 24), name="a"), Volume(noise(2, 8, 9, 9), "czyx", name="b")])
    assert [s.volume.name for s in usable] == ["a", "b", "b"]


def test_of_many_times_sixteen_are_taken_evenly() -> None:
    array = noise(61, 3, 9, 9) + 10_000 * np.arange(61, dtype=np.float32).reshape(61, 1, 1, 1)
    usable, _ = training_volumes([Volume(array, "tzyx")])
    times = [round(s.normalization.low / 10_000) for s in usable]
    assert len(times) == MOST_INDICES
    assert times == list(range(0, 61, 4))


def test_a_volumes_noise_is_a_share_of_its_range() -> None:
    ramp = np.linspace(0, 4000, 300)[None, :, None] + np.zeros((8, 300, 200))
    array = ramp + np.random.default_rng(0).normal(0, 50, ramp.shape)
    (volume,), _ = training_volumes([Volume(array, voxel_size=(4.0, 1.0, 1.0))])
    low, high = np.percentile(array, (0.1, 99.9))
    assert volume.noise == pytest.approx(50 / (high - low), rel=0.03)


def test_a_box_is_what_lies_there() -> None:
    array = noise(8, 20, 24)
    (volume,), _ = training_volumes([Volume(da.from_array(array, chunks=5))])
    box = Box(Span(2, 7), Span(3, 4), Span(10, 24))
    low, high = np.percentile(array, (0.1, 99.9))
    values = volume.read(box)
    assert values.dtype == torch.float32
    np.testing.assert_allclose(values, (array[2:7, 3:4, 10:24] - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int32, np.float64, bool])
def test_all_types_are_normalised(dtype) -> None:
    array = np.random.default_rng(0).integers(0, 2, (8, 20, 24)).astype(dtype)
    (volume,), _ = training_volumes([Volume(array)])
    values = volume.read(WHOLE)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert values.min() == pytest.approx(0, abs=0.01)
    assert values.max() == pytest.approx(1, abs=0.01)


def test_less_than_isotropic_is_isotropic() -> None:
    (volume,), _ = training_volumes([Volume(noise(8, 9, 9), voxel_size=(0.995, 1.0, 1.0))])
    assert volume.anisotropy == 1


# blanks and holes


def test_constant_channels_are_left_out_and_named() -> None:
    array = noise(3, 8, 20, 24)
    array[1] = 7
    usable, (notice,) = training_volumes([Volume(array, "czyx", name="cells")])
    assert len(usable) == 2
    assert "(1,)" in notice
    assert "'cells'" in notice
    assert "constant" in notice
    assert "\n" not in notice


def test_a_constant_volume_beside_others_is_left_out_and_named() -> None:
    blank = Volume(np.zeros((8, 9, 9), np.uint8), name="blank")
    usable, (notice,) = training_volumes([blank, Volume(noise(8, 9, 9), name="cells")])
    assert [s.volume.name for s in usable] == ["cells"]
    assert "'blank' is constant" in notice


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 9, 9), np.uint8), "constant"),
        (np.full((2, 8, 9, 9), 3, np.uint16), "constant"),
        (np.full((8, 9, 9), np.nan, np.float32), "nothing but NaN"),
    ],
)
def test_nothing_to_learn_from(array, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        training_volumes([Volume(array, "czyx"[4 - array.ndim :])])


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_holes_are_nan_and_do_not_count(hole: float, dtype) -> None:
    array = noise(8, 20, 24).astype(dtype)
    holes = np.zeros(array.shape, bool)
    holes[3, 5:9] = holes[:, 2, 2] = holes[0] = True
    array[holes] = hole
    (volume,), notices = training_volumes([Volume(array, name="hollow")])
    assert notices == ["hollow: 15 % of this volume is empty (not a number); kept out."]
    low, high = np.percentile(array[~holes].astype(float), (0.1, 99.9))
    assert (volume.normalization.low, volume.normalization.high) == (
        pytest.approx(low),
        pytest.approx(high),
    )
    values = volume.read(WHOLE).numpy()
    np.testing.assert_array_equal(np.isnan(values), holes)
    np.testing.assert_allclose(values[~holes], (array[~holes] - low) / (high - low), atol=1e-3)


# slices held_out out


@given(depth=st.integers(3, 400))
def test_slices_held_out_are_some_of_the_volumes(depth: int) -> None:
    array = np.zeros((depth, 1, 2), np.uint8)
    array[..., 1] = 1
    (volume,), _ = training_volumes([Volume(array)])
    held_out = volume.held_out
    assert len(set(held_out)) == len(held_out) == min(max(depth // 16, 1), 8)
    assert min(held_out) > 0
    assert max(held_out) < depth - 1
    gaps = np.diff(held_out)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1  # spread evenly


@pytest.mark.parametrize(
    ("structured", "expected"),
    [
        (range(64), (8, 24, 40, 56)),
        ([z for z in range(64) if z not in (8, 9, 24, 40, 41, 39)], (7, 23, 38, 56)),  # the nearest that are not
        ([0, 3, 60], (3, 60)),  # two parts of four are blank
        ([5], (8, 24, 40, 56)),  # the only one is learnt from
    ],
)
@pytest.mark.parametrize("blank", [0, np.nan])
def test_blank_slices_are_not_held_out_where_others_are_not(structured, expected, blank: float) -> None:
    array = np.full((64, 20, 24), blank, np.float32)
    array[list(structured)] = noise(len(structured), 20, 24)
    (volume,), _ = training_volumes([Volume(array)])
    assert volume.held_out == expected


@pytest.mark.parametrize("depth", [1, 2])
def test_too_few_slices(depth: int) -> None:
    with pytest.raises(TrainingError, match=rf"'thin' has {depth} slice.*at least three") as caught:
        training_volumes([Volume(noise(8, 9, 9)), Volume(noise(depth, 9, 9), name="thin")])
    assert "\n" not in str(caught.value)


def test_no_volumes() -> None:
    with pytest.raises(TrainingError, match="at least one volume"):
        training_volumes([])


# padding


def _padded() -> NDArray[np.uint8]:
    array = np.random.default_rng(0).integers(60, 200, (40, 70, 80)).astype(np.uint8)
    array[:, :15] = array[:, :, -20:] = 0
    array[:12] = array[30:] = 0
    return array


def test_padding_is_not_learnt_from() -> None:
    (volume,), _ = training_volumes([Volume(_padded())])
    box = Box(Span(10, 20), Span(5, 33), Span(40, 70))
    np.testing.assert_array_equal(np.isnan(volume.read(box)), _padded()[box.slices] == 0)
    sampler = PatchSampler([volume.read(Box.whole((40, 70, 80)))], 3, seed=0)
    patches = sampler.draw(200, 16, 16)
    assert float(patches.min()) >= -0.01  # 0 would be far below


def test_blank_slices_are_not_held_out() -> None:
    (volume,), _ = training_volumes([Volume(_padded())])
    assert volume.held_out == (12, 29)
    (clean,), _ = training_volumes([Volume(_padded()[12:30, 15:, :60])])
    assert clean.held_out == (9,)
