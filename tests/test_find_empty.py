"""What is taken for padding, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_niiv.errors import ConstantVolumeError
from napari_niiv.intensities import intensities_of
from napari_niiv.noise import noise_of
from napari_niiv.volume import Volume

SHAPE = (10, 120, 140)


@pytest.fixture(scope="module")
def tissue(texture: Callable[..., np.ndarray]) -> np.ndarray:
    """Structure and noise, 0 … 1."""
    noise = np.random.default_rng(1).normal(size=SHAPE)
    return (0.1 + 0.8 * texture(SHAPE) + 0.02 * noise).clip(0, 1).astype(np.float32)


def border(width: int = 8) -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[:, width:-width, width:-width] = True
    return ~inside


def corners() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return np.stack([(y + x < 40 + 3 * z) | (y + x > 230 - z) for z in range(SHAPE[0])])


def ends() -> np.ndarray:
    blank = np.zeros(SHAPE, bool)
    blank[:2] = blank[-1] = True
    return blank


PADDING = {"border": border(), "thin border": border(3), "corners": corners(), "ends": ends()}
# type, scale and offset of the tissue, value of the padding
KINDS = [
    ("uint8", 150, 50, 0),
    ("uint8", 150, 50, 255),
    ("uint8", 150, 50, 117),  # the mean
    ("int16", 150, 50, -2000),
    ("int16", 150, 50, -32768),
    ("uint16", 4000, 20000, 0),
    ("uint16", 400, 50, 65535),
    ("float32", 1, 0, -1),
    ("float32", 150, 50, 1e30),
    ("float32", 150, 50, np.nan),
    ("float64", 150, 50, -np.inf),
]


def volume(tissue: np.ndarray, dtype: str, scale: float, offset: float) -> np.ndarray:
    return (scale * tissue + offset).astype(dtype)


@pytest.mark.parametrize("place", PADDING)
@pytest.mark.parametrize(("dtype", "scale", "offset", "value"), KINDS)
def test_padding_is_found_and_has_no_part_in_the_range(tissue, place, dtype, scale, offset, value) -> None:
    array, where = volume(tissue, dtype, scale, offset), PADDING[place]
    clean = intensities_of(Volume(array))
    assert clean.empty.share == 0
    array[where] = value
    found = intensities_of(Volume(array))
    assert found.empty.values == ((pytest.approx(value),) if np.isfinite(value) else ())
    assert found.empty.share == pytest.approx(where.mean(), abs=0.01)
    width = clean.high - clean.low
    assert (found.low, found.high) == (
        pytest.approx(clean.low, abs=0.1 * width),
        pytest.approx(clean.high, abs=0.1 * width),
    )


def test_the_noise_level_is_that_without_padding(tissue) -> None:
    array = volume(tissue, "uint8", 150, 50)
    clean = noise_of(Volume(array))
    array[PADDING["corners"]] = 0
    assert noise_of(Volume(array), intensities_of(Volume(array)).empty) == pytest.approx(clean, rel=0.05)


def clipped(tissue: np.ndarray) -> np.ndarray:
    """Background subtracted: exactly 0 over large parts, with gradual edges."""
    return np.maximum(300 * tissue - 180, 0).astype(np.uint8)


def saturated(tissue: np.ndarray) -> np.ndarray:
    return np.minimum(500 * tissue, 255).astype(np.uint8)


def dark(tissue: np.ndarray) -> np.ndarray:
    """Tissue of which a part is 0, here and there."""
    return np.maximum(20 * tissue - 5 + np.random.default_rng(2).normal(size=SHAPE), 0).astype(np.uint8)


def labels(tissue: np.ndarray) -> np.ndarray:
    return np.digitize(tissue, [0.35, 0.5, 0.65]).astype(np.uint16)


def masks(tissue: np.ndarray) -> np.ndarray:
    return np.where(border(20), 0, 255).astype(np.uint8)


def beads(tissue: np.ndarray) -> np.ndarray:
    """A few saturated spots far above all else."""
    array = (100 + 100 * tissue).astype(np.float64)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for centre in ((30, 40), (90, 100)):
        spot = 2e5 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 20)
        array[3:7] += spot
    return array.clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("make", [clipped, saturated, dark, labels, masks, beads])
def test_what_is_no_padding(tissue, make) -> None:
    found = intensities_of(Volume(make(tissue)))
    assert found.empty.values == ()
    assert found.empty.share == 0


def test_single_dark_voxels_are_tissue_beside_padding_of_the_same_value(tissue) -> None:
    array = dark(tissue)
    array[border(10)] = 0
    inside = array[:, 10:-10, 10:-10]
    found = intensities_of(Volume(array, empty=(0.0,)))
    assert found.empty.regions == (0.0,)
    mask = found.empty.mask(array)
    assert mask[border(10)].all()
    assert not mask[:, 15:-15, 15:-15][array[:, 15:-15, 15:-15] != 0].any()
    assert (mask[:, 10:-10, 10:-10] & (inside == 0)).sum() < 0.1 * (inside == 0).sum()


def test_what_the_user_says_counts(tissue) -> None:
    array = volume(tissue, "uint8", 150, 50)
    array[border()] = 0
    assert intensities_of(Volume(array, empty=())).low == 0
    assert intensities_of(Volume(array, empty=())).empty.share == 0
    both = intensities_of(Volume(array, empty=(0.0, 60.0)))
    assert both.empty.values == (0.0, 60.0)


@pytest.mark.parametrize("value", [0, 7])
def test_nothing_but_padding(value: int) -> None:
    with pytest.raises(ConstantVolumeError, match=f"is empty: it holds nothing but {value} "):
        intensities_of(Volume(np.full(SHAPE, value, np.uint8), empty=(float(value),)))


class _Padded:
    """A large volume, 300 x 2000 x 2000, with a border of 0 and blank sections at its end."""

    shape, dtype = (300, 2000, 2000), np.dtype(np.uint8)

    def __init__(self) -> None:
        self.asked = 0

    def __getitem__(self, key: tuple[slice, slice, slice]) -> np.ndarray:
        z, y, x = (np.arange(*s.indices(n)) for s, n in zip(key, self.shape, strict=True))
        self.asked += len(z) * len(y) * len(x)
        noise = np.random.default_rng(int(z[0])).integers(100, 180, (len(z), len(y), len(x)))
        inside = (z[:, None, None] < 280) & (y[:, None] > 150) & (y[:, None] < 1800) & (x > 90) & (x < 1950)
        return np.where(inside, noise, 0).astype(np.uint8)


def test_of_a_large_volume_the_borders_are_looked_at_too() -> None:
    array = _Padded()
    found = intensities_of(Volume(array))
    assert found.empty.values == (0.0,)
    assert (found.low, found.high) == (pytest.approx(100, abs=2), pytest.approx(180, abs=2))
    assert found.empty.share == pytest.approx(1 - 280 / 300 * 1649 * 1859 / 2000**2, abs=0.08)
    assert array.asked < 90 * 256 * 256
