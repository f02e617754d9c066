from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate

from napari_niiv.training.data.rotation import rotated


def waves(*shape: int) -> torch.Tensor:
    z, y, x = (torch.arange(n).float() for n in shape)
    return torch.sin(y[:, None] / 5 + x / 7) + z[:, None, None]


@pytest.mark.parametrize("degrees", [17.0, 90.0, 200.0])
@pytest.mark.parametrize("shape", [(3, 40, 40), (2, 40, 56)])
def test_as_scipy_rotates(degrees: float, shape: tuple[int, int, int]) -> None:
    box = waves(*shape)
    result = rotated(box, math.radians(degrees)).numpy()
    expected = rotate(box.numpy(), -degrees, axes=(1, 2), reshape=False, order=3, mode="constant", cval=np.nan)
    inner = np.zeros(shape[1:], bool)
    inner[12:-12, 12:-12] = True
    assert not np.isnan(result[:, inner]).any()
    np.testing.assert_allclose(result[:, inner], expected[:, inner], atol=8e-3)


def test_what_lies_outside_is_a_hole_and_holes_stay() -> None:
    box = waves(2, 32, 32)
    box[1, 16, 16] = torch.nan
    result = rotated(box, math.pi / 4)
    assert result[:, 0, 0].isnan().all()
    assert not result[0, 8:24, 8:24].isnan().any()
    assert result[1, 15:18, 15:18].isnan().any()
