"""xz and yz views: encoded strip by strip, from the middle outwards; decoded at once."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.reconstruction.planes import AXES, Orientation
from napari_niiv.reconstruction.trust import misfit, project
from napari_niiv.reconstruction.views.picture import (
    Maps,
    PictureTask,
    RestoredPicture,
    measured_plane,
)
from napari_niiv.resampling import resample

Strips = Mapping[Span, Tensor | None]
"""Latent grids of columns of a view, (1, C + 1, lateral, axial); None where there was no time for them."""


@torch.inference_mode()
def restore_axial(task: PictureTask) -> RestoredPicture:
    """Restore the picture of a side view, from the strips for which there is time."""
    view = task.view
    rows, columns = task.latents.window(view)
    encoded = {orientation: encode_axial(task, orientation) for orientation in task.orientations}

    @functools.cache
    def measured() -> Tensor:
        return measured_plane(view, task.read, rows, columns).T

    def decode(positions: Sampling) -> list[Tensor]:
        restored = list[Tensor]()
        for orientation, strips in encoded.items():
            # where there was no time yet the other orientation stands, or the interpolation
            def otherwise() -> Tensor:
                return restored[0] if restored else resample(measured(), positions)

            restored.append(_decode_strips(task, orientation, strips, rows, columns, positions, otherwise))
        return restored

    def picture(values: Tensor, reach: float = 1.0) -> Tensor:
        return resample(values.T, view.columns.relative_to(columns.lo), reach)

    axial = view.rows.relative_to(rows.lo)
    maps: Maps = {}
    if task.project or "misfit" in task.trust or task.compares:
        factor = math.ceil(view.anisotropy)
        orientations = decode(Sampling.covering(len(rows), len(rows) * factor))
        fine, positions = _mean(orientations), axial.refined(factor)
        if task.project:
            fine = project(fine, measured(), task.degradation)
        if task.compares:  # a z step is `factor` samples
            apart = (orientations[0] - orientations[1]).abs()
            maps["disagreement"] = picture(resample(apart, positions, factor), view.smoothing)
        if "misfit" in task.trust:
            excess = misfit(fine, measured(), task.degradation)
            maps["misfit"] = picture(resample(excess, axial), view.smoothing)
    values = resample(fine, positions) if task.project else _mean(decode(axial))
    complete = all(latent is not None for strips in encoded.values() for latent in strips.values())
    return RestoredPicture(picture(values), maps, complete)


def _mean(restored: list[Tensor]) -> Tensor:
    return restored[0] if len(restored) == 1 else torch.stack(restored).mean(0)


@torch.inference_mode()
def encode_axial(task: PictureTask, orientation: Orientation) -> Strips:
    """Latent grids of the slices of one orientation that a side view needs, cached or encoded."""
    latents, view = task.latents, task.view

    def encode(strip: Span) -> Tensor:
        task.interrupt()
        return latents.of_strip(view, orientation, strip, task.read, task.interrupt)

    strips = latents.strips(view)
    missing = [strip for strip in strips if not latents.is_cached(view, orientation, strip)]
    return dict(task.deadline.in_time(strips, missing, encode))


def _decode_strips(
    task: PictureTask,
    orientation: Orientation,
    strips: Strips,
    rows: Span,
    columns: Span,
    positions: Sampling,
    otherwise: Callable[[], Tensor],
) -> Tensor:
    """What one orientation restores of a window, at positions along z from its first row on: (columns, positions).

    `otherwise` makes the values of the strips that are not encoded.
    """
    parts = []
    ordered = sorted(strips, key=lambda strip: strip.lo)
    for _, group in itertools.groupby(ordered, lambda strip: strips[strip] is None):
        run = list(group)
        span, grids = Span.hull(run), [grid for strip in run if (grid := strips[strip]) is not None]
        if grids:
            grid = grids[0] if len(grids) == 1 else torch.cat(grids, dim=2)
            parts.append(_decode(task, orientation, rows, span, grid, positions))
        else:
            parts.append(otherwise()[span.slice_in(columns)])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _decode(
    task: PictureTask, orientation: Orientation, rows: Span, columns: Span, grid: Tensor, positions: Sampling
) -> Tensor:
    """Values of neighbouring columns, (columns, positions), from their latent grid."""
    view = task.view
    across, _, lateral = AXES[view.plane]
    if orientation == view.plane:
        centres = cell_centres(columns.lo, columns.hi, view.shape[lateral])
    else:  # the other orientation's slices have their lateral axis across the picture
        centres = cell_centres(view.index, view.index + 1, view.shape[across]).expand(len(columns))
    frame = Frame(rows.lo, view.shape[0], centres[None])
    return task.model.decode(grid[:, :-1], grid[:, -1], positions, view.anisotropy, frame)[0]
