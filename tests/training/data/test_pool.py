from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.measure import block_reduce

from napari_niiv.errors import TrainingError, VolumeError
from napari_niiv.geometry import Box
from napari_niiv.normalization import Normalization
from napari_niiv.training.data.patches import PatchSampler
from napari_niiv.training.data.pool import MOST_BOXES, BoxSize, MakeBox, Pool
from napari_niiv.training.data.volumes import TrainingVolume
from napari_niiv.volume import Volume

CPU = torch.device("cpu")


class Made:
    """What boxes were made of, and where they lay."""

    def __init__(self) -> None:
        self.places: list[tuple[TrainingVolume, Box, Box]] = []
        self.read: list[torch.Tensor] = []

    def __call__(self, volume: TrainingVolume, values: torch.Tensor, box: Box, core: Box) -> torch.Tensor:
        self.places.append((volume, box, core))
        self.read.append(values)
        return values[core.slices]


def training_volume(array: object) -> TrainingVolume:
    return TrainingVolume(Volume(array), Normalization(0.0, 2.0), ())


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape).astype(np.float32) * 2


@pytest.fixture
def pool() -> Iterator[Callable[..., Pool]]:
    """Builds pools, and closes them."""
    pools = []

    def build(
        arrays: list,
        size: BoxSize,
        make: MakeBox | None = None,
        voxels: float = 1e9,
        seed: int = 0,
        rotated_from: float = math.inf,
    ) -> Pool:
        made = Pool(
            [training_volume(a) for a in arrays],
            size,
            make or Made(),
            memory=4 * voxels,
            device=CPU,
            seed=seed,
            rotated_from=rotated_from,
        )
        pools.append(made)
        return made

    yield build
    for made in pools:
        made.close()


def numbers(drawn: torch.Tensor) -> set[int]:
    return {int(v) for v in drawn.flatten()}


# whole volumes


def test_volumes_that_fit_are_kept_whole_and_normalised(pool) -> None:
    arrays, made = [noise(5, 30, 40), noise(7, 20, 25, seed=1)], Made()
    whole = pool(arrays, BoxSize(2, 8, halo=3), made, voxels=5 * 30 * 40 + 7 * 20 * 25)
    assert list(whole.fill()) == [0.5, 1.0]
    assert whole.whole
    assert len(whole) == 2
    for array, values in zip(arrays, made.read, strict=True):
        np.testing.assert_allclose(values, array / 2, atol=1e-6)


@pytest.mark.parametrize(
    "size",
    [BoxSize(2, 8), BoxSize(2, 8, growth=1.5), BoxSize(2, 8, largest=5000)],
    ids=["memory", "growth", "largest"],
)
def test_volumes_that_do_not_fit_are_not(pool, size: BoxSize) -> None:
    voxels = 5 * 30 * 40
    fits = 5 * 30 * 40 if size != BoxSize(2, 8) else voxels - 1
    assert not pool([noise(5, 30, 40)], size, voxels=fits).whole
    assert pool([noise(5, 30, 40)], BoxSize(2, 8), voxels=voxels).whole


# boxes


@pytest.mark.parametrize("halo", [0, 3])
def test_boxes_are_what_lies_there(pool, halo: int) -> None:
    array, made = noise(12, 50, 60), Made()
    boxes = pool([array], BoxSize(4, 16, halo=halo), made, voxels=6 * 4 * 16 * 16)
    list(boxes.fill())
    assert not boxes.whole
    assert len(boxes) == len(made.read) == 6
    for values, (_, box, core) in zip(made.read, made.places, strict=True):
        assert tuple(len(s) for s in core) == (4, 16, 16)
        np.testing.assert_allclose(values, array[tuple(s.slice for s in box)] / 2, atol=1e-6)
        for span, outer, size in zip(core, box, array.shape, strict=True):
            # the halo is whole, but for where the volume ends
            assert span.lo == min(halo, outer.lo + span.lo)
            assert len(outer) - span.hi == min(halo, size - outer.lo - span.hi)
    assert len({tuple(s.lo for s in box) for _, box, _ in made.places}) == 6


def test_boxes_are_no_larger_than_the_volume(pool) -> None:
    made = Made()
    boxes = pool([noise(3, 10, 200)], BoxSize(8, 32), made, voxels=3 * 10 * 32 * 2)
    list(boxes.fill())
    assert {tuple(v.shape) for v in made.read} == {(3, 10, 32)}
    assert boxes.work == 3 * 10 * 32
    assert boxes.filled == 2 * boxes.work


