"""Every degradation against integrals and filters done by others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter1d

from napari_niiv.degradation import (
    Average,
    Degradation,
    Gaussian,
    Measured,
    Skip,
    coarse_positions,
    restored_positions,
)
from napari_niiv.errors import VolumeError
from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card
from napari_niiv.resampling import resample

FACTORS = [1.0, 1.3, 2.5, 4.0, 10.87]
COARSE = [4.0, 7.7, 10.87]  # factors at which a ramp's pixels, each constant, are steps of little weight
LOPSIDED = Measured(profile=(1.0, 2.0, 8.0, 3.0, 3.0, 0.5), spacing=0.3)
ALL = [Average(), Gaussian(fwhm=0.7), Gaussian(fwhm=2.0), Skip(thickness=0.4), LOPSIDED]


def noise(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=shape)


def applied(degradation: Degradation, x: NDArray[np.float64], anisotropy: float) -> NDArray[np.float32]:
    return degradation.apply(torch.from_numpy(x).float(), anisotropy).numpy()


def means(
    x: NDArray[np.float64], centres: NDArray[np.float64], width: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of the signal, each pixel of which is constant over its extent; centres and width in pixels."""
    integral = np.concatenate([[0], np.cumsum(x)])
    edges = np.arange(len(x) + 1) - 0.5
    upper, lower = (np.interp(centres + s * width / 2, edges, integral) for s in (1, -1))
    return (upper - lower) / width


# the mean over the extent


def test_whole_factors_are_average_pooling_and_drop_the_rest() -> None:
    x = torch.randn(2, 3, 22, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Average().apply(x, 4), F.avg_pool1d(x, 4))


@pytest.mark.parametrize("anisotropy", [1.0, 1.3, 2.5, 3.7, 10.87])
def test_fractional_factors_integrate_exactly(anisotropy: float) -> None:
    x = noise(50)
    count = int(50 / anisotropy)
    integral = np.concatenate([[0], np.cumsum(x)])
    edges = np.interp(anisotropy * np.arange(count + 1), np.arange(51), integral)
    np.testing.assert_allclose(applied(Average(), x, anisotropy), np.diff(edges) / anisotropy, atol=1e-5)


@pytest.mark.parametrize(("anisotropy", "coarse", "fine"), [(4, 5, 20), (2.5, 3, 7), (1.3, 10, 13), (10.87, 2, 21)])
def test_restored_positions_are_the_fine_pixels(anisotropy: float, coarse: int, fine: int) -> None:
    positions = restored_positions(coarse, anisotropy)
    assert positions.count == fine
    # a ramp's averages, read at those positions, give the ramp back: both count from the same edge
    for pixel in (0, fine - 1):
        where = positions.start + positions.step * pixel
        assert (where + 0.5) * anisotropy == pytest.approx(pixel + 0.5)


def test_an_axis_shorter_than_a_voxel_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than one voxel"):
        Average().apply(torch.zeros(7), 8)


def test_factors_that_a_float_cannot_hold_lose_no_voxel() -> None:
    assert coarse_positions(115, 1.15).count == 100  # 115 / 1.15 is 99.99999999999999 or so
    assert restored_positions(100, 1.15).count == 115


# the Gaussian


@pytest.mark.parametrize("fwhm", [0.5, 1.0, 2.3])
@pytest.mark.parametrize("anisotropy", [2.0, 4.0, 5.5])
def test_gaussian_is_scipys_filter_of_the_signal_finely_sampled(fwhm: float, anisotropy: float) -> None:
    x, fine = noise(88), 200
    sigma = fwhm / math.sqrt(8 * math.log(2)) * anisotropy * fine
    blurred = gaussian_filter1d(np.repeat(x, fine), sigma, mode="nearest", radius=round(3 * sigma))
    centres = anisotropy * (np.arange(int(88 / anisotropy)) + 0.5)  # from the axis' edge
    expected = np.interp(centres * fine - 0.5, np.arange(len(blurred)), blurred)
    np.testing.assert_allclose(applied(Gaussian(fwhm=fwhm), x, anisotropy), expected, atol=2e-3)


