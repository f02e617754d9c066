from __future__ import annotations

import numpy as np
import pytest

from napari_niiv.geometry import Sampling
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceRequest
from napari_niiv.reconstruction.views.resolve import resolve
from napari_niiv.volume import Level, Volume


def levels(*factors: tuple[int, int]) -> list[Level]:
    """Levels of a volume of 512 x 4096 x 4096 voxels."""
    return [Level(np.empty((512 // z, 4096 // d, 4096 // d), np.uint8), z, d) for z, d in factors]


LATERAL = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 16), (4, 32))  # until isotropic, then all axes
EVEN = ((1, 1), (2, 2), (4, 4), (8, 8))


@pytest.mark.parametrize(
    ("factors", "pitch", "level", "downsample"),
    [
        (((1, 1),), 5.0, 0, 4),
        (LATERAL, 0.3, 0, 1),
        (LATERAL, 1.99, 0, 1),
        (LATERAL, 2.0, 1, 1),
        (LATERAL, 9.0, 3, 1),
        (LATERAL, 16.0, 4, 1),
        (LATERAL, 100.0, 5, 2),
        (((1, 1), (1, 3)), 4.0, 0, 4),  # 4 is no multiple of 3
        (EVEN, 4.0, 0, 4),  # averaging 4 x 4 pixels is cheap, and keeps z
        (EVEN, 8.0, 3, 1),
    ],
)
def test_levels(factors, pitch: float, level: int, downsample: int) -> None:
    anisotropy = 8.0
    request = SliceRequest("xz", 100, Sampling(0, pitch / anisotropy, 20), Sampling(0, pitch, 20))
    view = resolve(request, (512, 4096, 4096), anisotropy, levels(*factors))
    assert (view.level, view.downsample) == (level, downsample)
    z, d = view.coarsening
    assert d == factors[level][1] * downsample
    assert view.anisotropy == anisotropy * z / d
    # positions stay where they are in the world
    assert (view.columns.start + 0.5) * d == pytest.approx(0.5)
    assert (view.rows.start + 0.5) * z == pytest.approx(0.5)
    assert view.index == 100 // d


def test_a_pyramid_is_what_averaging_gives(small_model, texture) -> None:
    array = texture((9, 64, 64))
    coarse = array.reshape(9, 32, 2, 32, 2).mean((2, 4))
    plain = Volume(array, voxel_size=(8, 1, 1))
    pyramid = Volume(array, voxel_size=(8, 1, 1), pyramid=(coarse,))
    request = SliceRequest("xz", 21, Sampling.covering(9, 36), Sampling.covering(64, 32))
    for quality in ("placeholder", "fast", "refined"):
        results = [Reconstructor(v, small_model()).slice(request, quality).image for v in (plain, pyramid)]
        np.testing.assert_allclose(results[1], results[0], atol=1e-4)


def test_levels_that_fit_no_whole_voxels_are_left_out() -> None:
    array = np.zeros((10, 64, 64))
    volume = Volume(array, pyramid=(np.zeros((10, 32, 64)), np.zeros((10, 16, 16)), np.zeros((5, 8, 8))))
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 4), (2, 8)]


def test_leading_axes_of_a_pyramid() -> None:
    array = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    volume = Volume(array, axes="tzyx", pyramid=(array[..., ::2, ::2],)).at(1)
    np.testing.assert_array_equal(volume.levels()[1].array, array[1, :, ::2, ::2])
