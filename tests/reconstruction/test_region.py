"""A region step by step: its values are those of the whole volume, and nothing beyond it is touched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_niiv.errors import ReconstructionError, VolumeError
from napari_niiv.interrupt import Interrupted, interrupt_if
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.region import (
    RegionBlock,
    RegionPlaceholder,
    RegionPlan,
    reconstruct_region,
)
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume

SHAPE = (9, 27, 21)  # odd on purpose
BOX = (slice(2, 6), slice(5, 20), slice(3, 21))
PLENTY = 10**9


def anisotropic(array, anisotropy: float, **options) -> Volume:
    return Volume(array, voxel_size=(anisotropy * 0.5, 0.5, 0.5), unit="micrometer", **options)


def assembled(events) -> tuple[RegionPlan, np.ndarray, np.ndarray, list[RegionBlock]]:
    """The plan, the interpolation, what is there in the end, and the blocks."""
    plan, placeholder, *blocks = events
    assert isinstance(plan, RegionPlan)
    assert isinstance(placeholder, RegionPlaceholder)
    result = placeholder.array.copy()
    for block in blocks:
        result[block.place] = block.array
    return plan, placeholder.array, result, blocks


def part_of_whole(volume: Volume, model, plan: RegionPlan) -> Volume:
    """The same region of the reconstruction of all of it."""
    return reconstruct(volume, model, output_scale=plan.output_scale), tuple(
        slice(f, f + n) for f, n in zip(plan.first, plan.shape, strict=True)
    )


@pytest.mark.parametrize("box", [None, BOX], ids=["all", "box"])
@pytest.mark.parametrize(("anisotropy", "scale"), [(3.7, 1.0), (3.7, 0.5), (8.0, 2.3), (3.7, 0.25), (1.0, 1)])
def test_the_values_are_those_of_the_whole_volume(small_model, texture, box, anisotropy, scale) -> None:
    model = small_model(context=2)
    volume = anisotropic(texture(SHAPE), anisotropy, origin=(3.0, -7.0, 11.0))
    plan, _, result, blocks = assembled(
        reconstruct_region(volume, model, box, budget=PLENTY, output_scale=scale, block=(3, 8))
    )
    whole, place = part_of_whole(volume, model, plan)
    assert plan.output_scale == scale
    expected = whole.array.compute(scheduler="synchronous")[place]
    np.testing.assert_allclose(result, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(plan.voxel_size, whole.voxel_size)
    begin = np.array(whole.origin) + np.array(plan.first) * whole.voxel_size
    np.testing.assert_allclose(plan.origin, begin, atol=1e-9)
    assert len(blocks) == plan.blocks
    assert (plan.blocks > 1) == (anisotropy / max(1, 1 / scale) > 1.25)


def test_every_sample_is_restored_once(small_model, texture) -> None:
    volume = anisotropic(texture(SHAPE), 3.7)
    plan, _, _, blocks = assembled(reconstruct_region(volume, small_model(), BOX, budget=PLENTY, block=(2, 7)))
    times = np.zeros(plan.shape, int)
    for block in blocks:
        assert block.array.shape == times[block.place].shape
        times[block.place] += 1
    assert (times == 1).all()
    assert [block.done for block in blocks] == list(range(1, plan.blocks + 1))


def test_the_region_covers_its_box_and_no_voxel_more(small_model, texture) -> None:
    volume = anisotropic(texture(SHAPE), 3.7, origin=(1.0, 2.0, 3.0))
    for budget in (PLENTY, 4000, 300):
        plan = next(reconstruct_region(volume, small_model(), BOX, budget=budget))
        for axis in range(3):
            size, voxel = plan.voxel_size[axis], volume.voxel_size[axis]
            first, last = plan.origin[axis] - size / 2, plan.origin[axis] + (plan.shape[axis] - 0.5) * size
            lo, hi = (volume.origin[axis] + voxel * (n - 0.5) for n in (BOX[axis].start, BOX[axis].stop))
            assert lo - size < first < lo + 1e-6
            assert hi - 1e-6 < last < hi + size


@pytest.mark.parametrize("budget", [1, 7, 500, 5_000, 20_000, 40_000])
@pytest.mark.parametrize("box", [None, BOX])
def test_the_budget_is_kept_and_used(small_model, texture, budget, box) -> None:
    model, volume = small_model(), anisotropic(texture(SHAPE), 3.7)
    full = next(reconstruct_region(volume, model, box, budget=PLENTY))
    plan, _, result, _ = assembled(reconstruct_region(volume, model, box, budget=budget))
    assert result.shape == plan.shape
    assert math.prod(plan.shape) <= budget
    if math.prod(full.shape) <= budget:
        assert plan == full
        return
    # nothing larger fits: a hair more, and there are too many
    more = plan.output_scale * 1.0001
    above = next(reconstruct_region(volume, model, box, budget=PLENTY, output_scale=more))
    assert math.prod(above.shape) > budget
    if budget >= 5_000:
        np.testing.assert_allclose(plan.voxel_size, plan.voxel_size[-1], rtol=0.1)


def test_no_axis_is_longer_than_a_texture(small_model) -> None:
    volume = anisotropic(np.zeros((4, 3, 100), np.uint8), 4.0)
    plan = next(reconstruct_region(volume, small_model(), budget=PLENTY, longest=50))
    assert max(plan.shape) == 50


def test_it_begins_at_the_centre(small_model, texture) -> None:
    volume = anisotropic(texture((9, 40, 40)), 4.0)
    box = (slice(1, 9), slice(4, 36), slice(4, 36))
    plan, _, _, blocks = assembled(reconstruct_region(volume, small_model(), box, budget=PLENTY, block=(3, 8)))
    centres = [[(s.start + s.stop) / 2 for s in block.place] for block in blocks]
    distances = [math.dist(c, [n / 2 for n in plan.shape]) for c in centres]
    assert distances == sorted(distances)
    assert distances[0] < 8 < distances[-1]


def test_the_placeholder_is_linear_interpolation(small_model, linear_model, texture) -> None:
    volume = anisotropic(texture(SHAPE), 3.7)
    _, placeholder, result, _ = assembled(reconstruct_region(volume, small_model(), BOX, budget=PLENTY))
    _, same, restored, _ = assembled(reconstruct_region(volume, linear_model, BOX, budget=PLENTY))
    np.testing.assert_array_equal(placeholder, same)
    np.testing.assert_allclose(placeholder, restored, atol=1e-5)
    assert np.abs(placeholder - result).max() > 0.01


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("power", [0.5, 1, 6], ids=["bright", "even", "dark"])
def test_its_middle_tells_dense_from_sparse(linear_model, power, dtype) -> None:
    """The median of u^p, where u is even in 0 … 1, is 0.5^p; half of the volume is padding, which does not count."""
    tissue = np.random.default_rng(0).random((12, 60, 60)) ** power
    array = (30 + 200 * tissue).astype(dtype)
    array[:, :30] = 0
    volume = anisotropic(array, 1.001, empty=(0.0,))
    _, placeholder, *_ = reconstruct_region(volume, linear_model, budget=PLENTY)
    assert placeholder.middle == pytest.approx(0.5**power, abs=0.03)


def test_a_ramp_lies_where_the_plan_says(linear_model) -> None:
    places = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in (9, 30, 26)), indexing="ij")
    size, origin, slopes = np.array([2.0, 0.5, 0.5]), np.array([3.0, -7.0, 11.0]), (0.7, -1.9, 1.3)
    array = sum(a * (o + s * p) for a, o, s, p in zip(slopes, origin, size, places, strict=True))
    volume = Volume(array, voxel_size=tuple(size), origin=tuple(origin))
    box = (slice(2, 7), slice(6, 24), slice(5, 20))
    plan, placeholder, result, _ = assembled(
        reconstruct_region(volume, linear_model, box, budget=PLENTY, output_scale=1.5, block=(2, 7))
    )
    world = [o + s * np.arange(n) for o, s, n in zip(plan.origin, plan.voxel_size, plan.shape, strict=True)]
    expected = sum(a * w for a, w in zip(slopes, np.meshgrid(*world, indexing="ij"), strict=True))
    np.testing.assert_allclose(placeholder, expected, atol=1e-4)
    np.testing.assert_allclose(result, expected, atol=1e-4)
    for sampling, w, o, s in zip(plan.samplings, world, origin, size, strict=True):
        positions = sampling.start + sampling.step * np.arange(sampling.count)
        np.testing.assert_allclose(o + s * positions, w, atol=1e-9)


class Watched:
    """An array that remembers which voxels were asked for; made up as it is read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.voxels = shape, np.dtype(np.float32), 0
        self.lo, self.hi = np.array(shape), np.zeros(3, int)

    def __getitem__(self, key):
        ranges = [range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)]
        self.lo = np.minimum(self.lo, [r[0] for r in ranges])
        self.hi = np.maximum(self.hi, [r[-1] + 1 for r in ranges])
        self.voxels += math.prod(map(len, ranges))
        return sum(np.sin(1.1 * a) for a in np.ogrid[tuple(slice(r[0], r[-1] + 1) for r in ranges)]).astype(np.float32)