@pytest.mark.parametrize(("fwhm", "anisotropy"), [(2.0, 10.0), (0.8, 25.0)])
def test_fwhm_is_the_width_of_a_points_image_in_z_steps(fwhm: float, anisotropy: float) -> None:
    point = torch.zeros(401)
    point[200] = 1
    image = Gaussian(fwhm=fwhm).apply(point, anisotropy, Sampling(0, 1, 401)).numpy()
    right, left = image[200:], image[200::-1]
    half = image.max() / 2
    width = sum(np.interp(-half, -side, np.arange(len(side))) for side in (right, left))
    assert image.argmax() == 200
    assert width == pytest.approx(fwhm * anisotropy, rel=0.01)


# sections with gaps


@pytest.mark.parametrize("anisotropy", FACTORS)
@pytest.mark.parametrize("thickness", [0.05, 0.4, 0.9, 1.0])
def test_skip_integrates_the_middle_exactly(anisotropy: float, thickness: float) -> None:
    x = noise(60)
    centres = anisotropy * (np.arange(int(60 / anisotropy)) + 0.5) - 0.5
    expected = means(x, centres, thickness * anisotropy)
    np.testing.assert_allclose(applied(Skip(thickness=thickness), x, anisotropy), expected, atol=1e-5)


@pytest.mark.parametrize("anisotropy", FACTORS)
def test_sections_without_gaps_are_averages(anisotropy: float) -> None:
    x = noise(2, 60)
    np.testing.assert_allclose(applied(Skip(thickness=1), x, anisotropy), applied(Average(), x, anisotropy), atol=1e-6)


@pytest.mark.parametrize("anisotropy", [2.5, 5.0, 7.7])
def test_the_thinnest_sections_are_single_pixels(anisotropy: float) -> None:
    x = noise(60)
    centres = anisotropy * (np.arange(int(60 / anisotropy)) + 0.5) - 0.5
    result = applied(Skip(thickness=1e-4), x, anisotropy)
    # where a centre lies on the edge of two pixels, of both
    off_the_edge = np.abs(centres % 1 - 0.5) > 1e-3
    assert off_the_edge.sum() > 3
    np.testing.assert_allclose(result[off_the_edge], x[centres.round().astype(int)][off_the_edge], atol=1e-6)


# what was measured


@pytest.mark.parametrize("bins", [1, 2, 5])
@pytest.mark.parametrize("anisotropy", FACTORS)
def test_a_measured_box_is_the_average(bins: int, anisotropy: float) -> None:
    x = noise(60)
    box = Measured(profile=(3.0,) * bins, spacing=1 / bins)
    np.testing.assert_allclose(applied(box, x, anisotropy), applied(Average(), x, anisotropy), atol=1e-5)


@pytest.mark.parametrize("anisotropy", [1.3, 4.0])
def test_a_measured_gaussian_is_the_gaussian(anisotropy: float) -> None:
    z = np.arange(-40, 41) * 0.1
    sigma = 1.5 / math.sqrt(8 * math.log(2))
    measured = Measured(profile=tuple(np.exp(-0.5 * (z / sigma) ** 2)), spacing=0.1)
    x = noise(80)
    # four standard deviations and more were measured, three are taken of the formula
    np.testing.assert_allclose(applied(measured, x, anisotropy), applied(Gaussian(fwhm=1.5), x, anisotropy), atol=1e-2)


