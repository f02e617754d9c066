"""From what is read of a volume to what patches are drawn from; slices that are held out have no part in it."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.geometry import Span
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.data.pseudo_isotropic import pseudo_isotropic
from napari_niiv.training.data.volumes import Box, TrainingVolume


def measured_slices(subject: TrainingVolume, values: Tensor, box: Box, core: Box) -> Tensor:
    """The measured slices of a core.

    Parameters
    ----------
    subject : TrainingVolume
    values : Tensor, shape (z, y, x)
        What was read.
    box : Box
        Where it is in the volume.
    core : Box
        The part to keep, counted in the box.

    Returns
    -------
    Tensor
        The core; held-out slices are NaN.
    """
    values = values[core[0].slice, core[1].slice, core[2].slice].clone()
    values[_held_out(subject, box, core)] = torch.nan
    return values


def restored_block(
    model: Niiv, degradation: Degradation, subject: TrainingVolume, values: Tensor, box: Box, core: Box
) -> Tensor:
    """A core as it would be if it were isotropic, without knowledge of the held-out slices, which are NaN.

    The parameters are those of `measured_slices` and `pseudo_isotropic`.
    """
    values = values.clone()
    for z in (z - box[0].lo for z in subject.held_out if box[0].lo <= z < box[0].hi):
        beside = [values[i] for i in (z - 1, z + 1) if 0 <= i < len(values)]
        values[z] = torch.stack(beside).mean(0) if beside else torch.nan
    fine = pseudo_isotropic(model, values, subject.anisotropy, core, degradation)
    for z in _held_out(subject, box, core):
        first = z * subject.anisotropy
        fine[int(first) : int(first + subject.anisotropy) + 1] = torch.nan
    return fine


def _held_out(subject: TrainingVolume, box: Box, core: Box) -> list[int]:
    """Held-out slices of a core, counted in it."""
    span = Span(box[0].lo + core[0].lo, box[0].lo + core[0].hi)
    return [z - span.lo for z in subject.held_out if span.lo <= z < span.hi]
