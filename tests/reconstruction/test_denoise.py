"""The noise level that a model is told: what is asked for, or what the volume itself says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from napari_niiv.errors import ReconstructionError
from napari_niiv.geometry import output_size
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction import denoise as module
from napari_niiv.reconstruction.denoise import averaged_level, check_denoise, level_of, within
from napari_niiv.reconstruction.region import RegionBlock, reconstruct_region
from napari_niiv.reconstruction.single_slice import reconstruct_slice, slice_request
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

SIGMA = 0.002
VOXEL = (4.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def noisy(texture) -> Volume:
    """Noise of 0.002 of the range on structures that are coarse beside it."""
    array = texture((6, 40, 48), size=8.0)
    return Volume(array + SIGMA * np.random.default_rng(1).normal(size=array.shape), voxel_size=VOXEL)


@pytest.fixture(scope="module")
def model(small_model) -> Niiv:
    return small_model(noise=0.1)


def automatic(volume: Volume, model: Niiv) -> float:
    return level_of(volume, Normalization.of(volume), model, "auto")


# what can be asked for


@pytest.mark.parametrize("noise", [0.0, 0.06])
@pytest.mark.parametrize("level", [-0.01, math.nan, math.inf, 1.5, True, None, "strong", "0.02", 0.061])
def test_levels_that_make_no_sense_are_refused(small_model, texture, noise: float, level) -> None:
    volume, model = Volume(texture((5, 20, 21)), voxel_size=VOXEL), small_model(noise=noise)
    expected = "up to 0.06, not 0.061" if noise else "trained without noise"
    if level != 0.061:
        expected = "it should be auto, or a noise level from 0 to 1"
    for restore in (
        lambda: reconstruct(volume, model, denoise=level),
        lambda: reconstruct_slice(volume, model, "xz", 9, denoise=level),
        lambda: next(reconstruct_region(volume, model, budget=10**6, denoise=level)),
    ):
        with pytest.raises(ReconstructionError, match=expected):
            restore()


@pytest.mark.parametrize("level", [0, 0.0, 0.06, np.float32(0.05), "auto"])
def test_levels_that_do(small_model, level) -> None:
    check_denoise(small_model(noise=0.06), level)


def test_a_level_is_taken_down_to_what_the_model_knows(small_model) -> None:
    assert [within(small_model(noise=0.06), each) for each in ("auto", 0.0, 0.05, 0.5)] == ["auto", 0, 0.05, 0.06]
    assert [within(small_model(), each) for each in ("auto", 0.05)] == ["auto", 0]


# what "auto" is


def with_noise(texture, share: float, scale: float = 1.0, anisotropy: float = 8.0) -> Volume:
    """Noise of a share of the range, roughly, on structures that are coarse beside it."""
    array = texture((6, 40, 48), size=8.0)
    noisy = scale * (array + share * np.random.default_rng(1).normal(size=array.shape)) + 3
    return Volume(noisy, voxel_size=(anisotropy, 1.0, 1.0))


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize(("share", "times"), [(0.002, 5), (0.008, 5), (0.04, 2)])
def test_it_is_a_multiple_of_the_noise_as_a_share_of_the_range(
    texture, model, scale: float, share: float, times: float
) -> None:
    volume = with_noise(texture, share, scale)
    normalization = Normalization.of(volume)
    expected = times * share * scale / (normalization.high - normalization.low)
    assert automatic(volume, model) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("share", [0.015, 0.02, 0.024])
def test_in_between_it_is_the_level_at_which_texture_is_gone(texture, model, share: float) -> None:
    assert automatic(with_noise(texture, share), model) == 0.055


@pytest.mark.parametrize(("anisotropy", "level"), [(8, 0.055), (10, 0.055), (4.5, 0.028), (2.4, 0.024)])
def test_there_is_less_of_such_texture_the_finer_the_z_step(texture, model, anisotropy: float, level: float) -> None:
    # at 2.4x it is twice the noise
    assert automatic(with_noise(texture, 0.012, anisotropy=anisotropy), model) == pytest.approx(level, rel=0.1)


def test_it_has_three_digits_and_ends_where_the_model_does(texture, small_model) -> None:
    level = automatic(with_noise(texture, 0.00777), small_model(noise=0.1))
    assert level == float(f"{level:.3f}")
    assert 0.02 < level < 0.05
    assert automatic(with_noise(texture, 0.05), small_model(noise=0.02)) == 0.02


def test_a_model_without_noise_is_told_none_and_nothing_is_read(noisy, small_model, monkeypatch) -> None:
    normalization = Normalization.of(noisy)
    monkeypatch.setattr(module, "noise_of", lambda volume: pytest.fail("it was read"))
    assert level_of(noisy, normalization, small_model(), "auto") == 0
    assert level_of(noisy, normalization, small_model(noise=0.1), 0.07) == 0.07


def test_padding_does_not_change_it(noisy, model) -> None:
    padded = replace(noisy, array=np.pad(noisy.array, ((0, 0), (0, 40), (0, 0))))
    assert automatic(padded, model) == pytest.approx(automatic(noisy, model), abs=0.0021)


def test_averages_have_less_noise() -> None:
    values = np.random.default_rng(0).normal(0, 0.1, (400, 30, 30))
    means = values.reshape(200, 2, 10, 3, 10, 3).mean((1, 3, 5))
    assert averaged_level(0.1, 2, 3) == pytest.approx(means.std(), rel=0.02)


# what is told of it


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_auto_is_the_number_that_it_comes_to(noisy, model, scale: float) -> None:
    level = automatic(noisy, model)
    images = [reconstruct(noisy, model, output_scale=scale, denoise=each).array.compute() for each in ("auto", level)]
    np.testing.assert_array_equal(*images)
    default = reconstruct(noisy, model, output_scale=scale).array.compute()
    np.testing.assert_array_equal(default, images[0])
    assert np.abs(default - reconstruct(noisy, model, output_scale=scale, denoise=0.0).array.compute()).max() > 1e-3


@pytest.mark.parametrize("denoise", ["auto", 0.0, 0.07])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_screen_file_and_space_are_told_the_same(noisy, model, denoise, scale: float) -> None:
    whole = reconstruct(noisy, model, output_scale=scale, denoise=denoise).array.compute()
    index, pixel = (9, 1) if scale == 1 else (9.0, 2)
    live = reconstruct_slice(noisy, model, "xz", index, pixel_size=pixel, denoise=denoise)
    shape = tuple(output_size(n, f * scale) for n, f in zip(noisy.shape, VOXEL, strict=True))
    assert whole.shape == shape
    np.testing.assert_allclose(live, whole[:, int(9 * scale)], atol=1e-4)
    region = np.full(whole.shape, np.nan)
    for event in reconstruct_region(noisy, model, budget=10**7, output_scale=scale, denoise=denoise):
        if isinstance(event, RegionBlock):
            region[event.place] = event.array
    np.testing.assert_allclose(region, whole, atol=1e-4)


def test_each_index_has_its_own(noisy, model) -> None:
    clean = noisy.array + 2 * SIGMA * np.random.default_rng(2).normal(size=noisy.shape)
    both = Volume(np.stack([noisy.array, clean]), axes="czyx", voxel_size=VOXEL)
    levels = [automatic(both.at(index), model) for index in (0, 1)]
    assert levels[1] > 1.8 * levels[0]
    whole = reconstruct(both, model).array.compute()
    for index in (0, 1):
        alone = reconstruct(both.at(index), model, denoise=levels[index]).array.compute()
        np.testing.assert_array_equal(whole[index], alone)
    reconstructor = Reconstructor(both, model)
    for index in (0, 1):
        request = replace(slice_request(both, "xz", 9), leading=(index,))
        assert reconstructor.slice(request).denoise == levels[index]


# the live view


def test_it_is_estimated_once_and_not_for_what_needs_no_network(noisy, model, monkeypatch) -> None:
    calls, noise_of = [], module.noise_of
    monkeypatch.setattr(module, "noise_of", lambda volume, empty: calls.append(volume) or noise_of(volume, empty))
    reconstructor, request = Reconstructor(noisy, model), slice_request(noisy, "xz", 9)
    assert not reconstructor.is_cached(request, "refined")
    assert reconstructor.slice(request, "placeholder").denoise is None
    assert reconstructor.slice(slice_request(noisy, "xy", 3)).denoise is None
    assert not calls
    level = reconstructor.slice(request).denoise
    assert level == automatic(noisy, model)
    calls.clear()
    assert reconstructor.slice(request, "placeholder").denoise == level
    reconstructor.slice(slice_request(noisy, "yz", 5))
    assert reconstructor.is_cached(request, "refined")
    assert not calls


def test_latent_grids_belong_to_a_level(noisy, model) -> None:
    reconstructor, request = Reconstructor(noisy, model), slice_request(noisy, "xz", 9)
    level = reconstructor.slice(request).denoise
    assert reconstructor.is_cached(replace(request, denoise=level), "refined")
    assert not reconstructor.is_cached(replace(request, denoise=level + 0.001), "refined")
    assert reconstructor.slice(replace(request, denoise=0.05)).denoise == 0.05
    assert reconstructor.is_cached(request, "refined")


def test_of_a_pyramid_the_full_resolution_is_looked_at(noisy, model) -> None:
    coarse = noisy.array.reshape(6, 20, 2, 24, 2).mean((2, 4))
    request = slice_request(noisy, "xz", 9, pixel_size=2)
    plain, pyramid = (Reconstructor(v, model).slice(request) for v in (noisy, replace(noisy, pyramid=(coarse,))))
    assert plain.denoise == pyramid.denoise == automatic(noisy, model)
    np.testing.assert_allclose(plain.image, pyramid.image, atol=1e-4)
