from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import block_reduce

from napari_niiv.evaluation.quality import compare, degraded
from napari_niiv.metrics import psnr


def test_degraded_is_the_mean_of_whole_voxels() -> None:
    truth = np.random.default_rng(0).integers(0, 255, (19, 6, 7), np.uint8)
    expected = block_reduce(truth[:16].astype(float), (4, 1, 1), np.mean)
    result = degraded(truth, 4)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert result.flags.c_contiguous


@pytest.mark.parametrize("anisotropy", [4.0, 3.5])
def test_a_model_without_a_residual_scores_as_linear_interpolation(linear_model, texture, anisotropy: float) -> None:
    truth = (255 * texture((28, 30, 31))).astype(np.uint8)
    scores = compare(truth, linear_model, anisotropy, planes=("xz", "yz", "both"))
    assert set(scores) == {"nearest", "linear", "bicubic", "xz", "yz", "both"}
    for plane in ("xz", "yz", "both"):
        assert scores[plane] == pytest.approx(scores["linear"], abs=0.01)
    assert scores["nearest"][0] < scores["linear"][0]
    assert all(np.isfinite(score).all() for score in scores.values())


def test_scores_are_those_of_the_metrics(linear_model, texture) -> None:
    truth = (255 * texture((12, 20, 20))).astype(np.uint8)
    nearest = np.repeat(degraded(truth, 4), 4, axis=0)
    assert compare(truth, linear_model, 4, planes=())["nearest"][0] == pytest.approx(
        psnr(nearest, truth, 255.0), abs=1e-3
    )
