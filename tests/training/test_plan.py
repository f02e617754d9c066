from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_niiv.degradation import Average, Degradation, Gaussian, Skip
from napari_niiv.errors import CheckpointError, NiivError, TrainingError, VolumeError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.data.volumes import TrainingVolume
from napari_niiv.training.plan import Group, plan_architecture, plan_groups
from napari_niiv.volume import Volume

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def volume(anisotropy: float, edge: int = 256, width: int | None = None, noise: float = 0.0) -> TrainingVolume:
    array = np.broadcast_to(np.zeros((), np.uint8), (8, edge, width or edge))
    volume = Volume(array, voxel_size=(anisotropy, 1.0, 1.0), name=f"v{anisotropy:g}")
    return TrainingVolume(volume, Normalization(0, 1), (4,), noise)


def config(**settings: Any) -> TrainingConfig:
    return TrainingConfig(output="model.safetensors", **settings)


def planned(*volumes: TrainingVolume, **settings: Any) -> tuple[Group, ...]:
    return plan_groups(volumes, config(**settings))


def tasks(group: Group) -> list[tuple[int, float]]:
    return [(t.downsample, pytest.approx(t.anisotropy)) for t in group.tasks]


# who teaches what


@pytest.mark.parametrize(
    ("anisotropy", "levels"),
    [
        (1.5, [(1, 1.5)]),
        (2.9, [(1, 2.9)]),
        (3.0, [(1, 3.0), (2, 1.5)]),
        (5.9, [(1, 5.9), (2, 2.95)]),
        (8.0, [(1, 8.0), (2, 4.0), (4, 2.0)]),
        (16.0, [(1, 16.0), (2, 8.0), (4, 4.0)]),
    ],
)
def test_own_factors_and_those_of_levels_zoomed_out(anisotropy: float, levels) -> None:
    (group,) = planned(volume(anisotropy))
    assert tasks(group) == levels
    assert group.validation_anisotropy == pytest.approx(anisotropy)
    assert group.anisotropy == anisotropy
    assert sum(t.weight for t in group.tasks) == pytest.approx(1)
    assert group.tasks[0].weight >= 0.75  # what the volume is looked at most
    assert all(t.weight > 0 for t in group.tasks)


@pytest.mark.parametrize(("edge", "levels"), [(60, 1), (64, 2), (127, 2), (128, 3)])
def test_small_volumes_are_not_averaged(edge: int, levels: int) -> None:
    """A level must hold two patches of 16 pixels across."""
    (group,) = planned(volume(6.0, 300, edge))
    assert len(group.tasks) == min(levels, 3)
    assert sum(t.weight for t in group.tasks) == pytest.approx(1)


def test_like_volumes_learn_together() -> None:
    near, nearer, far = volume(4.02), volume(4.0), volume(6.0)
    groups = planned(far, near, nearer)
    assert [g.volumes for g in groups] == [(nearer, near), (far,)]
    assert [sum(t.weight for t in g.tasks) for g in groups] == [pytest.approx(1)] * 2


def test_given_factors_go_to_the_nearest_volumes() -> None:
    """On a logarithmic scale: 4.1 is nearer to 8 than to 2."""
    low, high = planned(volume(8.0), volume(2.0), anisotropies=(1.5, 3.9, 4.1, 10.0))
    assert (low.anisotropy, high.anisotropy) == (2, 8)
    assert tasks(low) == [(1, 1.5), (1, 3.9)]
    assert tasks(high) == [(1, 4.1), (1, 10)]
    assert low.validation_anisotropy == 1.5  # nearer to 2 than 3.9
    assert high.validation_anisotropy == 10


def test_volumes_without_a_factor_have_no_part() -> None:
    (group,) = planned(volume(8.0), volume(2.0), anisotropies=(7.0,))
    assert group.anisotropy == 8


@pytest.mark.parametrize("anisotropy", [1.0, 1.49])
def test_isotropic_volumes_need_factors(anisotropy: float) -> None:
    with pytest.raises(TrainingError, match=f"'v{anisotropy:g}'.*isotropic or nearly so") as caught:
        planned(volume(4.0), volume(anisotropy))
    assert "\n" not in str(caught.value)
    (group,) = planned(volume(anisotropy), anisotropies=(2.0, 6.0, 3.0))
    assert tasks(group) == [(1, 2), (1, 6), (1, 3)]
    assert group.validation_anisotropy == 6


