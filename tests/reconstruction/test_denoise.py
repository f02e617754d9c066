"""The noise level that a model is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_niiv.errors import ReconstructionError
from napari_niiv.reconstruction.single_slice import reconstruct_slice
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume


@pytest.mark.parametrize("noise", [0.0, 0.06])
@pytest.mark.parametrize("level", [-0.01, math.nan, math.inf, 0.061])
def test_levels_that_make_no_sense_are_refused(small_model, texture, noise: float, level: float) -> None:
    volume, model = Volume(texture((5, 20, 21)), voxel_size=(4.0, 1.0, 1.0)), small_model(noise=noise)
    expected = "makes no sense" if not 0 <= level < math.inf else "up to 0.06" if noise else "not trained with noise"
    for restore in (lambda: reconstruct(volume, model, denoise=level), lambda: slice_of(volume, model, level)):
        with pytest.raises(ReconstructionError, match=expected):
            restore()


def slice_of(volume: Volume, model, level: float):
    return reconstruct_slice(volume, model, "xz", 9, denoise=level)


def test_a_slice_and_a_volume_are_told_the_same(small_model, texture) -> None:
    volume, model = Volume(texture((5, 20, 21)), voxel_size=(4.0, 1.0, 1.0)), small_model(noise=0.06)
    plain, told = (reconstruct(volume, model, denoise=level).array.compute()[:, 9] for level in (0.0, 0.06))
    assert np.abs(plain - told).max() > 1e-3
    np.testing.assert_allclose(slice_of(volume, model, 0.06), told, atol=1e-4)
    np.testing.assert_allclose(slice_of(volume, model, 0.0), plain, atol=1e-4)
