"""How the maps of trust predict the error, where the truth is known: python benchmarks/doubt.py FACTOR VOLUME.tif …

The isotropic volume (z, y, x) is averaged along z, and restored; side views spread over it are compared with the truth.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from napari_niiv import load_model
from napari_niiv.geometry import Sampling
from napari_niiv.reconstruction.planes import AXES
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest, Trust
from napari_niiv.volume import Volume

EDGES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, np.inf)
PLANES = 8  # of each orientation
KINDS: tuple[Trust, ...] = ("disagreement", "misfit")


def triangular(picture: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Smoothed as the maps are."""
    weights = 1 - np.abs(np.arange(1 - reach, reach)) / reach
    for axis in (0, 1):
        picture = convolve1d(picture, weights / weights.sum(), axis=axis, mode="nearest")
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("factor", type=int)
    parser.add_argument("volumes", nargs="+")
    parser.add_argument("--checkpoint", default="em")
    parser.add_argument("--first", type=int, default=0, help="z slice to begin with")
    parser.add_argument("--noise", type=float, default=0, help="added to the averages, as a share of the contrast")
    options = parser.parse_args()
    model, factor = load_model(options.checkpoint), options.factor
    for path in options.volumes:
        stored = tifffile.imread(path)[options.first :]
        truth = stored[: len(stored) // factor * factor].astype(np.float64)
        measured = truth.reshape(-1, factor, *truth.shape[1:]).mean(1)
        noise = options.noise * np.subtract(*np.percentile(measured, (99.9, 0.1)))
        measured += np.random.default_rng(0).normal(0, noise, measured.shape)
        limits = np.iinfo(stored.dtype)
        measured = np.rint(measured).clip(limits.min, limits.max).astype(stored.dtype)
        reconstructor = Reconstructor(Volume(measured, voxel_size=(factor, 1, 1)), model)
        normalization = reconstructor.normalization()
        contrast = normalization.high - normalization.low
        squares: list[NDArray[np.float64]] = []
        maps: dict[Trust, list[NDArray[np.float64]]] = {kind: [] for kind in KINDS}
        for plane in ("xz", "yz"):
            across, _, lateral = AXES[plane]
            for index in np.linspace(15, truth.shape[across] - 15, PLANES).astype(int):
                width = truth.shape[lateral]
                rows = Sampling.covering(len(measured), len(truth))
                request = SliceRequest(plane, int(index), rows, Sampling.covering(width, width), trust=KINDS)
                response = reconstructor.slice(request)
                error = (response.image - np.take(truth, index, axis=across)) / contrast
                squares.append(triangular(error**2, factor).ravel())
                for kind in KINDS:
                    maps[kind].append(np.abs(response.trust[kind]).ravel() / contrast)
        square = np.concatenate(squares)
        print(f"{path}, {factor}x, {options.checkpoint}: rms error {100 * square.mean() ** 0.5:.1f} % of the contrast")
        for kind in KINDS:
            values = np.concatenate(maps[kind])
            for low, high in itertools.pairwise(EDGES):
                inside = (values >= low) & (values < high)
                if inside.mean() > 1e-4:
                    error, wrong = square[inside].mean() ** 0.5, np.mean(square[inside] > 0.1**2)
                    print(
                        f"  {kind} {100 * low:.0f} to {100 * high:.0f} %: {100 * inside.mean():.2f} % of the pixels, "
                        f"rms error {100 * error:.1f} %, above 10 % in {100 * wrong:.0f} % of them"
                    )


if __name__ == "__main__":
    main()
