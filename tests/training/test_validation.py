from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_niiv.degradation import Average, Gaussian
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.training.data.volumes import TrainingVolume
from napari_niiv.training.validation import HeldOut
from napari_niiv.volume import Volume

CPU = torch.device("cpu")
AVERAGE = Average()


def training_volume(
    array: NDArray[np.float32], held_out: tuple[int, ...] = (2,), anisotropy: float = 4.0
) -> TrainingVolume:
    return TrainingVolume(Volume(array, voxel_size=(anisotropy, 1.0, 1.0)), Normalization(0.0, 2.0), held_out)


def held_out(*volumes: tuple[TrainingVolume, float], context: int = 1, degradation: Any = AVERAGE) -> HeldOut:
    return HeldOut(volumes, degradation, context, CPU)


def psnr(slices: Iterable[NDArray[np.float32]], factor: int, mode: str) -> float:
    """Of slices averaged along either axis and interpolated by torch."""
    error, count = 0.0, 0
    for picture in slices:
        for sharp in (picture, picture.T):
            x = torch.from_numpy(np.ascontiguousarray(sharp))[None].double()
            x = x[..., : x.shape[-1] // factor * factor]
            coarse = F.avg_pool1d(x, factor)
            if mode == "linear":
                fine = F.interpolate(coarse, scale_factor=factor, mode="linear")
            else:
                fine = F.interpolate(coarse[:, None], scale_factor=(1, factor), mode="bicubic")[:, 0]
            error += float((fine - x).square().sum())
            count += x.numel()
    return 10 * math.log10(count / error)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("context", [0, 2])
def test_interpolations_are_torchs(texture, factor: int, context: int) -> None:
    array = texture((6, 45, 50), size=1.0) * 2
    validation = held_out((training_volume(array, (1, 4)), float(factor)), context=context)
    slices = [array[z] / 2 for z in (1, 4)]
    assert validation.linear == pytest.approx(psnr(slices, factor, "linear"), abs=1e-3)
    assert validation.bicubic == pytest.approx(psnr(slices, factor, "bicubic"), abs=1e-3)
    assert validation.bicubic > validation.linear


def test_only_the_slices_held_out_count(texture) -> None:
    array = texture((6, 45, 50), size=1.0) * 2
    first = held_out((training_volume(array, (2,)), 4.0))
    array[[0, 1, 3, 4, 5]] = 7
    assert held_out((training_volume(array, (2,)), 4.0)).linear == first.linear


def test_several_volumes_and_factors_are_pooled_by_pixels(texture) -> None:
    one, two = texture((6, 40, 44), size=1.0) * 2, texture((6, 60, 64), size=2.0) * 2
    validation = held_out((training_volume(one), 4.0), (training_volume(two, (3,), 2.0), 2.0))
    parts = [psnr([one[2] / 2], 4, "linear"), psnr([two[3] / 2], 2, "linear")]
    areas = np.array([40 * 44, 60 * 64])
    expected = -10 * math.log10((areas * 10 ** (-np.array(parts) / 10)).sum() / areas.sum())
    assert validation.linear == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("factor", [4.0, 2.5])
def test_a_model_without_residual_scores_as_linear_interpolation(linear_model: Niiv, texture, factor: float) -> None:
    validation = held_out((training_volume(texture((6, 45, 50), size=3.0) * 2), factor))
    assert validation.score(linear_model) == pytest.approx(validation.linear, abs=1e-3)


def test_what_a_model_is_given_is_not_rounded(linear_model: Niiv, texture) -> None:
    array = texture((6, 44, 48)) * 2
    watcher = watching(linear_model)
    held_out((training_volume(array), 4.0)).score(watcher)
    expected = F.avg_pool1d(torch.from_numpy(array[2:3] / 2), 4)
    torch.testing.assert_close(watcher.given[0][:, 1], expected, atol=1e-5, rtol=0)


def test_models_of_less_context_can_be_scored(small_model, texture) -> None:
    blind = small_model(context=0)
    validation = held_out((training_volume(texture((6, 45, 50)) * 2), 4.0), context=2)
    score = validation.score(blind)
    assert score == pytest.approx(validation.score(blind.widened(2)), abs=1e-3)
    assert score != pytest.approx(validation.linear, abs=0.1)


def test_of_several_slices_restored_at_once_the_one_held_out_counts(small_model, texture) -> None:
    array = texture((9, 45, 50), size=1.0) * 2
    cells = small_model(context=1, lateral=4, slices=3)
    watcher = watching(cells)
    validation = HeldOut(((training_volume(array, (2, 6)), 4.0),), AVERAGE, 3, CPU, pixels=4)
    validation._chosen = [replace(c, sharp=c.sharp + 100 * torch.arange(7)[:, None, None]) for c in validation._chosen]
    score = validation.score(watcher)
    # numbered slices: which of them was given first, both axes of each crop alike
    assert [round(float(g[0, 0].mean()) / 100) for g in watcher.given] == [2, 2, 1, 1]
    error, count = 0.0, 0
    for number, crop in enumerate(validation._chosen):
        for sharp in (crop.sharp, crop.sharp.transpose(1, 2)):
            assert sharp.shape[1] % 4 == 0
            coarse, positions, covered = AVERAGE.training_pair(sharp[2 - number : 7 - number][None], 4.0)
            restored = cells(coarse, 4.0, positions)[number]
            error += float((restored - sharp[3, :, covered]).square().sum())
            count += restored.numel()
    assert score == pytest.approx(10 * math.log10(count / error), abs=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_model_as_it_was(small_model, texture, training: bool) -> None:
    model = small_model().train(training)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    held_out((training_volume(texture((6, 45, 50)) * 2), 4.0)).score(model)
    assert model.training is training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_fractional_factor_or_another_degradation(texture) -> None:
    array = texture((6, 45, 50), size=1.0) * 2
    sharper, blurrier = (
        held_out((training_volume(array), 2.5), degradation=Gaussian(fwhm=fwhm)).linear for fwhm in (0.5, 3.0)
    )
    assert 15 < blurrier < sharper < 60


# holes


def test_crops_with_holes_are_avoided(texture) -> None:
    array = texture((4, 256, 768), size=1.0) * 2
    whole = array[2, :, 256:512] / 2
    array[2, 100, 20] = np.nan
    array[2, :, 700:] = np.nan
    validation = held_out((training_volume(array), 4.0))
    assert validation.linear == pytest.approx(psnr([whole], 4, "linear"), abs=1e-3)


def test_a_slice_of_holes_is_passed_over(texture) -> None:
    array = texture((6, 40, 44), size=1.0) * 2
    array[1, 5, 5] = np.nan
    validation = held_out((training_volume(array, (1, 4)), 4.0))
    assert validation.linear == pytest.approx(psnr([array[4] / 2], 4, "linear"), abs=1e-3)


def test_nothing_but_holes(texture) -> None:
    array = texture((6, 40, 44)) * 2
    array[2, 5, 5] = np.nan
    assert held_out((training_volume(array), 4.0)).bicubic is None


def test_blank_slices_are_nothing_to_judge_by(linear_model: Niiv, texture) -> None:
    blank = texture((6, 40, 44)) * 2
    blank[2] = 1
    judge = held_out((training_volume(blank), 4.0))
    assert (judge.linear, judge.bicubic, judge.score(linear_model)) == (None, None, None)
    other = training_volume(texture((6, 40, 44)) * 2)
    assert held_out((training_volume(blank), 4.0), (other, 4.0)).linear == held_out((other, 4.0)).linear


def test_of_a_large_slice_the_crops_with_most_structure(texture) -> None:
    array = 0.5 + 0.01 * texture((4, 256, 256 * 12), size=1.0)
    rough = (1, 5, 6, 7, 8, 9, 10, 11)
    for crop in rough:
        array[:, :, 256 * crop : 256 * (crop + 1)] *= 1 + texture((4, 256, 256), crop, 1.0)
    validation = held_out((training_volume(array), 4.0))
    crops = [array[2, :, 256 * c : 256 * (c + 1)] / 2 for c in rough]
    assert validation.linear == pytest.approx(psnr(crops, 4, "linear"), abs=1e-2)


# neighbours


class Watching(Niiv):
    """A model that keeps what it is given."""

    given: list[torch.Tensor]

    def forward(self, slices: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.given.append(slices.float().clone())
        return super().forward(slices, *rest)


def watching(model: Niiv) -> Watching:
    watcher = deepcopy(model)
    watcher.__class__ = Watching
    watcher.given = []
    return watcher


def test_neighbours_are_repeated_until_they_are_inferred(linear_model: Niiv, texture) -> None:
    watcher = watching(linear_model)
    held_out((training_volume(texture((6, 40, 44)) * 2), 4.0)).score(watcher)
    assert len(watcher.given) == 2
    for slices in watcher.given:
        assert torch.equal(slices[:, 0], slices[:, 1])
        assert torch.equal(slices[:, 2], slices[:, 1])


@pytest.mark.parametrize("factor", [4.0, 2.0])
def test_neighbours_are_a_lateral_pixel_away(small_model, linear_model: Niiv, texture, factor: float) -> None:
    """Of a volume that brightens evenly with z they are known."""
    k, per_slice = 2, 0.08
    plane = texture((1, 40, 44))
    array = 2 * (plane + per_slice * np.arange(12, dtype=np.float32)[:, None, None])
    model = small_model(context=k)
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
    validation = held_out((training_volume(array, (5,)), factor), context=k)
    assert list(validation.surround(linear_model))[-1] == 1
    watcher = watching(model)
    validation.score(watcher)
    for slices in watcher.given:
        for offset in range(-k, k + 1):
            difference = slices[:, k + offset] - slices[:, k]
            expected = torch.full_like(difference, offset * per_slice / 4)
            torch.testing.assert_close(difference, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("z", [0, 5, 11])
def test_the_centre_stays_what_was_measured(small_model, texture, z: int) -> None:
    array = texture((12, 40, 44)) * 2
    validation = held_out((training_volume(array, (z,)), 4.0))
    before, linear = watching(small_model()), validation.linear
    validation.score(before)
    assert list(validation.surround(small_model(seed=1)))[-1] == 1
    after = watching(small_model())
    validation.score(after)
    for old, new in zip(before.given, after.given, strict=True):
        torch.testing.assert_close(new[:, 1], old[:, 1], atol=1e-6, rtol=0)
        assert new.isfinite().all()
        assert (new[:, 0] - old[:, 0]).abs().mean() > 1e-3
        assert (new[:, 2] - new[:, 0]).abs().mean() > 1e-3
    assert validation.linear == linear


def test_holes_in_the_neighbourhood_do_no_harm(small_model, texture) -> None:
    array = texture((12, 40, 44)) * 2
    array[6, 3:9] = np.nan
    validation = held_out((training_volume(array, (5,)), 4.0))
    assert list(validation.surround(small_model()))[-1] == 1
    assert math.isfinite(validation.score(small_model()))


def test_without_context_there_are_no_neighbours(small_model, texture) -> None:
    validation = held_out((training_volume(texture((6, 40, 44)) * 2), 4.0), context=0)
    model = small_model(context=0)
    before = validation.score(model)
    assert list(validation.surround(model)) == []
    assert validation.score(model) == before