@pytest.mark.parametrize(
    ("own", "settings", "message"),
    [
        (17.0, {}, "'v17'"),
        (4.0, {"anisotropies": (20.0,)}, "'the training'"),
        (4.0, {"anisotropies": (0.5,)}, "0.5"),
    ],
)
def test_factors_beyond_reason_are_refused(own: float, settings, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        planned(volume(own), **settings)


@pytest.mark.parametrize(
    ("anisotropy", "settings", "least"),
    [
        (4.0, {}, 16),
        (8.0, {}, 32),
        (2.0, {"anisotropies": (10.0,)}, 40),
        (
            8.0,
            {"degradation": Gaussian(fwhm=1)},
            46,
        ),  # 1.274 voxels to each side, half of which are the voxel's own
    ],
)
def test_volumes_smaller_than_a_patch_are_refused(anisotropy: float, settings, least: int) -> None:
    planned(volume(anisotropy, 300, least), **settings)
    with pytest.raises(TrainingError, match=f"300 × {least - 1} pixels.*{least} × {least}.*larger volume") as caught:
        planned(volume(anisotropy, 300, least - 1), **settings)
    assert "\n" not in str(caught.value)


# the network


def sentence(groups: tuple[Group, ...], model: Niiv | None = None, **settings: Any) -> str:
    with pytest.raises(NiivError) as caught:
        plan_architecture(groups, config(**settings), model, CPU)
    assert isinstance(caught.value, CheckpointError if model else TrainingError)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert ". " not in message
    return message


@pytest.mark.parametrize(
    ("anisotropies", "degree"),
    [((4.0,), 0), ((2.0, 4.0), 1), ((2.0, 2.001, 4.0), 1), ((2.0, 3.0, 4.0, 5.0, 6.0, 8.0), 3)],
)
def test_a_network_for_the_factors(anisotropies: tuple[float, ...], degree: int) -> None:
    made = plan_architecture(planned(volume(4.0), anisotropies=anisotropies), config(), None, CPU)
    light = Architecture.light((anisotropies[0], anisotropies[-1]), degree)
    assert made == light.model_copy(update={"slices": 1, "features": 32, "blocks": 4})
    # where there are many steps, slices are restored several at once
    assert plan_architecture(planned(volume(4.0), anisotropies=anisotropies), config(), None, CUDA) == light


def test_a_network_asked_for() -> None:
    wanted = Architecture(features=5, decoder="implicit")
    assert plan_architecture(planned(volume(4.0)), config(architecture=wanted), None, CPU) == wanted


def test_a_network_to_go_on_with(small_model) -> None:
    model = small_model(anisotropy_range=(2.0, 8.0))
    groups = planned(volume(4.0))
    assert plan_architecture(groups, config(init="x"), model, CPU) == model.architecture
    assert (
        plan_architecture(groups, config(init="x", architecture=model.architecture), model, CPU) == model.architecture
    )


def test_another_network_than_the_checkpoints_is_refused(small_model) -> None:
    model = small_model(anisotropy_range=(2.0, 8.0))
    assert "not that of x" in sentence(planned(volume(4.0)), model, init="x", architecture=Architecture())


@pytest.mark.parametrize("anisotropy", [1.7, 9.3, 16.0])
def test_factors_that_the_checkpoint_is_not_for(small_model, anisotropy: float) -> None:
    model = small_model(anisotropy_range=(2.0, 8.0))
    message = sentence(planned(volume(anisotropy), anisotropies=(anisotropy,)), model, init="x")
    assert f"2 to 8, these volumes have {anisotropy:g}" in message


@pytest.mark.parametrize("anisotropy", [1.75, 2.0, 9.1])
def test_factors_that_it_is_nearly_for(small_model, anisotropy: float) -> None:
    model = small_model(anisotropy_range=(2.0, 8.0))
    assert plan_architecture(planned(volume(anisotropy)), config(init="x"), model, CPU) == model.architecture


def test_the_reference_decoder_cannot_be_trained(small_model) -> None:
    groups = planned(volume(4.0))
    reference = Architecture(decoder="reference", context=0, features=4, blocks=1, latent=4, mlp_width=8)
    assert "subvoxel and implicit" in sentence(groups, architecture=reference)
    assert "another program" in sentence(groups, Niiv(reference), init="paper.pth")


# the noise of single planes


@pytest.mark.parametrize(
    ("degradation", "added"),
    [
        (Average(), 0.1 * 7**0.5),  # the mean of eight planes of noise 0.1 · √8
        (Skip(thickness=0.5), 0.1 * 3**0.5),
        (Skip(thickness=0.1), 0.0),  # less than a plane
        (Gaussian(fwhm=1.0), 0.0),  # a camera's noise comes after the blur
    ],
)
def test_what_averaging_took_of_the_noise_is_put_back(degradation: Degradation, added: float) -> None:
    (group,) = planned(volume(8.0, noise=0.1), degradation=degradation, lateral=16)
    assert group.tasks[0].noise == pytest.approx(added)


def test_the_noise_of_levels_zoomed_out_is_that_of_averaged_pixels() -> None:
    (group,) = planned(volume(8.0, noise=0.1))
    assert [t.noise for t in group.tasks] == pytest.approx([0.1 * 7**0.5, 0.05 * 3**0.5, 0.025 * 1**0.5])


def test_a_factor_is_learnt_with_the_noise_of_the_volumes_that_teach_it() -> None:
    groups = planned(volume(4.0, noise=0.1), volume(4.0, noise=0.3), volume(8.0, noise=0.05), anisotropies=(3.0, 9.0))
    assert [t.noise for g in groups for t in g.tasks] == pytest.approx([0.2 * 3**0.5, 0.05 * 7**0.5])


def test_isotropic_volumes_lack_no_noise() -> None:
    (group,) = planned(volume(1.0, noise=0.1), anisotropies=(8.0,))
    assert group.tasks[0].noise == 0


def test_plane_noise_can_be_left_out() -> None:
    (group,) = planned(volume(8.0, noise=0.1), plane_noise=False)
    assert all(t.noise == 0 for t in group.tasks)
