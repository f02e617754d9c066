"""What side views and xy views have in common when the network restores them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.geometry import Sampling, Span
from napari_niiv.interrupt import Interrupt
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.planes import AXES, Orientation
from napari_niiv.reconstruction.views.deadline import Deadline
from napari_niiv.reconstruction.views.latents import Latents, Read
from napari_niiv.reconstruction.views.request import Trust
from napari_niiv.reconstruction.views.resolve import Resolved
from napari_niiv.resampling import resample

Maps = dict[Trust, Tensor]


@dataclass(frozen=True, eq=False)
class PictureTask:
    """One picture that the network restores, and what it takes.

    Attributes
    ----------
    model : Niiv
    latents : Latents
        The latent grids that are cached, and those that will be.
    view : Resolved
    read : callable
        Reads boxes of the view's level.
    orientations : tuple of {"xz", "yz"}
        Of the slices that are restored; the picture is their mean.
    degradation : Degradation
        What the model learnt to undo.
    project : bool
        Project the picture onto what was measured.
    trust : tuple of {"disagreement", "misfit", "bridged"}
        Maps to make as well.
    interrupt : Interrupt
        Called often.
    deadline : Deadline
        When it is reached nothing more is encoded.
    """

    model: Niiv
    latents: Latents
    view: Resolved
    read: Read
    orientations: tuple[Orientation, ...]
    degradation: Degradation
    project: bool
    trust: tuple[Trust, ...]
    interrupt: Interrupt
    deadline: Deadline

    @property
    def compares(self) -> bool:
        """Whether to map where two orientations disagree."""
        return "disagreement" in self.trust and len(self.orientations) > 1


@dataclass(frozen=True, eq=False)
class RestoredPicture:
    """Normalised values of a picture, (rows, columns), with maps of that shape; and whether all of it is restored."""

    values: Tensor
    maps: Maps
    complete: bool = True


def measured_plane(view: Resolved, read: Read, rows: Span, columns: Span) -> Tensor:
    """A part of the plane of a view as it was measured, (rows, columns); between two slices interpolated linearly."""
    across = AXES[view.plane][0]
    below = math.floor(view.position)
    share = view.position - below
    box = read(view.box(rows, columns, Span(below, below + (2 if share else 1))))
    first = box.select(across, 0)
    return (1 - share) * first + share * box.select(across, 1) if share else first


def resample_plane(plane: Tensor, rows: Sampling, columns: Sampling, reach: float = 1.0) -> Tensor:
    """A plane (rows, columns) at other positions, by linear interpolation; `reach` as in `resample`."""
    return resample(resample(plane.T, rows, reach).T, columns, reach)
