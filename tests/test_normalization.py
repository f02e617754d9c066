from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from napari_niiv.errors import ConstantVolumeError, VolumeError
from napari_niiv.io.lazy_arrays import Rearranged
from napari_niiv.normalization import Normalization
from napari_niiv.volume import Volume


def test_it_is_numpys_percentiles_for_small_volumes() -> None:
    array = np.random.default_rng(0).gamma(2, 100, (20, 40, 50)).astype(np.float32)
    normalization = Normalization.of(Volume(array))
    low, high = np.percentile(array, (0.1, 99.9))
    assert (normalization.low, normalization.high) == (pytest.approx(low), pytest.approx(high))
    np.testing.assert_allclose(normalization.apply(array), (array - low) / (high - low), atol=1e-5)


def test_large_volumes_are_sampled() -> None:
    read = []

    def block(block_info=None):
        z = block_info[None]["chunk-location"][0]
        read.append(z)
        return np.full((1, 64, 64), z, np.float32)

    meta = np.zeros((0, 0, 0), np.float32)
    array = da.map_blocks(block, chunks=((1,) * 100, (64,), (64,)), dtype=np.float32, meta=meta)
    normalization = Normalization.of(Volume(array))
    assert len(read) <= 24
    assert (normalization.low, normalization.high) == (pytest.approx(0, abs=1), pytest.approx(99, abs=1))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", ">f4", "f8"])
