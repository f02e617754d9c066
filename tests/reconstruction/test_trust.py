from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from napari_niiv.degradation import Average, Degradation, Gaussian, Skip
from napari_niiv.geometry import Sampling
from napari_niiv.reconstruction import doubt
from napari_niiv.reconstruction.trust import misfit, project
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume


@pytest.mark.parametrize("degradation", [Average(), Gaussian(fwhm=1.2), Skip(thickness=0.5)], ids=repr)
@pytest.mark.parametrize("anisotropy", [1.3, 2.5, 3.0, 3.7])
def test_projected_it_comes_nearer_to_what_was_measured(texture, anisotropy: float, degradation: Degradation) -> None:
    measured = torch.from_numpy(texture((9, 8, 10)))
    restored = torch.from_numpy(texture((9, 8, round(10 * anisotropy)), seed=1))
    projected = project(restored, measured, degradation)
    assert projected.shape == restored.shape

    def distance(volume: torch.Tensor) -> float:
        return float(misfit(volume, measured, degradation).abs().mean())

    assert distance(projected) < 0.5 * distance(restored)


def test_of_averages_nothing_of_the_misfit_is_left(texture) -> None:
    measured = torch.from_numpy(texture((9, 8, 10)))
    restored = torch.from_numpy(texture((9, 8, 40), seed=1))
    means = restored.unflatten(-1, (10, 4)).mean(-1)
    torch.testing.assert_close(misfit(restored, measured, Average()), means - measured)
    projected = project(restored, measured, Average())
    torch.testing.assert_close(projected.unflatten(-1, (10, 4)).mean(-1), measured)


def side_view(plane: str, depth: int = 6, width: int = 24, **more) -> SliceRequest:
    """A whole side view with four rows per slice."""
    return SliceRequest(plane, 7, Sampling.covering(depth, 4 * depth), Sampling.covering(width, width), **more)


@pytest.mark.parametrize("plane", ["xz", "yz"])
@pytest.mark.parametrize("quality", ["fast", "refined"])
def test_a_projected_picture_has_the_averages_that_were_measured(
    small_model, texture, plane: str, quality: str
) -> None:
    array = texture((6, 24, 24))
    reconstructor = Reconstructor(Volume(array, voxel_size=(4, 1, 1)), small_model())
    measured = array[:, 7] if plane == "xz" else array[:, :, 7]
    free = reconstructor.slice(side_view(plane), quality).image
    projected = reconstructor.slice(side_view(plane, project=True), quality).image
    assert np.abs(free.reshape(6, 4, 24).mean(1) - measured).max() > 0.05
    np.testing.assert_allclose(projected.reshape(6, 4, 24).mean(1), measured, atol=1e-5)


def triangle(reach: float) -> np.ndarray:
    offsets = np.arange(-np.ceil(reach), np.ceil(reach) + 1)
    weights = np.maximum(1 - np.abs(offsets) / reach, 0)
    return weights / weights.sum()


def smoothed(plane: np.ndarray, along_z: float, across: float) -> np.ndarray:
    """By brute force, in float64, replicated beyond the ends."""
    wide = plane.astype(np.float64)
    for axis, reach in ((0, along_z), (1, across)):
        wide = convolve1d(wide, triangle(reach), axis=axis, mode="nearest")
    return wide


def test_the_maps_of_a_side_view(small_model, texture) -> None:
    array = 50 + 200 * texture((6, 24, 24))
    reconstructor = Reconstructor(Volume(array, voxel_size=(4, 1, 1)), small_model())
    request = side_view("xz", trust=("disagreement", "misfit"))
    response = reconstructor.slice(request, "refined")
    xz = reconstructor.slice(side_view("xz"), "fast").image
    yz = 2 * response.image - xz  # the picture is the mean of both
    np.testing.assert_allclose(response.trust["disagreement"], smoothed(np.abs(xz - yz), 4, 4), atol=1e-2)
    misfit = smoothed(response.image.reshape(6, 4, 24).mean(1) - array[:, 7], 1, 4)
    heights = Sampling.covering(6, 24)
    places = heights.start + heights.step * np.arange(24)
    expected = np.stack([np.interp(places, np.arange(6), column) for column in misfit.T], axis=1)
    np.testing.assert_allclose(response.trust["misfit"], expected, atol=1e-2)
    assert set(reconstructor.slice(request, "fast").trust) == {"misfit"}
    assert not reconstructor.slice(request, "placeholder").trust
    projected = reconstructor.slice(replace(request, project=True), "refined")
    np.testing.assert_allclose(projected.trust["misfit"], 0, atol=1e-2)


