from __future__ import annotations

import itertools

import pytest
import torch

from napari_niiv.training.patches import PatchSampler


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
    found = []
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
                        found.append((number, swap, *flips))
    return found


@pytest.mark.parametrize("context", [0, 2])
def test_patches_are_exact_crops_in_every_position(context: int) -> None:
    volumes = numbered((7, 12, 15), (5, 20, 11))
    sampler = PatchSampler(volumes, context, seed=0)
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


def test_all_of_a_volume_is_drawn() -> None:
    (volume,) = numbered((3, 5, 6))
    drawn = PatchSampler([volume], 0, seed=0).draw(600, 2, 3)
    assert set(drawn.flatten().tolist()) == set(volume.flatten().tolist())


def test_patches_are_reduced_to_the_smallest_volume() -> None:
    volumes = numbered((3, 9, 30), (3, 30, 30))
    assert PatchSampler(volumes, 1, seed=0).draw(4, 16, 20).shape == (4, 3, 9, 9)


def test_a_seed_repeats() -> None:
    volumes = numbered((7, 12, 15))
    first, second, other = (PatchSampler(volumes, 1, seed=seed).draw(8, 6, 6) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_too_few_slices_for_the_context() -> None:
    with pytest.raises(ValueError, match="5 slices are fewer than the 7"):
        PatchSampler(numbered((5, 20, 20)), 3, seed=0)
