from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_niiv.degradation import average
from napari_niiv.training.pseudo import project, pseudo_isotropic


@pytest.mark.parametrize("anisotropy", [2.0, 5.0])
def test_what_was_measured_stays_measured(small_model, texture, anisotropy: float) -> None:
    measured = torch.from_numpy(texture((6, 17, 15)))
    result = pseudo_isotropic(small_model(), measured, anisotropy)
    assert result.shape == (6 * anisotropy, 17, 15)
    pooled = F.avg_pool1d(result.permute(1, 2, 0), int(anisotropy)).permute(2, 0, 1)
    torch.testing.assert_close(pooled, measured, atol=1e-4, rtol=0)
    assert result.std(0).mean() > 0.01


@pytest.mark.parametrize("anisotropy", [1.3, 2.5, 3.7])
def test_fractional_factors_come_nearer_to_what_was_measured(small_model, texture, anisotropy: float) -> None:
    measured = torch.from_numpy(texture((10, 9, 8)))
    restored = torch.from_numpy(texture((round(10 * anisotropy), 9, 8), seed=1))
    projected = project(restored, measured, anisotropy)
    assert projected.shape == restored.shape

    def distance(volume: torch.Tensor) -> float:
        coarse = average(volume.permute(1, 2, 0), anisotropy).permute(2, 0, 1)
        return float((coarse - measured[: len(coarse)]).abs().mean())

    assert distance(projected) < 0.5 * distance(restored)
    assert pseudo_isotropic(small_model(), measured, anisotropy).shape == restored.shape