def test_what_repeats_with_z_steps_and_cells_leaves_no_lattice(small_model, texture, monkeypatch) -> None:
    model, calls = small_model(lateral=4), itertools.count()

    def lattice(self, latent, centre, positions: Sampling, *rest) -> torch.Tensor:
        """The first orientation's pattern is the same in each voxel of z and in each cell; the second one's is zero."""
        z = positions.start + positions.step * torch.arange(positions.count)
        bars = 0.1 * (1 + torch.cos(2 * torch.pi * z)) * (torch.arange(centre.shape[1]) % 4 == 0)[:, None]
        return bars[None].float() * (next(calls) % 2 == 0)

    monkeypatch.setattr(type(model), "decode", lattice)
    request = replace(side_view("xz", 12, 32, trust=("disagreement",)), rows=Sampling.covering(12, 90))
    response = Reconstructor(Volume(texture((12, 24, 32)), voxel_size=(4, 1, 1)), model).slice(request)
    inside = response.trust["disagreement"][8:-8, 4:-4]
    assert inside.mean() > 0.02
    np.testing.assert_allclose(inside, inside.mean(), rtol=1e-4)


@pytest.mark.parametrize("plane", ["xz", "xy"])
def test_orientations_that_see_the_same_agree_everywhere(small_model, texture, plane: str) -> None:
    layers = np.broadcast_to(texture((12, 9, 9))[:, :1, :1], (12, 24, 24))
    reconstructor = Reconstructor(Volume(layers, voxel_size=(4, 1, 1)), small_model())
    request = side_view("xz", 12, trust=("disagreement",))
    if plane == "xy":
        request = replace(request, plane="xy", index=7.3, rows=Sampling.covering(24, 24))
    found = reconstructor.slice(request).doubt
    assert found.shares["disagreement"] == 0
    assert found.agrees("disagreement")


def test_how_much_of_a_picture_is_doubtful(small_model, texture, monkeypatch) -> None:
    monkeypatch.setattr(doubt, "DOUBTFUL", 0.5)  # random weights are far off
    array = 50 + 200 * texture((6, 24, 24))
    array[:, :, :5] = 0
    volume = Volume(array, voxel_size=(4, 1, 1), empty=(0,))
    reconstructor = Reconstructor(volume, small_model())
    response = reconstructor.slice(side_view("xz", trust=("disagreement", "misfit")))
    normalization = reconstructor.normalization()
    assert response.doubt.level == pytest.approx(0.5 * (normalization.high - normalization.low))
    for kind, values in response.trust.items():
        expected = float(np.mean(np.abs(values[:, 5:]) > response.doubt.level))
        assert response.doubt.shares[kind] == pytest.approx(expected)
        assert 0.1 < expected < 0.9
        assert not response.doubt.agrees(kind)
    assert reconstructor.slice(side_view("xz")).doubt is None


@pytest.mark.parametrize("degradation", [Average(), Gaussian(fwhm=1.5)], ids=repr)
@pytest.mark.parametrize("kind", ["disagreement", "misfit"])
def test_a_window_says_what_the_whole_says(small_model, texture, degradation: Degradation, kind: str) -> None:
    model = small_model()
    reconstructor = Reconstructor(Volume(texture((80, 9, 80)), voxel_size=(4.7, 1, 1)), model)
    reconstructor._degradation = degradation
    whole = SliceRequest("xz", 4, Sampling.covering(80, 320), Sampling.covering(80, 80), trust=(kind,), project=True)
    rows, columns = slice(130, 140), slice(33, 60)
    window = replace(whole, rows=whole.rows.part(130, 10), columns=whole.columns.part(33, 27))
    expected, other = reconstructor.slice(whole), Reconstructor(reconstructor.volume, model)
    other._degradation = degradation
    response = other.slice(window)
    np.testing.assert_allclose(response.image, expected.image[rows, columns], atol=1e-4)
    np.testing.assert_allclose(response.trust[kind], expected.trust[kind][rows, columns], atol=1e-4)


@pytest.mark.parametrize("block", [None, (3, 7)])
@pytest.mark.parametrize("anisotropy", [4.0, 3.3])
def test_projected_the_screen_is_the_file(
    small_model, texture, block: tuple[int, int] | None, anisotropy: float
) -> None:
    volume, model = Volume(texture((9, 20, 24)), voxel_size=(anisotropy, 1, 1)), small_model()
    isotropic = np.asarray(reconstruct(volume, model, project=True, block=block).array)
    rows = Sampling.covering(9, isotropic.shape[0])
    request = SliceRequest("xz", 7, rows, Sampling.covering(24, 24), project=True)
    screen = Reconstructor(volume, model).slice(request).image
    np.testing.assert_allclose(isotropic[:, 7], screen, atol=1e-4)
    if anisotropy == 4:
        means = isotropic.reshape(9, 4, 20, 24).mean(1)
        np.testing.assert_allclose(means, volume.array, atol=1e-5)
