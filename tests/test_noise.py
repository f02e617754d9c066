"""How much noise a volume has, told from itself."""

from __future__ import annotations

import math

import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import convolve

from napari_niiv.noise import noise_of
from napari_niiv.volume import Volume

SHAPE = (9, 200, 170)


@pytest.fixture(scope="module")
def smooth(texture) -> np.ndarray:
    return texture(SHAPE, size=12.0)


def noisy(smooth: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    return smooth + sigma * np.random.default_rng(seed).normal(size=smooth.shape)


@pytest.mark.parametrize("sigma", [0.003, 0.02, 0.1])
def test_the_noise_of_a_smooth_volume(smooth, sigma: float) -> None:
    assert noise_of(Volume(noisy(smooth, sigma))) == pytest.approx(sigma, rel=0.05)


def test_it_is_the_median_of_the_kernels_response(smooth) -> None:
    array = noisy(smooth, 0.02)[:1, :120, :100]
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    response = convolve(array[0], kernel)[1:-1, 1:-1]
    assert noise_of(Volume(array)) == pytest.approx(np.median(np.abs(response)) / (6 * 0.6745))


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "u8", "f2", ">f4"])
def test_it_is_in_the_intensities_of_the_volume(smooth, dtype: str) -> None:
    array = (40 + 150 * noisy(smooth, 0.03)).astype(dtype)
    assert noise_of(Volume(array)) == pytest.approx(4.5, rel=0.07)


def test_wide_integers_keep_their_digits(smooth) -> None:
    array = (2**50 + np.rint(100 * noisy(smooth, 0.03))).astype(np.int64)
    assert noise_of(Volume(array)) == pytest.approx(3, rel=0.07)


@pytest.mark.parametrize("blank", [0.0, 1.0, math.nan, math.inf])
def test_padding_and_saturation_do_not_count(smooth, blank: float) -> None:
    array = noisy(smooth, 0.02)
    _, y, x = np.indices(SHAPE, sparse=True)
    array[np.broadcast_to(y + x < 180, SHAPE)] = blank  # about half, along a slope
    array[:2] = blank
    assert noise_of(Volume(array)) == pytest.approx(0.02, rel=0.06)


def test_few_edges_do_not_count(smooth) -> None:
    array = noisy(smooth, 0.02)
    array[:, ::20] += 1
    array[:, :, ::25] -= 1
    assert noise_of(Volume(array)) == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize("shape", [(3, 1, 1), (5, 2, 40), (4, 3, 3)])
def test_what_is_too_small_or_constant_has_none(shape) -> None:
    assert noise_of(Volume(np.full(shape, 7, np.uint8))) == 0
    assert math.isfinite(noise_of(Volume(np.random.default_rng(0).normal(size=shape))))


def test_a_mask_has_none() -> None:
    array = np.zeros((4, 90, 90), bool)
    array[:, 20:60, 30:70] = True
    assert noise_of(Volume(array)) == 0


class Terabyte:
    """Noise, but for a blank half; counts the bytes that are asked for."""

    shape, dtype = (10_000, 10_000, 10_000), np.dtype(np.uint8)

    def __init__(self, filled: int) -> None:
        self.filled, self.asked = filled, 0

    def __getitem__(self, key) -> np.ndarray:
        z, y, x = (range(*s.indices(n)) for s, n in zip(key, self.shape, strict=True))
        shape = (len(z), len(y), len(x))
        self.asked += math.prod(shape)
        values = np.random.default_rng([z[0], y[0], x[0]]).normal(100, 8, shape)
        return np.where(np.array(x) < self.filled, values, 0).astype(np.uint8)


@pytest.mark.parametrize(("filled", "most"), [(10_000, 32), (5_000, 100), (0, 256)])
def test_a_terabyte_costs_no_more(filled: int, most: int) -> None:
    array = Terabyte(filled)
    assert noise_of(Volume(array)) == (pytest.approx(8, rel=0.05) if filled else 0)
    assert array.asked <= most * 128**2
    assert noise_of(Volume(Terabyte(filled))) == noise_of(Volume(Terabyte(filled)))


def test_of_a_lazy_volume_only_some_chunks_are_computed() -> None:
    computed = []

    def block(block_info=None):
        place = tuple(block_info[None]["chunk-location"])
        computed.append(place)
        return np.random.default_rng(place).normal(0, 2, (1, 128, 128)).astype(np.float32)

    meta = np.zeros((0, 0, 0), np.float32)
    array = da.map_blocks(block, chunks=((1,) * 100, (128,) * 8, (128,) * 8), dtype=np.float32, meta=meta)
    assert noise_of(Volume(array)) == pytest.approx(2, rel=0.05)
    assert len(computed) == len(set(computed)) == 32