@pytest.mark.parametrize("growth", [1.0, 4.0])
@pytest.mark.parametrize("limit", [1.0, 5.3, 9.99])
def test_memory_is_respected(pool, growth: float, limit: float) -> None:
    each = 4 * 16 * 16
    boxes = pool([noise(12, 80, 80)], BoxSize(4, 16, growth=growth), voxels=limit * growth * each)
    assert len(boxes) == int(limit)


def test_memory_is_respected_with_several_volumes(pool) -> None:
    arrays = [noise(8, 64, 64), noise(8, 64, 64, seed=1)]
    assert len(pool(arrays, BoxSize(4, 16), voxels=3 * 4 * 16 * 16)) <= 3


def test_there_are_never_more_boxes_than_make_sense(pool) -> None:
    assert len(pool([noise(20, 80, 80)], BoxSize(2, 8), voxels=20 * 80 * 80 - 1)) == MOST_BOXES


def test_large_volumes_have_more_boxes_and_small_ones_have_one(pool) -> None:
    made = Made()
    arrays = [noise(8, 100, 90), noise(8, 40, 45, seed=1), noise(8, 9, 10, seed=2)]
    list(pool(arrays, BoxSize(8, 16), made, voxels=10 * 8 * 16 * 16).fill())
    counts = [sum(s.volume.array is a for s, _, _ in made.places) for a in arrays]
    assert counts == [8, 1, 1]


class Endless:
    """A volume that no computer holds, and a count of what is read of it."""

    shape, dtype, ndim = (2_000, 50_000, 60_000), np.dtype(np.uint8), 3

    def __init__(self) -> None:
        self.read, self.largest = 0, 0

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]:
        size = [len(range(*part.indices(n))) for part, n in zip(key, self.shape, strict=True)]
        self.read += int(np.prod(size))
        self.largest = max(self.largest, int(np.prod(size)))
        return np.random.default_rng(self.read).integers(0, 3, size, np.uint8)


def test_of_a_huge_volume_only_boxes_are_read(pool) -> None:
    array = Endless()
    boxes = pool([array], BoxSize(8, 32, halo=4), voxels=10 * 8 * 32 * 32)
    list(boxes.fill())
    boxes.sampler(1, 1)
    for _ in range(20):
        boxes.exchange(1)
    boxes.close()
    around = 16 * 40 * 40
    assert array.largest <= around
    assert array.read <= (10 + 20 + 1) * around  # one is read ahead


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_empty_boxes_are_passed_over(pool, value: float) -> None:
    array = np.full((8, 200, 200), value, np.float32)
    array[:, :100, :100] = noise(8, 100, 100)
    made = Made()
    list(pool([array], BoxSize(4, 20), made, voxels=30 * 4 * 20 * 20).fill())
    empty = sum(float(values.nan_to_num().std()) == 0 for values in made.read)
    assert len(made.read) == 30
    assert empty < 8  # by chance it would be 21


def test_where_there_is_nothing_else_empty_boxes_will_do(pool) -> None:
    boxes = pool([np.zeros((8, 40, 40), np.float32)], BoxSize(4, 20), voxels=2 * 4 * 20 * 20)
    assert list(boxes.fill()) == [0.5, 1.0]


# filling, drawing, exchanging


@pytest.mark.parametrize("enough_at", [1, 3])
def test_it_is_filled_until_it_is_enough(pool, enough_at: int) -> None:
    made = Made()
    boxes = pool([noise(12, 50, 60)], BoxSize(4, 16), made, voxels=6 * 4 * 16 * 16)
    asked: list[float] = []

    def enough() -> bool:
        asked.append(boxes.filled)
        return len(asked) == enough_at

    assert list(boxes.fill(enough)) == [(i + 1) / 6 for i in range(enough_at)]
    assert len(boxes) == len(made.read) == enough_at
    assert asked == [(i + 1) * 4 * 16 * 16 for i in range(enough_at)]
    assert boxes.sampler(1, 1).draw(8, 8, 8).shape == (8, 1, 8, 8)
    for _ in range(4):
        boxes.exchange(1)
    assert len(boxes) == enough_at


def counted() -> MakeBox:
    """Boxes full of their own number."""
    count = iter(range(1000))
    return lambda volume, values, box, core: torch.full((2, 16, 16), float(next(count)))


