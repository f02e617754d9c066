"""What a training will learn, from what: decided, and refused if it cannot be, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from napari_niiv.errors import CheckpointError, TrainingError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.denoise import averaged_level
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.data.volumes import TrainingVolume
from napari_niiv.training.losses.loss import Loss
from napari_niiv.training.processes import Processes
from napari_niiv.volume import check_anisotropy

# factors below leave nothing to infer
LEAST_ANISOTROPY = 1.5
# pixels, coarse voxels: the smallest patch that teaches something
_LEAST_LATERAL, _LEAST_AXIAL = 16, 4
_MOST_LEVELS = 3
# share of the steps for the levels that are read when one zooms out
_ZOOMED_OUT = 0.25


@dataclass(frozen=True)
class Task:
    """A factor to undo, on volumes averaged laterally by `downsample`, in a share `weight` of the steps.

    White noise of standard deviation `noise` is added to the sharp patches.
    """

    downsample: int
    anisotropy: float
    weight: float
    noise: float = 0.0


@dataclass(frozen=True)
class Group:
    """Volumes of one anisotropy and what is learnt from them.

    Attributes
    ----------
    volumes : tuple of TrainingVolume
    anisotropy : float
        Axial over lateral voxel size of the volumes.
    tasks : tuple of Task
    validation_anisotropy : float
        The factor by which the slices held out are degraded.
    """

    volumes: tuple[TrainingVolume, ...]
    anisotropy: float
    tasks: tuple[Task, ...]
    validation_anisotropy: float


@dataclass(frozen=True)
class Plan:
    """A training as it is decided before its first step.

    Attributes
    ----------
    config : TrainingConfig
    groups : tuple of Group
    architecture : Architecture
        Of the network that will be trained.
    init : Niiv or None
        Model to go on from.
    teachers : tuple of Niiv
        Models that restore the volumes of the second stage, in place of a first stage.
    loss : callable
    device : torch.device
    processes : Processes
    """

    config: TrainingConfig
    groups: tuple[Group, ...]
    architecture: Architecture
    init: Niiv | None
    teachers: tuple[Niiv, ...]
    loss: Loss
    device: torch.device
    processes: Processes

    @property
    def first_architecture(self) -> Architecture:
        """Of the network that the first stage trains."""
        return (self.config.teacher or self.architecture).blind()

    @property
    def only_teaches(self) -> bool:
        """Whether the first stage's model cannot become the second's, which then begins anew."""
        return bool(self.teachers) or self.config.teacher is not None or self.architecture.slices > 1

    @property
    def volume_names(self) -> list[str]:
        """What tells the volumes of one training from those of another."""
        volumes = [volume for group in self.groups for volume in group.volumes]
        return [f"{v.name} {v.shape} {v.anisotropy:.4g}" for v in volumes]


def plan_groups(volumes: Sequence[TrainingVolume], config: TrainingConfig) -> tuple[Group, ...]:
    """Which volumes teach which factors.

    Without factors in the config, each volume teaches its own, and those of the lateral levels that are read when one
    zooms out. Otherwise each factor is taught by the volumes whose own is nearest, on a logarithmic scale.

    Raises
    ------
    TrainingError
        If a volume is isotropic and no factors are given, or smaller than a patch.
    VolumeError
        If an anisotropy is outside 1 … 16.
    """
    for volume in volumes:
        check_anisotropy(volume.anisotropy, volume.name)
    groups: list[Group] = []
    for volume in sorted(volumes, key=lambda v: v.anisotropy):
        if groups and volume.anisotropy < 1.01 * groups[-1].anisotropy:
            groups[-1] = replace(groups[-1], volumes=(*groups[-1].volumes, volume))
        else:
            groups.append(Group((volume,), volume.anisotropy, (), 0.0))
    if config.anisotropies:
        for anisotropy in config.anisotropies:
            check_anisotropy(anisotropy, "the training")
            nearest = min(groups, key=lambda g: abs(math.log(g.anisotropy / anisotropy)))
            task = Task(1, anisotropy, 1.0)
            groups[groups.index(nearest)] = replace(nearest, tasks=(*nearest.tasks, task))
        groups = [g for g in groups if g.tasks]
    else:
        groups = [replace(g, tasks=_own_tasks(g, config)) for g in groups]
    return tuple(_with_noise(_with_validation(_checked(g, config)), config) for g in groups)


def has_few_steps(config: TrainingConfig, device: torch.device) -> bool:
    """Whether a training learns from nothing, without teachers and without CUDA."""
    return config.init is None and not config.teachers and device.type != "cuda"


def plan_architecture(
    groups: Sequence[Group], config: TrainingConfig, init: Niiv | None, device: torch.device
) -> Architecture:
    """The network that will be trained, on a device.

    Raises
    ------
    CheckpointError
        If the checkpoint to start from is of another architecture or was trained for other factors.
    TrainingError
        If an architecture cannot be trained.
    """
    factors = [t.anisotropy for g in groups for t in g.tasks]
    if init is not None:
        if init.architecture.decoder not in ("subvoxel", "implicit"):
            raise CheckpointError(
                f"{config.init} is a checkpoint of another program and cannot be trained on; start from nothing."
            )
        if config.architecture is not None and config.architecture != init.architecture:
            raise CheckpointError(
                f"The architecture asked for is not that of {config.init}; leave it out, or start from nothing."
            )
        if not learns_anisotropy(init.architecture, max(factors)):
            lowest, highest = init.architecture.anisotropy_range
            raise CheckpointError(
                f"{config.init} is for anisotropies of {lowest:g} to {highest:g}, these volumes have "
                f"{max(factors):.3g}; start from another checkpoint, or from nothing."
            )
        return init.architecture
    if config.architecture is not None:
        if config.architecture.decoder not in ("subvoxel", "implicit"):
            raise TrainingError("Only the decoders subvoxel and implicit can be trained; choose one of them.")
        return config.architecture
    different = len({round(f, 2) for f in factors})
    light = Architecture.light((min(factors), max(factors)), min(different - 1, 3))
    # where steps are few a small network gets more of them; of single slices, what the first stage learnt goes on in
    # the second
    small = {"slices": 1, "features": 32, "blocks": 4}
    return light if device.type == "cuda" else light.model_copy(update=small)


def learns_anisotropy(architecture: Architecture, anisotropy: float) -> bool:
    """Whether a network can be trained on for an anisotropy: one of its range, or hardly beyond."""
    lowest, highest = architecture.anisotropy_range
    return lowest / 1.15 <= anisotropy <= 1.15 * highest


def _own_tasks(group: Group, config: TrainingConfig) -> tuple[Task, ...]:
    if group.anisotropy < LEAST_ANISOTROPY:
        names = ", ".join(repr(v.name) for v in group.volumes[:3])
        raise TrainingError(
            f"{names} says that its voxels are isotropic or nearly so ({group.anisotropy:.3g}), which leaves nothing "
            "to restore; correct its voxel size, or name the anisotropies to learn."
        )
    downsamples = [
        d
        for d in (1 << level for level in range(_MOST_LEVELS))
        if d == 1
        or (
            group.anisotropy / d >= LEAST_ANISOTROPY
            and _smallest(group) // d >= 2 * _needed(group.anisotropy / d, config)
        )
    ]
    coarser = len(downsamples) - 1
    own, each = (1 - _ZOOMED_OUT, _ZOOMED_OUT / coarser) if coarser else (1.0, 0.0)
    return tuple(Task(d, group.anisotropy / d, own if d == 1 else each) for d in downsamples)


def _checked(group: Group, config: TrainingConfig) -> Group:
    """The group itself, if its volumes hold a patch of each task."""
    for task in group.tasks:
        needed = _needed(task.anisotropy, config) * task.downsample
        for volume in group.volumes:
            if min(volume.shape[1:]) < needed:
                raise TrainingError(
                    f"{volume.name!r} has slices of {volume.shape[1]} × {volume.shape[2]} pixels; to learn "
                    f"an anisotropy of {task.anisotropy:.3g} they must have at least {needed} × {needed}: use a "
                    "larger volume."
                )
    return group


def _with_validation(group: Group) -> Group:
    """The group, validated by the factor nearest to the volumes' own, the largest for isotropic ones."""
    own = group.anisotropy if group.anisotropy >= LEAST_ANISOTROPY else math.inf
    factors = [t.anisotropy for t in group.tasks if t.downsample == 1]
    best = max(factors) if own == math.inf else min(factors, key=lambda f: abs(math.log(f / own)))
    return replace(group, validation_anisotropy=best)


def _with_noise(group: Group, config: TrainingConfig) -> Group:
    """The group, its patches given the noise that single planes would have.

    A coarse voxel is the mean of n planes, so its noise is the smaller by the root of n; so is that of the patches, as
    they are cut from slices as thick. With what was taken away put back, a degraded patch is as noisy as the volume
    is, and what is to be restored as noisy as planes of the lateral size would be.
    """
    if not config.plane_noise:
        return group
    noise = sum(v.noise for v in group.volumes) / len(group.volumes)

    def missing(downsample: int) -> float:
        planes = config.degradation.planes_averaged(max(1.0, group.anisotropy / downsample))
        return averaged_level(noise, 1, downsample) * math.sqrt(planes - 1)

    return replace(group, tasks=tuple(replace(t, noise=missing(t.downsample)) for t in group.tasks))


def _smallest(group: Group) -> int:
    return min(min(v.shape[1:]) for v in group.volumes)


def _needed(anisotropy: float, config: TrainingConfig) -> int:
    """Pixels of the level, along y and x, that the smallest patch needs."""
    return max(_LEAST_LATERAL, config.degradation.needed(_LEAST_AXIAL, anisotropy))
