from __future__ import annotations

import itertools

import pytest
import torch

from napari_niiv.errors import TrainingError
from napari_niiv.training.data.patches import PatchSampler


def numbered(*shapes: tuple[int, int, int]) -> list[torch.Tensor]:
    """Every voxel of all volumes has its own number."""
    volumes, first = [], 0
    for shape in shapes:
        count = shape[0] * shape[1] * shape[2]
        volumes.append(torch.arange(first, first + count).float().view(shape))
        first += count
    return volumes


def crops_of(volumes: list[torch.Tensor], patch: torch.Tensor) -> list[tuple]:
    """Which (volume, transposed, flips) give the patch exactly."""
    drawings = []
    for number, volume in enumerate(volumes):
        for swap in (False, True):
            turned = volume.transpose(1, 2) if swap else volume
            for flips in itertools.product((False, True), repeat=3):
                flipped = turned.flip([axis for axis, flip in enumerate(flips) if flip])
                place = (flipped == patch[0, 0, 0]).nonzero()
                if len(place) == 1:
                    box = tuple(slice(int(p), int(p) + n) for p, n in zip(place[0], patch.shape, strict=True))
                    crop = flipped[box]
                    if crop.shape == patch.shape and torch.equal(crop, patch):
                        drawings.append((number, swap, *flips))
    return drawings


@pytest.mark.parametrize("context", [0, 2])
def test_patches_are_exact_crops_in_every_position(context: int) -> None:
    volumes = numbered((7, 12, 15), (5, 20, 11))
    sampler = PatchSampler(volumes, 2 * context + 1, seed=0)
    batch = sampler.draw(300, 6, 9)
    assert batch.shape == (300, 2 * context + 1, 6, 9)
    seen = set()
    for patch in batch:
        crops = crops_of(volumes, patch)
        assert crops
        seen.update(crops)
    assert {number for number, *_ in seen} == {0, 1}
    for axis in (1, 2, 3, 4) if context else (1, 3, 4):
        assert {flags[axis] for flags in seen} == {False, True}


def test_noise_is_added_to_the_patches() -> None:
    volumes = numbered((7, 64, 64))
    plain = PatchSampler(volumes, 3, seed=0).draw(200, 16, 16)
    noise = PatchSampler(volumes, 3, seed=0).draw(200, 16, 16, noise=0.25) - plain
    assert float(noise.std()) == pytest.approx(0.25, rel=0.02)
    assert abs(float(noise.mean())) < 0.005
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert abs(float(neighbours)) < 0.02  # white: of every voxel its own
    assert torch.equal(volumes[0], numbered((7, 64, 64))[0])


def test_all_of_a_volume_is_drawn() -> None:
    (volume,) = numbered((3, 5, 6))
    drawn = PatchSampler([volume], 1, seed=0).draw(600, 2, 3)
    assert set(drawn.flatten().tolist()) == set(volume.flatten().tolist())


def test_patches_are_reduced_to_the_smallest_volume() -> None:
    volumes = numbered((3, 9, 30), (3, 30, 30))
    assert PatchSampler(volumes, 3, seed=0).draw(4, 16, 20).shape == (4, 3, 9, 9)


def test_a_seed_repeats() -> None:
    volumes = numbered((7, 12, 15))
    first, second, other = (PatchSampler(volumes, 3, seed=seed).draw(8, 6, 6) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_too_few_slices_for_the_context() -> None:
    with pytest.raises(TrainingError, match="has 5 slices and a sample needs 7"):
        PatchSampler(numbered((5, 20, 20)), 7, seed=0)


# structure


def half_empty() -> torch.Tensor:
    box = torch.zeros(5, 64, 128)
    box[..., :64] = torch.randn(5, 64, 64, generator=torch.Generator().manual_seed(0))
    return box


@pytest.mark.parametrize("context", [0, 1])
def test_empty_places_are_drawn_less_but_drawn(context: int) -> None:
    drawn = PatchSampler([half_empty()], 2 * context + 1, seed=0).draw(1000, 8, 8)
    empty = float((drawn.flatten(1).std(1) == 0).float().mean())
    assert 0.005 < empty < 0.2  # by chance alone it would be 0.44


def test_a_volume_without_structure_is_drawn_evenly() -> None:
    drawn = PatchSampler([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)], 1, seed=0).draw(1000, 8, 8)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.06)