def test_the_oldest_is_exchanged(pool) -> None:
    boxes = pool([noise(12, 50, 60)], BoxSize(2, 16), counted(), voxels=4 * 2 * 16 * 16)
    list(boxes.fill())
    samplers = boxes.sampler(1, 1), boxes.sampler(2, 1)
    boxes.settle()
    assert boxes.sampler(2, 1) is samplers[1]
    for newest in range(3, 12):
        for sampler in samplers:
            assert numbers(sampler.draw(200, 4, 4)) == set(range(newest - 3, newest + 1))
        boxes.exchange(1)


def test_a_lone_box_is_exchanged_too(pool) -> None:
    boxes = pool([noise(12, 50, 60)], BoxSize(2, 16), counted(), voxels=1)
    list(boxes.fill())
    sampler = boxes.sampler(1, 1)
    boxes.exchange(1)
    assert numbers(sampler.draw(20, 4, 4)) == {1}


def test_boxes_of_all_volumes_keep_their_shapes(pool) -> None:
    """Those of small volumes are replaced by others of the same volume."""
    made = Made()
    arrays = [noise(8, 60, 70), noise(3, 20, 9, seed=1)]
    boxes = pool(arrays, BoxSize(4, 16), made, voxels=5 * 4 * 16 * 16)
    list(boxes.fill())
    boxes.sampler(1, 1)
    for _ in range(2 * len(boxes)):
        boxes.exchange(1)
    n = len(boxes)
    shapes = [tuple(v.shape) for v in made.read]
    assert set(shapes) == {(4, 16, 16), (3, 16, 9)}
    assert shapes[:n] == shapes[n : 2 * n] == shapes[2 * n :]


def test_a_seed_repeats(pool) -> None:
    def boxes(seed: int) -> list[tuple[Box, Box]]:
        made = Made()
        boxes_of_two = pool([noise(12, 50, 60), noise(9, 40, 40)], BoxSize(4, 16), made, voxels=6 * 4 * 256, seed=seed)
        list(boxes_of_two.fill())
        boxes_of_two.sampler(1, 1)
        for _ in range(9):
            boxes_of_two.exchange(1)
        return [(box, core) for _, box, core in made.places]

    assert boxes(1) == boxes(1)
    assert boxes(1) != boxes(2)


def test_a_seed_repeats_where_the_filling_ended_early(pool) -> None:
    array = noise(8, 64, 64)
    places = set()
    for _ in range(200):
        made = Made()
        boxes = pool([array], BoxSize(4, 16), made, voxels=5 * 4 * 16 * 16)
        list(boxes.fill(lambda: True))
        boxes.sampler(1, 1)
        boxes.exchange(1)
        boxes.close()
        places.add(tuple(box for _, box, _ in made.places))
    assert len(places) == 1


@pytest.mark.parametrize(("factor", "context"), [(1, 0), (2, 0), (4, 0), (1, 1), (2, 1)])
def test_levels_are_averaged_laterally_or_in_cubes(pool, factor: int, context: int) -> None:
    array = noise(7, 29, 33)
    boxes = pool([array], BoxSize(8, 64))
    list(boxes.fill())
    sampler = boxes.sampler(factor, 2 * context + 1)
    depth = factor if context else 1
    cut = array[: 7 // depth * depth, : 29 // factor * factor, : 33 // factor * factor] / 2
    expected = {round(float(v), 4) for v in block_reduce(cut, (depth, factor, factor), np.mean).flatten()}
    drawn = sampler.draw(400, 6, 6)
    assert drawn.shape == (400, 2 * context + 1, 6, 6)
    values = drawn.flatten().numpy().round(4)
    near = np.array(sorted(expected))
    distance = np.abs(values[:, None] - near[np.searchsorted(near, values).clip(1, len(near) - 1)[:, None] - [0, 1]])
    assert distance.min(1).max() < 2e-4
    assert len(np.unique(values)) > 0.7 * len(expected)


def test_a_hole_is_a_hole_at_every_level(pool) -> None:
    array = noise(4, 32, 32) + 1
    array[1, :, ::4] = np.nan
    boxes = pool([array], BoxSize(8, 64))
    list(boxes.fill())
    assert boxes.sampler(4, 1).draw(400, 4, 4).min() >= 0.5  # no zeros, and no means of fewer voxels
    assert not boxes.sampler(2, 1).draw(400, 4, 4).isnan().any()
    array[:] = np.nan
    boxes = pool([array], BoxSize(8, 64))
    list(boxes.fill())
    assert not boxes.sampler(4, 1).free_of_holes(1, 1)


def test_too_small_for_a_level(pool) -> None:
    boxes = pool([noise(3, 6, 40)], BoxSize(8, 64))
    list(boxes.fill())
    with pytest.raises(TrainingError, match="too small"):
        boxes.sampler(8, 1)
    with pytest.raises(TrainingError, match="too small"):
        boxes.sampler(4, 3)


# its thread


def readers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("napari-niiv reading")]