def test_a_point_is_seen_as_its_image_was_measured() -> None:
    """With its tail at higher z, where the point's image has it: not mirrored."""
    image = Measured(profile=(8.0, 4.0, 2.0, 1.0), spacing=1.0)
    centre, n = 11 / 15, 21  # of gravity, in bins
    point = torch.zeros(n)
    point[10] = 1
    seen = image.apply(point, 1.0, Sampling(0, 1, n)).numpy()
    # pixels and bins of one z step each: the shares of the bins that fall on each pixel
    edges = 10 - centre - 0.5 + np.arange(5)
    integral = np.concatenate([[0], np.cumsum([8, 4, 2, 1])]) / 15
    expected = np.diff(np.interp(np.arange(n + 1) - 0.5, edges, integral))
    np.testing.assert_allclose(seen, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(15,), (15, 7, 9)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_bead_gives_its_profile_along_z(shape: tuple[int, ...], offset: float) -> None:
    profile = np.array([0, 0, 0, 1, 2, 5, 9, 4, 1, 1, 0, 0, 0, 0, 0], float)
    lateral = np.outer([0, 0, 1, 3, 2, 0, 0], [0, 0, 0, 1, 2, 1, 0, 0, 0])
    psf = profile[:, None, None] * lateral if len(shape) == 3 else profile
    measured = Measured.of(psf + offset, z_spacing=100, z_step=400)
    np.testing.assert_allclose(measured.profile, profile[3:10] / profile.sum())
    assert measured.spacing == 0.25


def test_noise_around_a_bead_does_not_widen_it() -> None:
    z, y, x = np.mgrid[-20:21, -32:33, -32:33]
    bead = 200 * np.exp(-0.5 * ((z / 3) ** 2 + (y / 2) ** 2 + (x / 2) ** 2))
    noisy = 100 + bead + 2 * np.random.default_rng(0).normal(size=bead.shape)
    measured = Measured.of(noisy, z_spacing=1, z_step=8)
    at = np.arange(len(measured.profile)) - np.dot(measured.profile, np.arange(len(measured.profile)))
    assert math.sqrt(np.dot(measured.profile, at**2)) == pytest.approx(3, rel=0.2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_bead_of_any_type(dtype: type) -> None:
    psf = np.array([10, 10, 11, 13, 11, 10, 10], dtype)
    np.testing.assert_allclose(Measured.of(psf, 1, 1).profile, (0.2, 0.6, 0.2))


@pytest.mark.parametrize(
    ("psf", "spacing", "message"),
    [
        (np.ones((3, 4)), 1.0, r"not of shape \(3, 4\)"),
        (np.ones((2, 3, 4, 5)), 1.0, "must be an array"),
        (np.ones(1), 1.0, "must be an array"),
        (np.array([0, 1, np.nan]), 1.0, "finite"),
        (np.array([0, 1, np.inf]), 1.0, "finite"),
        (np.ones((5, 4, 3)), 1.0, "constant"),
        (np.array([0.0, 1, 0]), 0.0, "no z spacing"),
        (np.array([0.0, 1, 0]), -1.0, "no z spacing"),
        (np.array([0.0, 1, 0]), math.nan, "no z spacing"),
    ],
)
def test_what_is_no_bead_is_refused_in_one_sentence(psf, spacing: float, message: str) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        Measured.of(psf, spacing, 1.0)
    assert "\n" not in str(caught.value)
    if spacing != 1:
        with pytest.raises(VolumeError, match=message):
            Measured.of(psf, 1.0, spacing)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Gaussian, {"fwhm": 0}),
        (Gaussian, {"fwhm": 17}),
        (Gaussian, {}),
        (Skip, {"thickness": 0}),
        (Skip, {"thickness": 1.1}),
        (Measured, {"profile": (), "spacing": 1}),
        (Measured, {"profile": (0, 0), "spacing": 1}),
        (Measured, {"profile": (1, -1, 2), "spacing": 1}),
        (Measured, {"profile": (1, math.nan), "spacing": 1}),
        (Measured, {"profile": (1, math.inf), "spacing": 1}),
        (Measured, {"profile": (1, 2), "spacing": 0}),
        (Average, {"fwhm": 2}),
    ],
)
def test_degradations_that_make_no_sense(kind, options) -> None:
    with pytest.raises(ValidationError):
        kind(**options)


# all of them


@pytest.mark.parametrize("degradation", ALL, ids=repr)
@pytest.mark.parametrize("anisotropy", COARSE)
def test_an_object_is_seen_where_it_is(degradation: Degradation, anisotropy: float) -> None:
    """The centre of gravity of the weights is the coarse voxel's: a ramp stays a ramp."""
    margin = degradation.margin(anisotropy)
    n = 2 * margin + math.ceil(12 * anisotropy)
    ramp = torch.arange(n).float()
    positions = coarse_positions(n, anisotropy)
    centres = torch.from_numpy(positions.start + positions.step * np.arange(positions.count)).float()
    inside = (centres >= margin + anisotropy / 2) & (centres < n - margin - anisotropy / 2)
    assert inside.sum() >= 10
    result = degradation.apply(ramp, anisotropy)
    torch.testing.assert_close(result[inside], centres[inside], atol=0.1, rtol=0)


