"""The noise level that a model is told: as it is asked for, or estimated from the volume."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Literal

from napari_niiv.errors import ReconstructionError
from napari_niiv.noise import noise_of

if TYPE_CHECKING:
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.normalization import Normalization
    from napari_niiv.volume import Volume

AUTO: Literal["auto"] = "auto"
Denoise = float | Literal["auto"]
"""A noise level, the standard deviation of the noise as a share of the normalised range; or that it is estimated."""

WITHOUT_NOISE = "this checkpoint was trained without noise"
_UP_TO = "This checkpoint was trained with noise levels up to {:g}"
# Of the estimated noise: texture finer than the z step is as little known along z as noise is, and not in the estimate.
# Beyond the level where it is gone, fine structure would go too, so it is less of strong noise; below 8x there is less
# of such texture.
_TIMES, _TIMES_STRONG = 5.0, 2.0
_TEXTURE_GONE = 0.055
DIGITS = 3  # of a level, after the point: what is shown of an estimate is all of it, and can be typed


def denoise_setting(value: object) -> Denoise:
    """A value as a setting: "auto", or a number from 0 to 1.

    Raises
    ------
    ValueError
        If it is neither; says what it should be.
    """
    if isinstance(value, str) and value == AUTO:
        return AUTO
    if not isinstance(value, bool) and isinstance(value, Real) and 0 <= float(value) <= 1:
        return float(value)
    raise ValueError("should be auto, or a noise level from 0 to 1")


def check_denoise(model: Niiv, denoise: Denoise) -> None:
    """Refuse a noise level that a model cannot be told.

    Parameters
    ----------
    model : Niiv
    denoise : float or "auto"

    Raises
    ------
    ReconstructionError
        If it is another word, a negative number, not finite, or above the highest that the model was trained with.
    """
    try:
        level = denoise_setting(denoise)
    except ValueError as error:
        raise ReconstructionError(f"denoise is {denoise!r}: it {error}.") from None
    if within(model, level) == level:
        return
    if not model.knows_noise:
        raise ReconstructionError(
            f"{WITHOUT_NOISE.capitalize()}, so it cannot be told a noise level; choose auto or 0, or another "
            "checkpoint."
        )
    raise ReconstructionError(f"{_UP_TO.format(model.architecture.noise)}, not {level:g}; choose a lower one.")


def within(model: Niiv, denoise: Denoise) -> Denoise:
    """The nearest of what a model can be told."""
    return AUTO if denoise == AUTO else min(float(denoise), model.architecture.noise)


def lowered(model: Niiv) -> str:
    """What the user is told where `within` gives another level than was asked for."""
    highest = model.architecture.noise
    return f"{_UP_TO.format(highest)}: Denoise is {highest:g} now." if model.knows_noise else ""


def level_of(volume: Volume, normalization: Normalization, model: Niiv, denoise: Denoise) -> float:
    """The noise level of a 3-D volume, for one that is asked for; "auto" reads some pieces of it.

    Parameters
    ----------
    volume : Volume
        Its full resolution is looked at.
    normalization : Normalization
        Of its intensities.
    model : Niiv
    denoise : float or "auto"
        "auto" is five times the noise of the xy slices up to a level of 0.055, which below 8x is in proportion to the
        anisotropy less 1, or twice as much if that is more; at most what the model knows, and 0 for one that knows
        none.

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    if denoise != AUTO:
        return float(denoise)
    if not model.knows_noise:
        return 0.0
    share = noise_of(volume, normalization.empty) / (normalization.high - normalization.low)
    architecture = model.architecture
    gone = _TEXTURE_GONE * architecture.highest_level(volume.anisotropy) / architecture.noise
    level = min(_TIMES * share, max(gone, _TIMES_STRONG * share))
    return min(round(level, DIGITS), model.architecture.noise)


def averaged_level(level: float, axial: int, lateral: int) -> float:
    """What is left of a noise level where voxels are averages: white noise falls with the root of their number.

    Parameters
    ----------
    level : float
        Of the full resolution.
    axial, lateral : int
        Voxels that are averaged, along z, and along y and x.
    """
    return level / (lateral * math.sqrt(axial))