@pytest.mark.parametrize("budget", [PLENTY, 30_000])
def test_only_the_box_and_its_halo_are_read(small_model, monkeypatch, budget) -> None:
    """Of a volume that would fill a disk."""
    monkeypatch.setattr(Normalization, "of", classmethod(lambda cls, volume: cls(-3.0, 3.0)))
    model, array = small_model(), Watched((20_000, 60_000, 70_000))
    box = (slice(9_000, 9_012), slice(30_000, 30_050), slice(50_000, 50_040))
    plan, _, result, blocks = assembled(
        reconstruct_region(anisotropic(array, 4.0), model, box, budget=budget, block=(8, 32))
    )
    assert result.shape == plan.shape
    assert plan.blocks == len(blocks) > 0
    coarsest = math.ceil(max(s.step for s in plan.samplings))
    reach = (max(model.halo, model.context) + 3) * coarsest
    assert (array.lo >= [p.start - reach for p in box]).all()
    assert (array.hi <= [p.stop + reach for p in box]).all()
    assert (array.lo < [p.start for p in box]).any()  # a halo there is
    assert array.voxels < 40 * 12 * 50 * 40


def test_the_plan_comes_before_anything_is_read(small_model) -> None:
    array = Watched((200, 300, 300))
    next(reconstruct_region(anisotropic(array, 4.0), small_model(), budget=1000))
    assert not array.voxels


