from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_niiv.degradation import Average, Degradation, Gaussian, Skip
from napari_niiv.geometry import Sampling
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


def test_the_maps_of_a_side_view(small_model, texture) -> None:
    array = 50 + 200 * texture((6, 24, 24))
    reconstructor = Reconstructor(Volume(array, voxel_size=(4, 1, 1)), small_model())
    request = side_view("xz", trust=("disagreement", "misfit"))
    response = reconstructor.slice(request, "refined")
    xz = reconstructor.slice(side_view("xz"), "fast").image
    yz = 2 * response.image - xz  # the picture is the mean of both
    np.testing.assert_allclose(response.trust["disagreement"], np.abs(xz - yz), atol=1e-2)
    again = response.image.reshape(6, 4, 24).mean(1)
    np.testing.assert_allclose(response.trust["misfit"], (again - array[:, 7]).repeat(4, 0), atol=1e-2)
    assert set(reconstructor.slice(request, "fast").trust) == {"misfit"}
    assert not reconstructor.slice(request, "placeholder").trust
    projected = reconstructor.slice(replace(request, project=True), "refined")
    np.testing.assert_allclose(projected.trust["misfit"], 0, atol=1e-2)


@pytest.mark.parametrize("degradation", [Average(), Gaussian(fwhm=1.5)], ids=repr)
def test_a_window_says_what_the_whole_says(small_model, texture, degradation: Degradation) -> None:
    model = small_model()
    reconstructor = Reconstructor(Volume(texture((80, 9, 80)), voxel_size=(4, 1, 1)), model)
    reconstructor._degradation = degradation
    whole = SliceRequest(
        "xz", 4, Sampling.covering(80, 320), Sampling.covering(80, 80), trust=("misfit",), project=True
    )
    rows, columns = slice(130, 140), slice(33, 60)
    window = replace(whole, rows=whole.rows.part(130, 10), columns=whole.columns.part(33, 27))
    expected, other = reconstructor.slice(whole, "fast"), Reconstructor(reconstructor.volume, model)
    other._degradation = degradation
    response = other.slice(window, "fast")
    np.testing.assert_allclose(response.image, expected.image[rows, columns], atol=1e-4)
    np.testing.assert_allclose(response.trust["misfit"], expected.trust["misfit"][rows, columns], atol=1e-4)


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
