from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from napari_niiv.evaluation.baselines import interpolate_axial, interpolate_last


def positions(n: int, anisotropy: float) -> np.ndarray:
    """Centres of the fine pixels that n coarse ones cover, in coarse ones."""
    return (np.arange(int(n * anisotropy + 1e-9)) + 0.5) / anisotropy - 0.5


def keys(t: np.ndarray, a: float = -0.75) -> np.ndarray:
    t = np.abs(t)
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


@pytest.mark.parametrize(("method", "order"), [("nearest", 0), ("linear", 1)])
@pytest.mark.parametrize("anisotropy", [1.0, 3.0, 3.6, 10.88])  # no fine pixel is midway between two coarse ones
def test_against_scipy(texture, method: str, order: int, anisotropy: float) -> None:
    volume = texture((7, 5, 6))
    z = positions(7, anisotropy)
    grid = np.stack(np.meshgrid(z, np.arange(5), np.arange(6), indexing="ij"))
    expected = map_coordinates(volume, grid, order=order, mode="nearest")
    result = interpolate_axial(volume, anisotropy, method)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("anisotropy", [4.0, 2.7])
def test_bicubic_is_keys_kernel(texture, anisotropy: float) -> None:
    volume = texture((9, 3, 4))
    z = positions(9, anisotropy)
    taps = np.floor(z)[:, None] + np.arange(-1, 3)
    weights = keys(z[:, None] - taps)
    expected = np.einsum("nk,nkyx->nyx", weights, volume[taps.clip(0, 8).astype(int)])
    np.testing.assert_allclose(interpolate_axial(volume, anisotropy, "bicubic"), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["nearest", "linear", "bicubic"])
def test_along_the_last_axis_alone(texture, method: str) -> None:
    volume = texture((7, 5, 6))
    columns = torch.from_numpy(volume).permute(2, 1, 0).contiguous()  # six pictures, five rows, seven samples
    result = interpolate_last(columns, 3.6, method).permute(2, 1, 0)
    np.testing.assert_allclose(result, interpolate_axial(volume, 3.6, method), atol=1e-6)


@pytest.mark.parametrize("method", ["nearest", "linear", "bicubic"])
@pytest.mark.parametrize(("n", "anisotropy", "fine"), [(100, 1.15, 115), (10, 1.1, 11), (3, 4.1, 12), (7, 2, 14)])
def test_the_fine_pixels_that_the_coarse_cover(method: str, n: int, anisotropy: float, fine: int) -> None:
    assert interpolate_axial(np.zeros((n, 2, 3), np.float32), anisotropy, method).shape == (fine, 2, 3)


def test_an_unknown_method() -> None:
    with pytest.raises(KeyError):
        interpolate_axial(np.zeros((2, 3, 4), np.float32), 4, "magic")
