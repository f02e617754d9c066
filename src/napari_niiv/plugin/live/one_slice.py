"""A picture as what it is: a slice of its volume, one voxel thick, at its place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.plugin.live.view import View
from napari_niiv.reconstruction.planes import AXES


def one_slice(view: View, picture: NDArray[Any]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """A picture as an array with the axes of its source, and the transforms of a layer for it.

    Parameters
    ----------
    view : View
        Place of the picture.
    picture : array, shape (rows, columns)

    Returns
    -------
    array
        Of length 1 along the axes that the view does not show; a view of `picture`.
    dict
        "scale" and "translate" where they suffice, as files and other plugins know them better than an affine matrix;
        else "affine".
    """
    n = len(view.affine) - 1
    others = tuple(d for d in range(n) if d not in view.axes)
    place = pixels_to_world(view)
    linear, offset = place[:-1, :-1], place[:-1, -1]
    upright = np.array_equal(linear, np.diag(np.diag(linear)))
    transforms = {"scale": np.diag(linear), "translate": offset} if upright else {"affine": place}
    return np.expand_dims(picture, others), transforms


def pixels_to_world(view: View) -> NDArray[np.float64]:
    """Affine matrix from the indices of a picture, as an array with the axes of its source, to the source's world."""
    request, n = view.request, len(view.affine) - 1
    place = np.eye(n + 1)
    place[: n - 3, -1] = request.leading
    place[n - 3 + AXES[request.plane][0], -1] = request.index
    return np.asarray(view.affine @ place)