@pytest.mark.parametrize("degradation", ALL, ids=repr)
def test_what_is_constant_stays(degradation: Degradation) -> None:
    for anisotropy in FACTORS:
        result = degradation.apply(torch.full((2, 40), 3.5), anisotropy)
        torch.testing.assert_close(result, torch.full_like(result, 3.5))


@pytest.mark.parametrize("degradation", ALL, ids=repr)
@pytest.mark.parametrize("anisotropy", FACTORS)
def test_a_training_pair_shows_only_what_is_there(degradation: Degradation, anisotropy: float) -> None:
    n = degradation.needed(5, anisotropy) + 1
    sharp = torch.from_numpy(noise(2, n)).float()
    coarse, positions, covered = degradation.training_pair(sharp, anisotropy)
    assert coarse.shape[-1] >= 5
    assert positions.count == covered.stop - covered.start == int(coarse.shape[-1] * anisotropy + 1e-9)
    assert covered.start >= 0
    assert covered.stop <= n
    poison = torch.full((2, 200), 1e4)
    around = torch.cat([poison, sharp, -poison], -1)
    centres = Sampling(200 + covered.start + (anisotropy - 1) / 2, anisotropy, coarse.shape[-1])
    torch.testing.assert_close(degradation.apply(around, anisotropy, centres), coarse, atol=2e-2, rtol=0)


@pytest.mark.parametrize("degradation", ALL, ids=repr)
@pytest.mark.parametrize("anisotropy", COARSE)
def test_a_training_pair_is_aligned(degradation: Degradation, anisotropy: float) -> None:
    ramp = torch.arange(degradation.needed(8, anisotropy) + 2).float()
    coarse, positions, covered = degradation.training_pair(ramp[None], anisotropy)
    restored = resample(coarse, positions)[0]
    at = positions.start + positions.step * np.arange(positions.count)
    inside = torch.from_numpy((at >= 0) & (at <= coarse.shape[-1] - 1))  # beyond, there is nothing between
    assert inside.sum() >= 6 * anisotropy
    torch.testing.assert_close(restored[inside], ramp[covered][inside], atol=0.1, rtol=0)


@pytest.mark.parametrize("degradation", ALL, ids=repr)
@pytest.mark.parametrize("anisotropy", FACTORS)
@pytest.mark.parametrize("axial", [1, 6])
def test_needed_is_the_least(degradation: Degradation, anisotropy: float, axial: int) -> None:
    needed = degradation.needed(axial, anisotropy)
    coarse, _, _ = degradation.training_pair(torch.zeros(1, needed), anisotropy)
    assert coarse.shape[-1] == axial
    if axial == 1:
        with pytest.raises(ValueError, match="fewer than one voxel"):
            degradation.training_pair(torch.zeros(1, needed - 1), anisotropy)
    else:
        coarse, _, _ = degradation.training_pair(torch.zeros(1, needed - 1), anisotropy)
        assert coarse.shape[-1] == axial - 1


@pytest.mark.parametrize("degradation", ALL, ids=repr)
def test_a_card_tells_the_degradation(degradation: Degradation) -> None:
    card = Card(architecture=Architecture(), degradation=degradation)
    again = Card.model_validate_json(card.model_dump_json()).degradation
    assert type(again) is type(degradation)
    x = noise(50)
    np.testing.assert_array_equal(applied(again, x, 2.5), applied(degradation, x, 2.5))


@pytest.mark.parametrize(
    "wrong", ['{"kind": "magic"}', '{"thickness": 0.5}', '{"kind": "average", "fwhm": 2}', "{}", "null"]
)
def test_a_card_of_an_unknown_degradation_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="degradation"):
        Card.model_validate_json(f'{{"architecture": {{}}, "degradation": {wrong}}}')


def test_a_profile_read_again_is_the_same() -> None:
    """Otherwise settings that were stored would not be those of the training that they began."""
    random = np.random.default_rng(0)
    for n in range(1, 60):
        once = Measured(profile=tuple(random.random(n)), spacing=0.5)
        assert Measured.model_validate_json(once.model_dump_json()) == once