def test_far_out_it_is_interpolated_in_small_reads(small_model, monkeypatch) -> None:
    monkeypatch.setattr(Normalization, "of", classmethod(lambda cls, volume: cls(-3.0, 3.0)))
    monkeypatch.setattr("napari_niiv.reconstruction.region._RAW_EDGE", 64)
    largest = []

    class Measured(Watched):
        def __getitem__(self, key):
            values = super().__getitem__(key)
            largest.append(values.size)
            return values

    array = Measured((40, 400, 400))
    plan, _, result, blocks = assembled(reconstruct_region(anisotropic(array, 4.0), small_model(), budget=4000))
    assert plan.output_scale < 0.125
    assert not blocks
    assert max(largest) < 0.2 * 40 * 400 * 400
    whole, place = part_of_whole(anisotropic(array, 4.0), small_model(), plan)
    np.testing.assert_allclose(result, whole.array.compute(scheduler="synchronous")[place], atol=1e-4)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_it_stops_when_it_is_no_longer_wanted(small_model, texture, after) -> None:
    unwanted = False
    interrupt = interrupt_if(lambda: unwanted)
    events = reconstruct_region(
        anisotropic(texture(SHAPE), 3.7), small_model(), budget=PLENTY, block=(3, 8), interrupt=interrupt
    )
    for _ in range(after + 1):
        next(events)
    unwanted = True
    with pytest.raises(Interrupted):
        next(events)


