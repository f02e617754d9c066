"""What a training will learn, from what: decided, and refused if it cannot be, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_niiv.errors import CheckpointError, TrainingError
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.data.volumes import TrainingVolume
from napari_niiv.volume import check_anisotropy

LEAST_ANISOTROPY = 1.5  # factors below leave nothing to infer
_LEAST_LATERAL, _LEAST_AXIAL = 16, 4  # pixels, coarse voxels: the smallest patch that teaches something
_MOST_LEVELS = 3
_ZOOMED_OUT = 0.25  # share of the steps for the levels that are read when one zooms out


@dataclass(frozen=True)
class Task:
    """A factor to undo, on volumes averaged laterally by `downsample`, in a share `weight` of the steps."""

    downsample: int
    anisotropy: float
    weight: float


@dataclass(frozen=True)
class Group:
    """Volumes of one anisotropy and what is learnt from them.

    Attributes
    ----------
    subjects : tuple of TrainingVolume
    anisotropy : float
        Of the volumes.
    tasks : tuple of Task
    judged : float
        The factor to validate by.
    """

    subjects: tuple[TrainingVolume, ...]
    anisotropy: float
    tasks: tuple[Task, ...]
    judged: float


def plan_groups(subjects: Sequence[TrainingVolume], config: TrainingConfig) -> tuple[Group, ...]:
    """Who teaches what.

    Without factors in the config, each volume teaches its own, and those of the lateral levels that are read when one
    zooms out. Otherwise each factor is taught by the volumes whose own is nearest, on a logarithmic scale.

    Raises
    ------
    TrainingError
        If a volume is isotropic and no factors are given, or smaller than a patch.
    VolumeError
        If an anisotropy is outside 1 … 16.
    """
    for subject in subjects:
        check_anisotropy(subject.anisotropy, subject.volume.name)
    groups: list[Group] = []
    for subject in sorted(subjects, key=lambda s: s.anisotropy):
        if groups and subject.anisotropy < 1.01 * groups[-1].anisotropy:
            groups[-1] = replace(groups[-1], subjects=(*groups[-1].subjects, subject))
        else:
            groups.append(Group((subject,), subject.anisotropy, (), 0.0))
    if config.anisotropies:
        for anisotropy in config.anisotropies:
            check_anisotropy(anisotropy, "the training")
            nearest = min(groups, key=lambda g: abs(math.log(g.anisotropy / anisotropy)))
            task = Task(1, anisotropy, 1.0)
            groups[groups.index(nearest)] = replace(nearest, tasks=(*nearest.tasks, task))
        groups = [g for g in groups if g.tasks]
    else:
        groups = [replace(g, tasks=_own_tasks(g, config)) for g in groups]
    return tuple(_judged(_checked(g, config)) for g in groups)


def plan_architecture(groups: Sequence[Group], config: TrainingConfig, init: Niiv | None) -> Architecture:
    """The network that will be trained.

    Raises
    ------
    CheckpointError
        If the checkpoint to start from is of another architecture or was trained for other factors.
    TrainingError
        If an architecture cannot be trained.
    """
    factors = [t.anisotropy for g in groups for t in g.tasks]
    if init is not None:
        lowest, highest = init.architecture.anisotropy_range
        if init.architecture.decoder not in ("subvoxel", "implicit"):
            raise CheckpointError(
                f"{config.init} is a checkpoint of another program and cannot be trained on; start from nothing."
            )
        if config.architecture is not None and config.architecture != init.architecture:
            raise CheckpointError(
                f"The architecture asked for is not that of {config.init}; leave it out, or start from nothing."
            )
        if max(factors) > 1.15 * highest or max(factors) < lowest / 1.15:
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
    return Architecture(anisotropy_range=(min(factors), max(factors)), degree=min(different - 1, 3))


def volume_names(groups: Sequence[Group]) -> list[str]:
    """What tells the volumes of one training from those of another."""
    return [f"{s.volume.name} {s.shape} {s.anisotropy:.4g}" for g in groups for s in g.subjects]


def _own_tasks(group: Group, config: TrainingConfig) -> tuple[Task, ...]:
    if group.anisotropy < LEAST_ANISOTROPY:
        names = ", ".join(repr(s.volume.name) for s in group.subjects[:3])
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
        for subject in group.subjects:
            if min(subject.shape[1:]) < needed:
                raise TrainingError(
                    f"{subject.volume.name!r} has slices of {subject.shape[1]} × {subject.shape[2]} pixels; to learn "
                    f"an anisotropy of {task.anisotropy:.3g} they must have at least {needed} × {needed}: use a "
                    "larger volume."
                )
    return group


def _judged(group: Group) -> Group:
    """By the factor nearest to the volumes' own, the largest for isotropic ones."""
    own = group.anisotropy if group.anisotropy >= LEAST_ANISOTROPY else math.inf
    factors = [t.anisotropy for t in group.tasks if t.downsample == 1]
    best = max(factors) if own == math.inf else min(factors, key=lambda f: abs(math.log(f / own)))
    return replace(group, judged=best)


def _smallest(group: Group) -> int:
    return min(min(s.shape[1:]) for s in group.subjects)


def _needed(anisotropy: float, config: TrainingConfig) -> int:
    """Pixels of the level, along y and x, that the smallest patch needs."""
    return max(_LEAST_LATERAL, config.degradation.needed(_LEAST_AXIAL, anisotropy))
