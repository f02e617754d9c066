"""How much white noise a volume has, told from itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.empty_voxels import NOTHING_EMPTY, EmptyVoxels
from napari_niiv.pieces import scattered

if TYPE_CHECKING:
    from napari_niiv.volume import Volume

# pixels: edge of a piece that is looked at; how many with something in them, and at all
_PIECE, _PIECES, _MOST_PIECES = 128, 32, 256
# pixels: edge of the regions that are left out where all voxels are equal
_REGION = 8
# the kernel's response to white noise has 6 times its standard deviation, 0.6745 of which the median of its size is
_MEDIAN_RESPONSE = 0.6745 * 6


def noise_of(volume: Volume, empty: EmptyVoxels = NOTHING_EMPTY) -> float:
    """Standard deviation of the white noise in the xy slices of a 3-D volume, in its intensities.

    The median size of the response to the kernel of Immerkaer (1996), the second difference along y of that along x,
    which is blind to whatever is linear in one of them; edges, being few, do not move a median. It is taken over some
    pieces of slices spread over the volume, so it costs the same for a volume of any size. Regions in which all voxels
    are equal say nothing: background that was set to zero, saturation. Nor do voxels that hold no measurement, or lie
    beside one.

    Parameters
    ----------
    volume : Volume
    empty : EmptyVoxels
        Which voxels those are; NaN and infinite ones are among them.

    Returns
    -------
    float
        0 where all is constant.

    Raises
    ------
    VolumeError
        If the volume cannot be read.
    """
    responses: list[NDArray[np.float64]] = []
    for piece in scattered(volume, _PIECE, _MOST_PIECES):
        if (found := _responses(piece[0], empty)).size:
            responses.append(found)
            if len(responses) == _PIECES:
                break
    return float(np.median(np.concatenate(responses))) / _MEDIAN_RESPONSE if responses else 0.0


def _responses(picture: NDArray[Any], empty: EmptyVoxels) -> NDArray[np.float64]:
    """Sizes of the kernel's responses wherever they tell of noise."""
    if min(picture.shape) < 3:
        return np.empty(0)
    with np.errstate(invalid="ignore"):  # differences of infinite values
        response = np.abs(np.diff(np.diff(picture.astype(np.float64), 2, axis=0), 2, axis=1))
    told = _varied(picture)[1:-1, 1:-1] & np.isfinite(response)
    if (holes := empty.same(picture)) is not None:
        rows = holes[:-2] | holes[1:-1] | holes[2:]
        told &= ~(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])
    return response[told]


def _varied(picture: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels lie in regions that are not constant."""
    edges = [np.arange(0, size, _REGION) for size in picture.shape]
    low, high = (
        extreme.reduceat(extreme.reduceat(picture, edges[0], axis=0), edges[1], axis=1)
        for extreme in (np.minimum, np.maximum)
    )
    varied = np.repeat(np.repeat(high > low, _REGION, axis=0), _REGION, axis=1)
    return np.asarray(varied[: picture.shape[0], : picture.shape[1]])
