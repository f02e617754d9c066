"""Where a volume is cut open in 3-D: a clipping plane across one of its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import ArrayLike, NDArray

from napari_niiv.plugin.common.layers import layer_units, linear_part

LAST = 2  # voxels along the axis that stay when all is cut away, so that there is still a face to see

Vector = tuple[float, float, float]
Plane = tuple[Vector, Vector]
"""Position and normal, as napari's clipping planes have them: what lies on the side of the normal stays."""


def cut_position(size: int, share: float, from_start: bool) -> float:
    """Where an axis is cut to take a share of it away, in voxels; voxel i has its centre at i.

    Parameters
    ----------
    size : int
        Voxels along the axis.
    share : float
        0 cuts nothing away, 1 all but the last two voxels.
    from_start : bool
        Whether what lies at the beginning of the axis goes, or what lies at its end.
    """
    depth = share * max(size - LAST, 0)
    return depth - 0.5 if from_start else size - 0.5 - depth


def inwards(linear: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Normal of the planes across an axis, towards its end, in the world; the gradient of the index along the axis.

    Parameters
    ----------
    linear : array, shape (3, 3)
        Takes steps in voxels to steps in the world, whether it scales, rotates, shears or mirrors.
    axis : int
    """
    gradient = np.linalg.inv(linear)[axis]
    return np.asarray(gradient / np.linalg.norm(gradient))


@dataclass(frozen=True, eq=False)
class Displayed:
    """Where a volume lies in the world that a viewer in 3-D displays, along the axes as they are displayed.

    Attributes
    ----------
    axes : tuple of int
        The layer's axes in the order of the viewer.
    shape : tuple of int
        Voxels along them.
    linear : array, shape (3, 3)
        Takes steps in voxels to steps in the world.
    first : array, shape (3,)
        Where the centre of the first voxel is.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    linear: NDArray[np.float64]
    first: NDArray[np.float64]

    @classmethod
    def of(cls, viewer: ViewerModel, layer: Image) -> Displayed:
        """That of a layer which is aligned with the viewer's last dimensions, as napari does."""
        axes = [d - (viewer.dims.ndim - layer.ndim) for d in viewer.dims.displayed]
        units = layer_units(viewer, layer)
        linear = linear_part(layer) / units[:, None]
        first = np.asarray(layer.data_to_world(np.zeros(layer.ndim))) / units
        return cls(tuple(axes), tuple(layer.data.shape[d] for d in axes), linear[np.ix_(axes, axes)], first[axes])

    def world(self, voxel: ArrayLike) -> NDArray[np.float64]:
        """The place of one voxel, or of several."""
        return np.asarray(self.first + np.asarray(voxel, float) @ self.linear.T)

    def starts_towards(self, axis: str, view_direction: Vector) -> bool:
        """Whether the face at the beginning of "z", "y" or "x" is the one that is seen, not that at its end."""
        return bool(inwards(self.linear, self._number(axis)) @ view_direction >= -1e-9)  # edge-on, the same each time

    def plane(self, axis: str, share: float, from_start: bool) -> Plane:
        """The plane that cuts a share of the volume away along "z", "y" or "x", from one end or the other.

        Napari calls the position of a clipping plane one in the data. It is one in the displayed world (napari #3874),
        and half a voxel off, as vispy counts from the edge of the first voxel there.
        """
        number = self._number(axis)
        voxel = (np.array(self.shape) - 1) / 2
        voxel[number] = cut_position(self.shape[number], share, from_start)
        normal = inwards(self.linear, number) * (1 if from_start else -1)
        return vector(self.world(voxel + 0.5)), vector(normal)

    def _number(self, axis: str) -> int:
        """Which of the displayed axes it is."""
        return sorted(range(3), key=self.axes.__getitem__)["zyx".index(axis)]


def vector(array: NDArray[np.float64]) -> Vector:
    """Three numbers as napari keeps them."""
    z, y, x = (float(value) for value in array)
    return z, y, x