def test_closing_ends_the_thread(pool) -> None:
    boxes = pool([noise(12, 50, 60)], BoxSize(4, 16), voxels=6 * 4 * 16 * 16)
    before = set(readers())
    next(boxes.fill())
    (reader,) = set(readers()) - before
    boxes.close()
    reader.join(10)
    assert not reader.is_alive()


def test_boxes_are_read_ahead(pool) -> None:
    """While a box is made, the next one is being read."""
    reading = threading.Event()

    class Watched:
        shape, dtype, ndim = (12, 50, 60), np.dtype(np.float32), 3

        def __getitem__(self, key: object) -> NDArray[np.float32]:
            assert threading.current_thread() in readers()
            reading.set()
            return noise(*self.shape)[key]

    waited = []

    def make(volume: TrainingVolume, values: torch.Tensor, box: Box, core: Box) -> torch.Tensor:
        began = time.monotonic()
        waited.append((reading.wait(10), time.monotonic() - began))
        reading.clear()
        return values

    boxes = pool([Watched()], BoxSize(4, 16), make, voxels=3 * 4 * 16 * 16)
    filling = boxes.fill()
    reading.clear()
    next(filling)
    assert waited[0][0]


def test_a_volume_that_cannot_be_read_says_so(pool) -> None:
    class Broken:
        shape, dtype, ndim = (12, 50, 60), np.dtype(np.float32), 3

        def __getitem__(self, key: object) -> object:
            raise OSError("the disk is gone")

    with pytest.raises(VolumeError, match="the disk is gone"):
        next(pool([Broken()], BoxSize(4, 16)).fill())


# rotations


def values_of(sampler: PatchSampler, edge: int) -> torch.Tensor:
    return sampler.draw(400, edge, edge).flatten()


def test_beside_a_whole_volume_there_is_a_rotated_copy_of_it(pool) -> None:
    """Of stripes, which without rotation have two values."""
    stripes = np.tile(np.float32([0, 2]).repeat(8), (3, 64, 4))
    boxes = pool([stripes], BoxSize(3, 64), rotated_from=60)
    list(boxes.fill())
    sampler = boxes.sampler(1, 1)
    boxes.settle()

    def between() -> float:
        values = values_of(sampler, 12)
        return float(((values > 0.05) & (values < 0.95)).float().mean())

    before = between()
    assert before > 0.02
    boxes.exchange(1)  # another angle, the volume itself stays
    values = values_of(sampler, 12)
    assert between() > 0.02
    assert float(((values < 1e-6) | (values > 1 - 1e-6)).float().mean()) > 0.4


def test_small_volumes_are_not_rotated(pool) -> None:
    made = Made()
    boxes = pool([noise(4, 40, 64)], BoxSize(4, 64), made, rotated_from=60)
    list(boxes.fill())
    sampler = boxes.sampler(1, 1)
    before = sampler._voxels.clone()
    boxes.exchange(1)
    assert not boxes.copies
    assert torch.equal(sampler._voxels, before)
    assert len(made.read) == 1


def test_a_volume_that_is_made_again_is_rotated_again(pool) -> None:
    boxes = pool([noise(2, 16, 16)], BoxSize(2, 16), counted(), rotated_from=16)
    list(boxes.fill())
    sampler = boxes.sampler(1, 1)
    boxes.remakes = True
    boxes.exchange(1)
    assert numbers(sampler.draw(200, 4, 4).round()) == {1}


def test_every_second_box_of_a_large_volume_is_rotated(pool) -> None:
    made: list[torch.Tensor] = []
    ramp = np.tile(np.arange(200, dtype=np.float32), (8, 200, 1))

    def make(volume: TrainingVolume, values: torch.Tensor, box: Box, core: Box) -> torch.Tensor:
        made.append(values)
        return values

    boxes = pool([ramp], BoxSize(2, 32), make, voxels=30 * 2 * 32 * 32, rotated_from=30)
    list(boxes.fill())
    straight = sum(torch.equal(a, b) for a, b in zip(made, boxes._boxes, strict=True))
    assert 8 < straight < 22
