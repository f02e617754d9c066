"""Coarser levels: means over 2 voxels along each axis, written with the full resolution or after it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import zarr

from napari_niiv.export import ExportConfig, ExportProgress, export
from napari_niiv.export import plan as plan_module
from napari_niiv.export.plan import Plan
from napari_niiv.io.ome.arrays import halved
from napari_niiv.volume import Volume
from tests.export.conftest import make


def means(values: np.ndarray) -> np.ndarray:
    """By another way: padded with the border, averaged in double precision."""
    steps = [1 if n == 1 else 2 for n in values.shape]
    padded = np.pad(values, [(0, n % s) for n, s in zip(values.shape, steps, strict=True)], mode="edge")
    split = [m for n, s in zip(padded.shape, steps, strict=True) for m in (n // s, s)]
    mean = padded.astype(float).reshape(split).mean((1, 3, 5))
    if values.dtype.kind == "b":
        return mean >= 0.5
    return (np.rint(mean) if values.dtype.kind in "iu" else mean).astype(values.dtype)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 4, 4), (1, 7, 8), (3, 1, 1), (1, 1, 1)])
def test_means(dtype: str, shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = random.integers(limits.min, limits.max, shape, kind, endpoint=True)
        values.flat[0] = limits.max
    else:
        values = random.normal(size=shape).astype(kind) if kind.kind == "f" else random.random(shape) > 0.5
    result = halved(values, tuple(1 if n == 1 else 2 for n in shape))
    assert result.dtype == kind
    np.testing.assert_allclose(result.astype(float), means(values).astype(float), rtol=2e-3 if dtype == "f2" else 1e-6)


def test_halves_are_rounded_to_even() -> None:
    ones = np.array([[[0, 1]], [[2, 3]]], np.uint8)  # means 0.5 and 2.5
    np.testing.assert_array_equal(halved(ones, (1, 1, 2)).ravel(), [0, 2])


@pytest.fixture
def coarse(monkeypatch) -> None:
    """Levels down to 8 voxels."""
    monkeypatch.setattr(plan_module, "COARSEST", 8)


@pytest.mark.parametrize(
    ("settings", "later"),
    [
        ({"chunk": 16, "shard": 1 << 14, "block": (8, 16)}, range(1, 4)),  # shards of 32 x 16 x 32
        ({"chunk": 16, "shard": 1 << 15, "block": (8, 32)}, range(2, 4)),
        ({"chunk": 16, "shard": 1 << 20, "block": (16, 64)}, range(4, 4)),  # one shard holds all
    ],
)
def test_each_level_is_the_mean_of_the_next_finer(
    small_model, texture, tmp_path, coarse: None, settings, later
) -> None:
    volume, config = make(texture((2, 13, 37, 45)), axes="czyx"), ExportConfig(**settings)
    plan = Plan.of(volume, config, "cpu")
    assert plan.later == later
    events = list(export(volume, small_model(), tmp_path / "out.zarr", config))
    levels = [zarr.open_array(tmp_path / "out.zarr" / str(n), mode="r")[...] for n in range(len(plan.levels))]
    for fine, rough in itertools.pairwise(levels):
        for channel in range(2):
            np.testing.assert_array_equal(rough[channel], means(fine[channel]))
    total = sum(level.size for level in levels[plan.later.start :])
    steps = [e for e in events if isinstance(e, ExportProgress) and e.stage == "pyramid"]
    assert bool(steps) == bool(total)
    if steps:
        assert steps[-1].done == steps[-1].total == total


class Virtual:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "shards"),
    [
        ((5, 20, 30), 1),  # one block
        ((32, 384, 384), 9),  # all of one block
        ((3, 32, 384, 384), 18),  # of up to two blocks
        ((200, 800, 800), 28),  # large
    ],
)
@pytest.mark.parametrize("tiff", [False, True])
def test_small_volumes_have_several_shards_too(shape, shards: int, tiff: bool) -> None:
    volume = Volume(Virtual(shape), axes="tzyx"[-len(shape) :], voxel_size=(8, 1, 1))
    plan = Plan.of(volume, ExportConfig(), "cpu", tiff=tiff)
    large = Plan.of(volume, ExportConfig(shard=plan_module.SHARD), "cpu", tiff=tiff)
    assert len(list(plan.units(0))) == shards
    level = plan.levels[0]
    assert all(s % e == 0 or s >= n for n, s, e in zip(level.shape, level.shard, plan.edges, strict=True))
    assert (plan == large) is (shape in ((5, 20, 30), (200, 800, 800)))


@pytest.mark.parametrize("shape", [(100, 1000, 1200), (1, 5000, 70), (500, 64, 3000)])
@pytest.mark.parametrize("chunk", [16, 32, 64, 128])
def test_levels_that_are_written_at_once_have_the_same_shards(shape, chunk: int) -> None:
    plan = Plan.of(Volume(Virtual(shape), voxel_size=(4, 1, 1)), ExportConfig(chunk=chunk), "cpu")
    assert plan.levels[0].at_once
    assert plan.later.start >= 2  # seven eighths of the coarser voxels
    units = list(plan.units(0))
    for level in range(1, plan.later.start):
        units = [plan.coarser(unit) for unit in units]
        assert units == list(plan.units(level))
    for level in plan.levels:
        assert all(s % chunk == 0 for s in level.shard)
