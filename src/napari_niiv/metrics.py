"""Image quality against a known truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def psnr(prediction: NDArray[np.floating], truth: NDArray[np.floating], data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over the whole array."""
    error = float(np.mean((np.asarray(prediction, float) - np.asarray(truth, float)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def clipped_fourier_psnr(prediction: NDArray[np.floating], truth: NDArray[np.floating], radius: float = 25) -> float:
    """PSNR of the spatial frequencies within `radius` of zero, mean over slices, for intensities in 0 … 1.

    The measure of the niiv paper: noise, which no method can predict, fills the high frequencies, so only those
    inside a disc of the centred 2-D spectrum are compared.

    Parameters
    ----------
    prediction, truth : array, shape (slices, height, width)
    radius : float
        In frequency samples of the slice's discrete Fourier transform.

    Returns
    -------
    float
        dB: ``10·log10((h·w)² / Σ|P - T|²)`` over the disc, averaged over slices.
    """
    height, width = truth.shape[-2:]
    spectrum = np.fft.fftshift(np.fft.fft2(np.asarray(prediction, float) - truth), axes=(-2, -1))
    v, u = np.ogrid[:height, :width]
    disc = (v - height // 2) ** 2 + (u - width // 2) ** 2 <= radius**2
    error = (np.abs(spectrum) ** 2 * disc).sum((-2, -1))
    return float(np.mean(20 * np.log10(height * width) - 10 * np.log10(np.maximum(error, 1e-30))))


def texture_ratio(volume: NDArray[np.floating]) -> float:
    """How much finer the texture of a volume is across z than along z: 1 where it is alike in all directions.

    Above 1 its side views look brushed along z.

    Parameters
    ----------
    volume : array, shape (z, y, x)
        Isotropic.

    Returns
    -------
    float
        Mean absolute difference of neighbours along x and y, over that along z.
    """
    values = np.asarray(volume, float)
    along_z, along_y, along_x = (float(np.abs(np.diff(values, axis=axis)).mean()) for axis in range(3))
    return (along_y + along_x) / (2 * along_z) if along_z else float("inf")
