"""A model against interpolation on a volume whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_niiv.degradation import Average
from napari_niiv.evaluation.baselines import interpolate_axial
from napari_niiv.metrics import clipped_fourier_psnr, psnr
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.planes import Planes
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

Score = tuple[float, float]
BASELINES = ("nearest", "linear", "bicubic")


def degraded(truth: NDArray[Any], anisotropy: float) -> NDArray[np.float32]:
    """Average-pool a volume (z, y, x) along z."""
    columns = torch.from_numpy(truth.astype(np.float32)).permute(1, 2, 0)
    return np.ascontiguousarray(Average().apply(columns, anisotropy).permute(2, 0, 1).numpy())


def compare(
    truth: NDArray[Any],
    model: Niiv,
    anisotropy: float,
    planes: Sequence[Planes] = ("xz", "both"),
    data_range: float = 255.0,
) -> dict[str, Score]:
    """Degrade a known volume, restore it, and score every method.

    Parameters
    ----------
    truth : array, shape (z, y, x)
        Isotropic.
    model : Niiv
    anisotropy : float
    planes : sequence of {"both", "xz", "yz"}
    data_range : float
        The intensity that counts as 1.

    Returns
    -------
    dict
        For each baseline and each of `planes`: (PSNR, clipped-Fourier PSNR with radius 25 on xy-sized slices seen from
        the side), in dB.
    """
    coarse = degraded(truth, anisotropy)
    size = int(coarse.shape[0] * anisotropy + 1e-9)
    target = truth[:size].astype(np.float64) / data_range
    volume = Volume(coarse, voxel_size=(anisotropy, 1.0, 1.0), name="degraded")
    results: dict[str, NDArray[Any]] = {m: interpolate_axial(coarse, anisotropy, m) for m in BASELINES}
    for choice in planes:
        restored = reconstruct(volume, model, planes=choice).array.compute(scheduler="synchronous")
        results[choice] = restored[:size]
    return {name: _score(values / data_range, target) for name, values in results.items()}


def compare_cubes(
    truth: NDArray[Any], model: Niiv, anisotropy: float, edge: int = 128, data_range: float = 255.0
) -> dict[str, Score]:
    """Mean scores of `compare` over the cubes that a volume is cut into; what is left over is not used.

    Parameters
    ----------
    truth : array, shape (z, y, x)
    model : Niiv
    anisotropy : float
    edge : int
        Voxels along each axis of a cube.
    data_range : float

    Returns
    -------
    dict
        As `compare`.
    """
    counts = [n // edge for n in truth.shape]
    corners = [tuple(edge * i for i in index) for index in np.ndindex(*counts)]
    scores = [
        compare(truth[z : z + edge, y : y + edge, x : x + edge], model, anisotropy, data_range=data_range)
        for z, y, x in corners
    ]
    means = {name: np.mean([s[name] for s in scores], axis=0) for name in scores[0]}
    return {name: (float(mean[0]), float(mean[1])) for name, mean in means.items()}


def _score(values: NDArray[Any], target: NDArray[np.float64]) -> Score:
    clipped = np.clip(values, 0, 1)
    clipped_fourier = clipped_fourier_psnr(clipped.transpose(1, 0, 2), target.transpose(1, 0, 2))
    return psnr(clipped, target), clipped_fourier
