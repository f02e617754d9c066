"""The noise level that a model is told."""

from __future__ import annotations

import math

from napari_niiv.errors import ReconstructionError
from napari_niiv.models.niiv import Niiv


def check_denoise(model: Niiv, level: float) -> None:
    """Refuse a noise level that a model cannot be told.

    Parameters
    ----------
    model : Niiv
    level : float
        Standard deviation of the noise, as a share of the normalised range.

    Raises
    ------
    ReconstructionError
        If the level is negative, not finite, or above the highest that the model was trained with.
    """
    highest = model.architecture.noise
    if not (math.isfinite(level) and level >= 0):
        raise ReconstructionError(f"A noise level of {level:g} makes no sense; choose 0 or more.")
    if level and not model.knows_noise:
        raise ReconstructionError(
            "This checkpoint was not trained with noise, so it cannot be told a noise level; choose 0, or another "
            "checkpoint."
        )
    if level > highest:
        raise ReconstructionError(
            f"This checkpoint was trained with noise levels up to {highest:g}, not {level:g}; choose a lower one."
        )