def test_volumes_are_drawn_by_their_size() -> None:
    generator = torch.Generator().manual_seed(0)
    small, large = (torch.rand(4, 24, x, generator=generator) + i for i, x in enumerate((24, 72)))
    drawn = PatchSampler([small, large], 1, seed=0).draw(2000, 8, 8)
    assert float((drawn.amin((1, 2, 3)) >= 1).float().mean()) == pytest.approx(0.75, abs=0.05)


# holes


def ones_with_holes() -> torch.Tensor:
    box = 1 + torch.rand(6, 48, 56, generator=torch.Generator().manual_seed(0))
    box[2, 11, 17] = torch.nan
    box[4, 30:40, 20:23] = torch.nan
    box[5] = torch.nan
    box[:, :, 50:] = torch.nan
    return box


@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("lateral", [5, 16])
def test_holes_are_never_drawn(context: int, lateral: int) -> None:
    sampler = PatchSampler([ones_with_holes(), ones_with_holes().flip(0)], 2 * context + 1, seed=0)
    drawn = torch.cat([sampler.draw(200, lateral, 12) for _ in range(5)])
    assert drawn.isfinite().all()
    assert drawn.min() >= 1  # and no zeros in their place


def test_places_beside_holes_are_drawn() -> None:
    box = ones_with_holes()
    drawn = PatchSampler([box], 1, seed=0).draw(3000, 6, 6)
    values = set(drawn.flatten().tolist())
    assert set(box[2, 30:40, 6:40].flatten().tolist()) < values
    assert set(box[3, 6:40, 6:40].flatten().tolist()) < values


@pytest.mark.parametrize(
    ("box", "lateral", "free"),
    [
        (torch.zeros(3, 40, 40), 40, True),
        (ones_with_holes(), 16, True),
        (ones_with_holes()[:, :, 8:], 48, False),
        (torch.full((3, 40, 40), torch.nan), 4, False),
    ],
)
def test_it_says_whether_patches_without_holes_exist(box: torch.Tensor, lateral: int, free: bool) -> None:
    assert PatchSampler([box], 1, seed=0).free_of_holes(lateral, lateral) is free


def test_holes_in_every_third_slice_leave_room_for_single_ones_only() -> None:
    box = torch.rand(9, 32, 32, generator=torch.Generator().manual_seed(0))
    box[::3] = torch.nan
    assert PatchSampler([box], 1, seed=0).free_of_holes(16, 16)
    assert not PatchSampler([box], 3, seed=0).free_of_holes(16, 16)


# other boxes


def test_a_replaced_box_is_gone() -> None:
    boxes = [torch.rand(4, 24, 24, generator=torch.Generator().manual_seed(i)) + i for i in range(4)]
    sampler = PatchSampler(boxes[:3], 3, seed=0)
    sampler.replace(1, boxes[3])
    drawn = sampler.draw(300, 8, 8)
    assert {int(v) for v in drawn.amin((1, 2, 3))} == {0, 2, 3}
    assert all(crops_of(boxes, patch) for patch in drawn[:20])


def test_holes_come_and_go_with_the_boxes() -> None:
    whole, hollow = torch.rand(3, 16, 16), torch.full((3, 16, 16), torch.nan)
    sampler = PatchSampler([hollow], 1, seed=0)
    assert not sampler.free_of_holes(8, 8)
    sampler.replace(0, whole)
    assert sampler.free_of_holes(8, 8)
    sampler.replace(0, hollow)
    assert not sampler.free_of_holes(8, 8)


def test_a_box_of_another_shape_is_refused() -> None:
    sampler = PatchSampler([torch.zeros(3, 16, 16)], 1, seed=0)
    with pytest.raises(ValueError, match=r"\(3, 16, 15\) does not fit"):
        sampler.replace(0, torch.zeros(3, 16, 15))
