"""A model against interpolation on a volume whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_niiv.degradation import Average
from napari_niiv.evaluation.baselines import interpolate_axial
from napari_niiv.metrics import clipped_fourier_psnr, psnr, texture_ratio
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.denoise import AUTO, Denoise
from napari_niiv.reconstruction.planes import Planes
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

BASELINES = ("nearest", "linear", "bicubic")
# of the planes of a coarse voxel, those whose mean is recorded in the split protocol; the others judge
RECORDED = (0, 3, 4, 7)
_SPLIT = 8
_JUDGES = tuple(plane for plane in range(_SPLIT) if plane not in RECORDED)


class Score(NamedTuple):
    """How good a restored volume is.

    Attributes
    ----------
    psnr : float
        dB.
    clipped_fourier : float
        Clipped-Fourier PSNR with radius 25 on xy-sized slices seen from the side, in dB; NaN in the split protocol,
        whose planes do not lie side by side.
    texture : float
        Texture ratio; above 1 where it looks brushed along z.
    """

    psnr: float
    clipped_fourier: float
    texture: float


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
    denoise: Denoise = AUTO,
) -> dict[str, Score]:
    """Degrade a known volume, restore it, and score every method: the niiv paper's protocol.

    The noise of the truth is in what is given, too: to keep it counts as quality.

    Parameters
    ----------
    truth : array, shape (z, y, x)
        Isotropic.
    model : Niiv
    anisotropy : float
    planes : sequence of {"both", "xz", "yz"}
    data_range : float
        The intensity that counts as 1.
    denoise : float or "auto"
        Noise level that the model is told, as `reconstruct` takes it.

    Returns
    -------
    dict
        For each baseline and each of `planes`.

    Raises
    ------
    ValueError
        If the coarse slices never end where a plane of the truth does.
    """
    coarse = degraded(truth, anisotropy)
    coarse = coarse[: _whole(len(coarse), anisotropy)]
    size = round(len(coarse) * anisotropy)
    target = truth[:size].astype(np.float64) / data_range
    scores = {}
    for name, values in _restored(coarse, model, anisotropy, planes, denoise).items():
        clipped = np.clip(values[:size] / data_range, 0, 1)
        clipped_fourier = clipped_fourier_psnr(clipped.transpose(1, 0, 2), target.transpose(1, 0, 2))
        scores[name] = Score(psnr(clipped, target), clipped_fourier, texture_ratio(clipped))
    return scores


def _whole(slices: int, anisotropy: float) -> int:
    """As many of the slices as span a whole number of planes: else those restored would lie between those of the truth.

    Raises
    ------
    ValueError
        If no number of them does.
    """
    for count in range(slices, 0, -1):
        span = count * anisotropy
        if math.isclose(span, round(span), abs_tol=1e-6):
            return count
    raise ValueError(f"{slices} slices of a {anisotropy:g} times coarser step never end where a plane does")


def compare_split(
    truth: NDArray[Any],
    model: Niiv,
    planes: Sequence[Planes] = ("xz", "both"),
    data_range: float = 255.0,
    denoise: Denoise = AUTO,
) -> dict[str, Score]:
    """Restore from the mean of four of every eight planes, and be judged by the other four.

    The noise of what is given and of what judges is independent: to keep it costs quality.

    Parameters
    ----------
    truth : array, shape (z, y, x)
        Isotropic.
    model : Niiv
    planes, data_range, denoise
        As in `compare`.

    Returns
    -------
    dict
        For each baseline and each of `planes`.
    """
    grouped = truth[: len(truth) // _SPLIT * _SPLIT].reshape(-1, _SPLIT, *truth.shape[1:])
    coarse = grouped[:, RECORDED].mean(1, dtype=np.float32)
    target = grouped[:, _JUDGES].astype(np.float64) / data_range
    scores = {}
    for name, values in _restored(coarse, model, float(_SPLIT), planes, denoise).items():
        clipped = np.clip(values / data_range, 0, 1)
        judged = clipped.reshape(grouped.shape)[:, _JUDGES]
        scores[name] = Score(psnr(judged, target), float("nan"), texture_ratio(clipped))
    return scores


def over_cubes(
    truth: NDArray[Any], protocol: Callable[[NDArray[Any]], dict[str, Score]], edge: int = 128
) -> dict[str, Score]:
    """Mean scores over the cubes that a volume is cut into; what is left over is not used.

    Parameters
    ----------
    truth : array, shape (z, y, x)
    protocol : callable
        Scores one cube, such as `compare` with a model.
    edge : int
        Voxels along each axis of a cube.

    Returns
    -------
    dict
        As the protocol's.
    """
    counts = [n // edge for n in truth.shape]
    corners = [tuple(edge * i for i in index) for index in np.ndindex(*counts)]
    scores = [protocol(truth[z : z + edge, y : y + edge, x : x + edge]) for z, y, x in corners]
    return {name: Score(*(float(v) for v in np.mean([s[name] for s in scores], axis=0))) for name in scores[0]}


def _restored(
    coarse: NDArray[np.float32], model: Niiv, anisotropy: float, planes: Sequence[Planes], denoise: Denoise
) -> dict[str, NDArray[Any]]:
    """A coarse volume made isotropic by every method."""
    volume = Volume(coarse, voxel_size=(anisotropy, 1.0, 1.0), name="degraded")
    results: dict[str, NDArray[Any]] = {m: interpolate_axial(coarse, anisotropy, m) for m in BASELINES}
    for choice in planes:
        restored = reconstruct(volume, model, planes=choice, denoise=denoise)
        results[choice] = restored.array.compute(scheduler="synchronous")
    return results
