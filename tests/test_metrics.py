from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from napari_niiv.metrics import clipped_fourier_psnr, psnr


def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random((5, 64, 48))
    return truth + rng.normal(0, 0.05, truth.shape), truth


def test_psnr_is_that_of_scikit_image() -> None:
    prediction, truth = pair()
    assert psnr(prediction, truth) == pytest.approx(peak_signal_noise_ratio(truth, prediction, data_range=1.0))
    assert psnr(255 * prediction, 255 * truth, 255.0) == pytest.approx(psnr(prediction, truth))
    assert psnr(truth, truth) == float("inf")


def test_clipped_fourier_psnr_with_a_disc_over_everything_is_psnr() -> None:
    """Parseval: Σ|F|² = h·w·Σ|f|², so the whole spectrum gives 10·log10(h·w / Σ e²), PSNR plus nothing."""
    prediction, truth = pair()
    each = [psnr(p, t) for p, t in zip(prediction, truth, strict=True)]
    assert clipped_fourier_psnr(prediction, truth, radius=1000) == pytest.approx(np.mean(each))


def test_clipped_fourier_psnr_ignores_high_frequencies() -> None:
    _, truth = pair()
    x = np.arange(48)
    high = truth + 0.1 * np.cos(2 * np.pi * 24 * x / 48)
    low = truth + 0.1 * np.cos(2 * np.pi * 3 * x / 48)
    assert clipped_fourier_psnr(high, truth, radius=10) > 200
    # all of a low frequency is inside: amplitude 0.1 means a squared error of 0.005
    assert clipped_fourier_psnr(low, truth, radius=10) == pytest.approx(-10 * np.log10(0.005))
