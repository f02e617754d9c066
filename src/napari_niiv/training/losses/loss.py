"""The loss: what training makes small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from napari_niiv.device import training_precision

Loss = Callable[[Tensor, Tensor], Tensor]
"""From (restored, target), both (B, lateral, n), to a number."""

# of the niiv paper
_MAE_WEIGHT = 30.0


def make_loss(name: Literal["mae", "dists"], vgg_weights: Path | None, device: torch.device) -> Loss:
    """The loss that a configuration names.

    Parameters
    ----------
    name : {"mae", "dists"}
        Mean absolute error, or the niiv paper's sum of DISTS and 30 times the mean absolute error.
    vgg_weights : Path, optional
        File of VGG16's weights, for DISTS.
    device : torch.device

    Raises
    ------
    TrainingError
        If DISTS is asked for and VGG16's weights are nowhere to be found.
    """
    if name == "mae":
        return l1_loss
    from napari_niiv.training.losses.dists import load_dists

    dists = load_dists(vgg_weights, device)
    half = training_precision(device)

    def loss(restored: Tensor, target: Tensor) -> Tensor:
        with half:
            distance: Tensor = dists(restored[:, None], target[:, None])
        return distance.mean() + _MAE_WEIGHT * l1_loss(restored, target)

    return loss
