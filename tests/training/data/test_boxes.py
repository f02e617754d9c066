from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from napari_niiv.degradation import Average, Skip
from napari_niiv.geometry import Box, Sampling, Span
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.trust import project
from napari_niiv.training.data.boxes import pseudo_isotropic


@pytest.mark.parametrize("anisotropy", [2.0, 5.0])
def test_what_was_measured_stays_measured(small_model, texture, anisotropy: float) -> None:
    measured = torch.from_numpy(texture((6, 17, 15)))
    result = pseudo_isotropic([small_model()], measured, anisotropy)
    assert result.shape == (6 * anisotropy, 17, 15)
    pooled = F.avg_pool1d(result.permute(1, 2, 0), int(anisotropy)).permute(2, 0, 1)
    torch.testing.assert_close(pooled, measured, atol=1e-4, rtol=0)
    assert result.std(0).mean() > 0.01


def test_the_degradation_matters(small_model, texture) -> None:
    measured = torch.from_numpy(texture((6, 17, 15)))
    average, skip = (
        pseudo_isotropic([small_model()], measured, 5.0, degradation=d) for d in (Average(), Skip(thickness=0.01))
    )
    torch.testing.assert_close(skip[2::5], measured, atol=1e-4, rtol=0)  # thin slices: their middles
    assert (average[2::5] - measured).abs().max() > 0.01


def test_a_core_is_what_it_is_in_the_whole(small_model, texture) -> None:
    model = small_model()
    volume = torch.from_numpy(texture((30, 40, 44)))
    whole = pseudo_isotropic([model], volume, 3.0)
    core = Box(Span(10, 18), Span(9, 30), Span(12, 31))
    box = core.padded((model.halo + 3,) * 3, volume.shape)
    inner = core.relative_to(box.origin)
    part = pseudo_isotropic([model], volume[box.slices], 3.0, inner)
    assert part.shape == (24, 21, 19)
    torch.testing.assert_close(part, whole[30:54, 9:30, 12:31], atol=1e-4, rtol=0)
    # the surroundings count
    bare = pseudo_isotropic([model], volume[core.slices], 3.0)
    assert (bare - part).abs().max() > 1e-2


@pytest.mark.parametrize("anisotropy", [2.0, 3.7])
def test_holes_become_holes_and_reach_no_further_than_they_must(small_model, texture, anisotropy: float) -> None:
    model = small_model()
    volume = torch.from_numpy(texture((12, 60, 20)))
    hollow = volume.clone()
    hollow[5, 8:11, 6] = torch.nan
    result = pseudo_isotropic([model], hollow, anisotropy)
    inside = slice(round(5 * anisotropy), round(6 * anisotropy))
    assert result[inside, 8:11, 6].isnan().all()
    # a voxel and the interpolation beside it
    near = torch.zeros(result.shape, dtype=torch.bool)
    near[int(3 * anisotropy) : int(8 * anisotropy) + 1, 7:12, 5:8] = True
    assert not result[~near].isnan().any()
    far = slice(11 + model.halo + 3, None)
    torch.testing.assert_close(result[:, far], pseudo_isotropic([model], volume, anisotropy)[:, far])


def test_holes_around_a_core(small_model, texture) -> None:
    volume = torch.from_numpy(texture((8, 30, 30)))
    volume[:, :, 12:] = torch.nan
    core = Box(Span(2, 6), Span(5, 25), Span(5, 20))
    result = pseudo_isotropic([small_model()], volume, 2.0, core)
    assert result[:, :, 7:].isnan().all()
    assert result[:, :, :6].isfinite().all()


def test_nothing_but_holes(small_model) -> None:
    assert pseudo_isotropic([small_model()], torch.full((4, 9, 9), torch.nan), 2.0).isnan().all()


def test_the_result_can_be_learnt_from(small_model, texture) -> None:
    result = pseudo_isotropic([small_model()], torch.from_numpy(texture((4, 9, 9))), 2.0)
    weight = torch.ones((), requires_grad=True)
    (weight * result).sum().backward()
    assert weight.grad is not None


def test_the_mean_of_models_and_of_flips(small_model) -> None:
    volume = torch.rand(6, 20, 22, generator=torch.Generator().manual_seed(0))
    models = [small_model(seed=number) for number in range(2)]
    core = Box(Span(1, 4), Span(3, 15), Span(2, 20))
    total = torch.zeros(9, 12, 18)
    for model in models:
        for axes in itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in range(4)):
            flipped = restore_box(model, volume.flip(axes), 3.0, Sampling.covering(6, 18), ("xz", "yz")).flip(axes)
            total += flipped[3:12, 3:15, 2:20] / 16
    expected = project(total, volume[core.slices], Average(), axis=0)
    result = pseudo_isotropic(models, volume, 3.0, core, flips=True)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
