"""xz and yz views: encoded strip by strip, from the middle outwards; decoded at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.views.deadline import Deadline
from napari_niiv.reconstruction.views.latents import Latents, Orientation, Read
from napari_niiv.reconstruction.views.request import AXES
from napari_niiv.reconstruction.views.resolve import Resolved

Strips = Mapping[Span, Tensor | None]
"""Latent grids of columns of a view, (1, C + 1, lateral, axial); None where there was no time for them."""


def encode_axial(
    latents: Latents,
    view: Resolved,
    side: Orientation,
    read: Read,
    interrupt: Callable[[], None],
    patience: Deadline,
) -> Strips:
    """Latent grids of one orientation of a side view.

    Parameters
    ----------
    latents : Latents
    view : Resolved
    side : {"xz", "yz"}
    read : callable
    interrupt : callable
        Called often; may raise to give up.
    patience : Deadline
        When it ends nothing more is encoded.
    """
    found: dict[Span, Tensor | None] = {}
    strips = latents.strips(view)
    missing = {strip for strip in strips if not latents.holds(view, side, strip)}
    done = 0
    for strip in strips:
        interrupt()
        if strip in missing and patience.ends(done, len(missing)):
            found[strip] = None
            continue
        found[strip] = latents.of_side(view, side, strip, read, interrupt)
        done += strip in missing
    return found


def decode_axial(
    model: Niiv,
    view: Resolved,
    side: Orientation,
    rows: Span,
    columns: Span,
    strips: Strips,
    positions: Sampling,
    otherwise: Tensor,
) -> Tensor:
    """What one orientation restores of the window of a side view.

    Parameters
    ----------
    model : Niiv
    view : Resolved
    side : {"xz", "yz"}
    rows, columns : Span
        The window.
    strips : mapping of Span to Tensor or None
        From `encode_axial`.
    positions : Sampling
        Along z, from the first row on.
    otherwise : Tensor, shape (columns, positions)
        Values of the strips that are not encoded.
    """
    parts, run = [], []
    for strip in sorted(strips, key=lambda strip: strip.lo):
        latent = strips[strip]
        if latent is not None:
            run.append((strip, latent))
            continue
        parts += _decode(model, view, side, rows, run, positions)
        run = []
        parts.append(otherwise[strip.slice_in(columns)])
    parts += _decode(model, view, side, rows, run, positions)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _decode(
    model: Niiv,
    view: Resolved,
    side: Orientation,
    rows: Span,
    run: list[tuple[Span, Tensor]],
    positions: Sampling,
) -> list[Tensor]:
    """Values of neighbouring strips, (lateral, positions): one tensor, or none."""
    if not run:
        return []
    stack = torch.cat([latent for _, latent in run], dim=2) if len(run) > 1 else run[0][1]
    across, _, lateral = AXES[view.plane]
    if side == view.plane:
        places = cell_centres(run[0][0].lo, run[-1][0].hi, view.shape[lateral])
    else:  # the other orientation's slices have their lateral axis across the picture
        places = cell_centres(view.index, view.index + 1, view.shape[across]).expand(stack.shape[2])
    frame = Frame(rows.lo, view.shape[0], places[None])
    return [model.decode(stack[:, :-1], stack[:, -1], positions, view.anisotropy, frame)[0]]
