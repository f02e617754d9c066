from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from napari_niiv.evaluation.baselines import interpolate_axial


@pytest.mark.parametrize(("method", "order"), [("nearest", 0), ("linear", 1)])
@pytest.mark.parametrize("size", [7, 21, 26])
def test_against_scipy(texture, method: str, order: int, size: int) -> None:
    volume = texture((7, 5, 6))
    z = (np.arange(size) + 0.5) * 7 / size - 0.5
    grid = np.stack(np.meshgrid(z, np.arange(5), np.arange(6), indexing="ij"))
    expected = map_coordinates(volume, grid, order=order, mode="nearest")
    result = interpolate_axial(volume, size, method)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_bicubic_is_keys_kernel(texture) -> None:
    volume = texture((9, 3, 4))
    result = interpolate_axial(volume, 36, "bicubic")

    def keys(t: np.ndarray, a: float = -0.75) -> np.ndarray:
        t = np.abs(t)
        near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0))

    z = (np.arange(36) + 0.5) / 4 - 0.5
    taps = np.floor(z)[:, None] + np.arange(-1, 3)
    weights = keys(z[:, None] - taps)
    expected = np.einsum("nk,nkyx->nyx", weights, volume[taps.clip(0, 8).astype(int)])
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_an_unknown_method() -> None:
    with pytest.raises(KeyError):
        interpolate_axial(np.zeros((2, 3, 4), np.float32), 4, "magic")
