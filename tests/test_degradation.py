from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_niiv.degradation import average, restored_positions


def test_whole_factors_are_average_pooling_and_drop_the_rest() -> None:
    x = torch.randn(2, 3, 22, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(average(x, 4), F.avg_pool1d(x, 4))


@pytest.mark.parametrize("anisotropy", [1.0, 1.3, 2.5, 3.7, 10.87])
def test_fractional_factors_integrate_exactly(anisotropy: float) -> None:
    x = np.random.default_rng(0).normal(size=50)
    count = int(50 / anisotropy)
    integral = np.concatenate([[0], np.cumsum(x)])
    edges = np.interp(anisotropy * np.arange(count + 1), np.arange(51), integral)
    result = average(torch.from_numpy(x).float(), anisotropy).numpy()
    np.testing.assert_allclose(result, np.diff(edges) / anisotropy, atol=1e-5)


@pytest.mark.parametrize(
    ("anisotropy", "coarse", "fine"), [(4, 5, 20), (2.5, 3, 7), (1.3, 10, 13), (10.87, 2, 21)]
)
def test_restored_positions_are_the_fine_pixels(anisotropy: float, coarse: int, fine: int) -> None:
    positions = restored_positions(coarse, anisotropy)
    assert positions.count == fine
    # a ramp's averages, read at those positions, give the ramp back: both count from the same edge
    for pixel in (0, fine - 1):
        where = positions.start + positions.step * pixel
        assert (where + 0.5) * anisotropy == pytest.approx(pixel + 0.5)


def test_an_axis_shorter_than_a_voxel_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than one voxel"):
        average(torch.zeros(7), 8)