def test_it_stops_inside_a_block(small_model, texture, monkeypatch) -> None:
    """Between two layers of the network, so that closing a view does not wait for seconds."""
    model, asked = small_model(blocks=3), 0

    def unwanted() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    encoded = []
    encode = model.encode

    def counted(*args):
        encoded.append(1)
        return encode(*args)

    monkeypatch.setattr(model, "encode", counted)
    events = reconstruct_region(
        anisotropic(texture(SHAPE), 3.7),
        model,
        budget=PLENTY,
        block=(99, 99),
        interrupt=interrupt_if(unwanted),
    )
    next(events), next(events)
    with pytest.raises(Interrupted):
        next(events)
    assert len(encoded) == 1


@pytest.mark.parametrize("shape", [(1, 20, 15), (9, 1, 15), (9, 20, 1), (1, 1, 2), (2, 3, 2)])
@pytest.mark.parametrize("budget", [PLENTY, 40, 1])
def test_degenerate_volumes(small_model, shape, budget) -> None:
    model = small_model(context=3)
    volume = anisotropic(np.random.default_rng(0).random(shape).astype(np.float32), 3.7)
    plan, _, result, _ = assembled(reconstruct_region(volume, model, budget=budget, block=(4, 9)))
    whole, place = part_of_whole(volume, model, plan)
    np.testing.assert_allclose(result, whole.array.compute(scheduler="synchronous")[place], atol=2e-4)


def test_a_box_of_one_voxel_and_one_that_reaches_beyond(small_model, texture) -> None:
    volume, model = anisotropic(texture(SHAPE), 4.0), small_model()
    plan = next(reconstruct_region(volume, model, (slice(3, 4),) * 3, budget=PLENTY))
    assert (plan.shape, plan.first) == ((4, 1, 1), (12, 3, 3))
    beyond = (slice(-5, 99), slice(20, 99), slice(-1, 4))
    plan = next(reconstruct_region(volume, model, beyond, budget=PLENTY))
    assert (plan.shape, plan.first) == ((36, 7, 4), (0, 20, 0))


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f8"])
def test_the_dtype_is_kept(small_model, texture, dtype) -> None:
    volume = anisotropic((100 * texture(SHAPE)).astype(dtype), 3.7)
    _, placeholder, _, blocks = assembled(reconstruct_region(volume, small_model(), budget=PLENTY))
    assert {placeholder.dtype, *(b.array.dtype for b in blocks)} == {np.dtype(dtype).newbyteorder("=")}


def test_memory_running_out_is_told_with_the_block(small_model, texture, monkeypatch) -> None:
    model = small_model()
    encode, failed = model.encode, []

    def hungry(*args):
        if not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("out of memory")
        return encode(*args)

    monkeypatch.setattr(model, "encode", hungry)
    volume = anisotropic(texture(SHAPE), 3.7)
    _, _, result, blocks = assembled(reconstruct_region(volume, model, budget=PLENTY, block=(99, 14)))
    assert ["smaller tiles" in block.notice for block in blocks] == [True] + [False] * (len(blocks) - 1)
    np.testing.assert_allclose(
        result, reconstruct(volume, small_model()).array.compute(scheduler="synchronous"), atol=1e-4
    )


def test_what_makes_no_sense(small_model) -> None:
    model, volume = small_model(), anisotropic(np.zeros(SHAPE), 2.0)
    for options, sentence in [
        ({"budget": 0}, "budget of 0"),
        ({"budget": 9, "output_scale": 0}, "output scale"),
        ({"budget": 9, "planes": "xy"}, "no planes 'xy'"),
        ({"budget": 9, "box": (slice(9, 12), slice(0, 3), slice(0, 3))}, "does not touch"),
    ]:
        with pytest.raises(ReconstructionError, match=sentence):
            next(reconstruct_region(volume, model, **options))
    with pytest.raises(ReconstructionError, match="choose one T/C index"):
        next(reconstruct_region(anisotropic(np.zeros((2, *SHAPE)), 2.0, axes="tzyx"), model, budget=9))
    with pytest.raises(VolumeError, match="outside 1 to 16"):
        next(reconstruct_region(anisotropic(np.zeros(SHAPE), 20.0), model, budget=9))
    with pytest.raises(VolumeError, match="constant"):
        list(reconstruct_region(volume, model, budget=PLENTY))