def test_there_and_back(dtype: str) -> None:
    kind = np.dtype(dtype)
    top = min(np.iinfo(kind).max, 2**40) if kind.kind in "iu" else 1000
    low, high = (0.1 * top, 0.6 * top)
    values = np.array([[0.0, 0.25, 0.5, 1.0]], np.float32)
    back = Normalization(low, high).invert(values, kind)
    assert back.dtype == kind
    expected = low + values.astype(np.float64) * (high - low)
    tolerance = 0.51 if kind.kind in "iu" else 1e-3 * top
    np.testing.assert_allclose(back.astype(np.float64), expected, atol=tolerance, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", ">u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", ">f4", "f8"])
def test_on_a_device_it_is_the_same(dtype: str) -> None:
    kind = np.dtype(dtype)
    values = np.random.default_rng(0).random((5, 6, 7)) * (1 if kind.kind == "b" else 100)
    values = (values > 0.5 if kind.kind == "b" else values).astype(kind)[:, ::2]
    normalization = Normalization(3.25, 77.5)
    unit = normalization.on(torch.device("cpu"), values)
    assert unit.dtype == torch.float32
    np.testing.assert_allclose(unit.numpy(), normalization.apply(values), atol=1e-6)
    picture = 1.2 * torch.rand(9, 9, generator=torch.Generator().manual_seed(0)) - 0.1
    back = normalization.invert(picture, kind)
    np.testing.assert_array_equal(back, normalization.invert(picture.numpy(), kind))
    assert back.dtype == kind


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
def test_integers_are_clipped_to_their_range_not_wrapped(dtype: str) -> None:
    limits = np.iinfo(dtype)
    normalization = Normalization(float(limits.min), float(limits.max))
    back = normalization.invert(np.array([-0.5, 1.5], np.float32), dtype)
    assert back[0] == limits.min
    assert int(back[1]) == pytest.approx(limits.max, rel=1e-15)
    assert back[1] > 0


def test_a_mask_is_restored_as_a_mask() -> None:
    array = np.zeros((4, 20, 20), bool)
    array[1:3, 5:15, 5:15] = True
    normalization = Normalization.of(Volume(array))
    back = normalization.invert(normalization.apply(array), bool)
    assert back.dtype == bool
    np.testing.assert_array_equal(back, array)


def test_sparse_volumes_use_their_extremes() -> None:
    array = np.zeros((10, 100, 100), np.uint16)
    array[5, 50, 50] = 700
    normalization = Normalization.of(Volume(array))
    assert (normalization.low, normalization.high) == (0, 700)


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_volume_is_refused(value: int) -> None:
    with pytest.raises(VolumeError, match="is constant"):
        Normalization.of(Volume(np.full((3, 4, 5), value, np.uint8)))


# empty voxels


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_holes_do_not_count(dtype) -> None:
    array = np.random.default_rng(0).gamma(2, 100, (20, 40, 50)).astype(dtype)
    holes = np.random.default_rng(1).random(array.shape) < 0.3
    array[holes] = np.random.default_rng(2).choice([np.nan, np.inf, -np.inf], holes.sum())
    normalization = Normalization.of(Volume(array))
    low, high = np.percentile(array[~holes].astype(np.float64), (0.1, 99.9))
    assert (normalization.low, normalization.high) == (pytest.approx(low), pytest.approx(high))


def test_nothing_but_padding_is_refused() -> None:
    with pytest.raises(ConstantVolumeError, match="nothing but NaN"):
        Normalization.of(Volume(np.full((3, 4, 5), np.nan, np.float32)))


def test_one_value_among_holes_is_constant() -> None:
    array = np.full((3, 4, 5), np.nan, np.float32)
    array[1, 2] = 7
    with pytest.raises(VolumeError, match=r"constant.*is 7"):
        Normalization.of(Volume(array))


class _Sparse:
    """A terabyte that is background but for a region of texture; counts the voxels asked for."""

    shape, dtype = (2000, 20_000, 20_000), np.dtype(np.uint8)

    def __init__(self, region: tuple[int, int, int]) -> None:
        self.region, self.asked = region, 0

    def __getitem__(self, key: tuple[slice, slice, slice]) -> np.ndarray:
        z, y, x = (np.arange(*s.indices(n)) for s, n in zip(key, self.shape, strict=True))
        self.asked += len(z) * len(y) * len(x)
        inside = (z[:, None, None] < self.region[0]) & (y[:, None] < self.region[1]) & (x < self.region[2])
        texture = 100 + (7 * z[:, None, None] + 13 * y[:, None] + 29 * x) % 101
        return np.where(inside, texture, 0).astype(np.uint8)


def test_a_huge_volume_costs_no_more_and_its_empty_parts_do_not_count() -> None:
    whole, corner = _Sparse((2000, 20_000, 20_000)), _Sparse((1000, 5_000, 5_000))
    for array in (whole, corner):
        normalization = Normalization.of(Volume(array))
        # pieces at the corner's border hold some background
        assert (normalization.low, normalization.high) == (
            pytest.approx(50, abs=51),
            pytest.approx(200, abs=1),
        )
    assert whole.asked < 5_000_000
    assert corner.asked < 70_000_000


def test_a_huge_volume_of_nothing_is_refused() -> None:
    with pytest.raises(VolumeError, match="constant"):
        Normalization.of(Volume(_Sparse((0, 0, 0))))


@pytest.mark.parametrize("levels", [1, 2])
def test_a_sparse_store_is_looked_at_where_it_has_chunks(tmp_path, levels: int) -> None:
    """One chunk of 512, which is not where large volumes are looked at."""
    group = zarr.open_group(tmp_path / "sparse.zarr", mode="w")
    voxels = np.random.default_rng(0).integers(50, 200, (64, 64, 64), dtype=np.uint8)
    for level in range(levels):
        edge = 512 >> 4 * level  # the second is 16 times coarser
        array = group.create_array(str(level), shape=(edge,) * 3, chunks=(min(64, edge),) * 3, dtype="uint8")
        if level == 0:
            array[320:384, 64:128, 448:512] = voxels
        else:
            array[20:24, 4:8, 28:32] = 120
    levels_there = tuple(group[str(level)] for level in range(1, levels))
    volume = Volume(group["0"], pyramid=levels_there, voxel_size=(4, 1, 1))
    found = Normalization.of(volume)
    assert (found.low, found.high) == (pytest.approx(0, abs=51), pytest.approx(199, abs=1))
    aside = replace(volume, array=Rearranged(volume.array, (2, 0, 1)), pyramid=())
    assert Normalization.of(aside).high == pytest.approx(199, abs=1)


def test_what_else_is_sparse_is_looked_at_in_the_box() -> None:
    class Sparse:
        shape, dtype, ndim = (700, 700, 700), np.dtype(np.uint8), 3

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            grid = np.ogrid[tuple(slice(*part.indices(700)) for part in key)]
            inside = (grid[0] == 333) & (grid[1] >= 601) & (grid[2] < 40)
            return np.where(inside, (grid[0] + 7 * grid[1] + 3 * grid[2]) % 101, 0).astype(np.uint8)

    volume = Volume(Sparse())
    with pytest.raises(ConstantVolumeError):
        Normalization.of(volume)
    found = Normalization.of(volume, ((330, 336), (600, 700), (0, 50)))
    assert 90 < found.high <= 100


def test_a_sparse_small_volume_is_looked_through() -> None:
    array = np.zeros((100, 40, 40), np.uint8)
    array[77, 5:30, 5:30] = np.random.default_rng(0).integers(1, 200, (25, 25))
    assert Normalization.of(Volume(array)).high > 150


@pytest.mark.parametrize("top", [float(np.finfo(np.float32).max), 1e-38])
@pytest.mark.parametrize("downsample", [1, 2])
def test_intensities_near_the_limits_of_their_type(top: float, downsample: int) -> None:
    """As others, times a number: nothing becomes infinite or NaN on the way."""
    array = np.random.default_rng(0).uniform(-1, 1, (5, 32, 32))
    plain, extreme = (Volume((array * factor).astype(np.float32)) for factor in (1.0, top))
    whole = (slice(None),) * 3
    results = []
    for volume in (plain, extreme):
        normalization = Normalization.of(volume)
        values, _ = normalization.voxels(torch.device("cpu"), volume.array, whole, downsample)
        back = normalization.invert(values, np.float32)
        assert back.dtype == np.float32
        results.append((values.numpy(), normalization.apply(volume.array), back))
    np.testing.assert_allclose(results[1][0], results[0][0], atol=1e-5)
    np.testing.assert_allclose(results[1][1], results[0][1], atol=1e-5)
    np.testing.assert_allclose(results[1][2].astype(np.float64) / top, results[0][2], atol=1e-5)


def test_what_is_restored_beyond_a_type_ends_there() -> None:
    limit = np.finfo(np.float32).max
    normalization = Normalization(-float(limit), float(limit))
    np.testing.assert_array_equal(normalization.invert(np.float32([-0.5, 1.5]), np.float32), [-limit, limit])
